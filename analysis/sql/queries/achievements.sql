-- How often evaluated episodes unlock each achievement, and their score, as published for Crafter.
--
-- One row per run, policy, mode and achievement. `rate` is the share of episodes that unlock it;
-- `score`, the same in all rows of a policy, is the geometric mean exp(mean(ln(1 + percent))) - 1 in
-- percent (Hafner 2021); `reward_share` is the mean return as a share of the 22 achievements.
--
-- $run = '': only runs whose run_id contains this
-- $task = 'Crafter': only tasks whose name contains this
WITH episodes AS (
    FROM evaluations
    WHERE contains(run_id, $run) AND contains(task, $task) AND map_contains(measures, 'achievements')
),
rates AS (
    SELECT run_id, task, policy, mode, entry.key AS achievement, count(*) AS episodes,
           avg(entry.value) AS rate, avg(length) AS mean_length, avg("return") / 22 AS reward_share
    FROM (SELECT *, unnest(map_entries(measures)) AS entry FROM episodes)
    WHERE entry.key <> 'achievements'
    GROUP BY ALL
)
-- A narrow terminal shows the first and the last columns.
SELECT policy, mode, achievement, run_id, task, episodes, mean_length, reward_share,
       round(exp(avg(ln(1 + 100 * rate)) OVER (PARTITION BY run_id, task, policy, mode)) - 1, 2)
           AS score,
       round(rate, 4) AS rate
FROM rates
ORDER BY run_id, task, policy, mode, rate DESC, achievement;
