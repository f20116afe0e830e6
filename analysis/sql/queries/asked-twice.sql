-- Questions that were paid for more than once; must be empty.
--
-- One row a state, teacher and prompt version with several rows in the advice store. Two processes
-- that label the same states at the same moment without a common lock would cause it; of several
-- answers the earliest counts.
SELECT family, teacher_id, prompt_version, state_text, count(*) AS times,
       min(created_at) AS first_asked, max(created_at) AS last_asked,
       sum(prompt_tokens + completion_tokens)::BIGINT AS tokens, state_key
FROM advice
GROUP BY family, teacher_id, prompt_version, state_text, state_key
HAVING count(*) > 1
ORDER BY times DESC, family, teacher_id, state_text;
