-- How often the live teacher is asked while the student is fine-tuned: questions per 1,000 env steps.
--
-- One row a stored point of a run's learning curve, over the env steps since the point before.
-- It falls to 0 once every state that the student meets is known. `advice_rate` is the share of the
-- rollout's steps for which there was advice.
--
-- $run = '': only runs whose id contains this
WITH points AS (
    SELECT run_id, step,
           max(value) FILTER (WHERE name = 'live_questions') AS questions,
           max(value) FILTER (WHERE name = 'advice_rate') AS advice_rate
    FROM metrics
    WHERE stage = 'finetune' AND contains(run_id, $run)
    GROUP BY run_id, step
    HAVING questions IS NOT NULL
)
SELECT run_id, step, questions::BIGINT AS questions,
       -- a run that was taken up again counts from 0 again
       (CASE WHEN questions < lag(questions, 1, 0) OVER w THEN questions
             ELSE questions - lag(questions, 1, 0) OVER w END)::BIGINT AS asked,
       1000 * asked / (step - lag(step, 1, 0) OVER w) AS per_1000_steps,
       advice_rate
FROM points
WINDOW w AS (PARTITION BY run_id ORDER BY step)
ORDER BY run_id, step;
