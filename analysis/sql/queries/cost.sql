-- What the questions cost: tokens, seconds and money by teacher, task family and day (UTC).
--
-- Every row of the advice store counts, also those that were asked about twice. `seconds` adds up
-- the time of each question, which is more than the clock's where several were asked at once.
--
-- $teacher = '': only teachers whose teacher_id contains this
-- $family = '': only task families whose name contains this
SELECT created_at::DATE AS day, family, teacher_id, count(*) AS questions,
       sum(prompt_tokens)::BIGINT AS prompt_tokens,
       sum(completion_tokens)::BIGINT AS completion_tokens,
       sum(latency_s) AS seconds, sum(cost) AS usd,
       count(*) FILTER (WHERE status <> 'ok') AS without_advice
FROM advice
WHERE contains(teacher_id, $teacher) AND contains(family, $family)
GROUP BY ALL
ORDER BY day, family, teacher_id;
