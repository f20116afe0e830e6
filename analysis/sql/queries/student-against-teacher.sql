-- Where the student now differs from its teacher, and who was right.
--
-- One row a state and evaluation. Both played the same held-out episodes: `student_return` is what
-- the student got from this state on, on average over its visits (undiscounted), `teacher_return`
-- what the teacher's own policy got. They do not meet a state at the same step of an episode, and
-- where only one of them went, there is nothing to compare. `right` is whoever got more by at least
-- `margin`. `differs` is the share of the student's steps in which its likeliest action is none of
-- the teacher's likeliest.
--
-- $least = 10: episodes in which each of the two must have been there: visits of one are one case
-- $margin = 0.01: difference of returns that counts
WITH played AS (
    FROM agreement WHERE mode = 'sampled'
),
student AS (FROM played WHERE policy = 'student'),
teacher AS (FROM played WHERE policy = 'teacher')
SELECT s.task, s.state_text, s.differs,
       CASE WHEN s.return_after >= t.return_after + $margin::DOUBLE THEN 'student'
            WHEN t.return_after >= s.return_after + $margin::DOUBLE THEN 'teacher'
            ELSE 'neither' END AS "right",
       s.return_after AS student_return, t.return_after AS teacher_return, s.kl,
       s.steps AS student_steps, t.steps AS teacher_steps,
       s.episodes AS student_episodes, t.episodes AS teacher_episodes, s.run_id, s.state_key
FROM student AS s
JOIN teacher AS t USING (run_id, task, state_key)
WHERE s.episodes >= $least::BIGINT AND t.episodes >= $least::BIGINT
ORDER BY s.differs * s.steps DESC, s.task, s.state_text, s.run_id;
