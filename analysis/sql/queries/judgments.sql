-- What teachers with the method judgments answered: each yes/no question and its log odds.
--
-- One row a question and teacher (teacher_id and prompt_version), the most doubtful first. `log_odds`
-- is log P(yes) - log P(no) in nats, null where there is no valid answer. A state's advice is the
-- softmax over its options of log_odds / teacher.softmax_temperature; many states share a question.
--
-- $teacher = '': only teachers whose teacher_id contains this
-- $question = '': only questions that contain this
SELECT family, teacher_id, prompt_version, state_text AS question, status,
       ln(greatest(p_yes, 1e-9)) - ln(greatest(p_no, 1e-9)) AS log_odds, coverage,
       (prompt_tokens + completion_tokens)::BIGINT AS tokens, question_key
FROM (
    SELECT *,
           CASE WHEN status = 'ok' THEN
               coalesce(list_filter(options, lambda o: o.plan = 'yes')[1].probability, 0) END AS p_yes,
           CASE WHEN status = 'ok' THEN
               coalesce(list_filter(options, lambda o: o.plan = 'no')[1].probability, 0) END AS p_no
    FROM advice
    WHERE method = 'judgments' AND contains(teacher_id, $teacher)
      AND contains(state_text, $question)
    QUALIFY row_number() OVER (
        PARTITION BY question_key, teacher_id, prompt_version
        ORDER BY coalesce(attempt, 1) DESC, created_at
    ) = 1
)
ORDER BY abs(log_odds) NULLS LAST, family, question, teacher_id, prompt_version;
