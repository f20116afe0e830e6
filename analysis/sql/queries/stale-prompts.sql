-- Prompt versions that have been replaced, and what was never asked again under the newest one.
--
-- One row an old version of a teacher (teacher_id) on a task family; the newest version is the one
-- that was last asked under. `only_here` counts its states that the newest has no row for: they
-- would have to be asked about again.
WITH versions AS (
    SELECT family, teacher_id, prompt_version, count(DISTINCT state_key) AS states,
           min(created_at) AS first_asked, max(created_at) AS last_asked
    FROM advice GROUP BY ALL
),
newest AS (
    SELECT family, teacher_id, arg_max(prompt_version, last_asked) AS newest
    FROM versions GROUP BY ALL
),
uncovered AS (
    SELECT a.family, a.teacher_id, a.prompt_version, count(DISTINCT a.state_key) AS only_here
    FROM advice AS a
    JOIN newest AS n USING (family, teacher_id)
    ANTI JOIN advice AS b
      ON b.family = a.family AND b.teacher_id = a.teacher_id
     AND b.state_key = a.state_key AND b.prompt_version = n.newest
    GROUP BY ALL
)
SELECT family, teacher_id, prompt_version, newest, states, coalesce(only_here, 0) AS only_here,
       first_asked, last_asked
FROM versions
JOIN newest USING (family, teacher_id)
LEFT JOIN uncovered USING (family, teacher_id, prompt_version)
WHERE prompt_version <> newest
ORDER BY family, teacher_id, last_asked;
