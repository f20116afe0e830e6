-- Questions that were paid for more than once without being told to; must be empty.
--
-- One row a state, teacher, prompt version and attempt with several rows in the advice store; a later
-- attempt is that of `label --retry-invalid`. Two processes
-- that label the same states at the same moment without a common lock would cause it; of several
-- answers the earliest counts.
SELECT family, teacher_id, prompt_version, state_text, count(*) AS times,
       min(created_at) AS first_asked, max(created_at) AS last_asked,
       sum(prompt_tokens + completion_tokens)::BIGINT AS tokens, state_key
FROM advice
GROUP BY family, teacher_id, prompt_version, state_text, state_key, coalesce(attempt, 1)
HAVING count(*) > 1
ORDER BY times DESC, family, teacher_id, state_text;
