-- Does following the advice help? The advised plan beside the returns of following each plan.
--
-- One row per run and state, from the table `reweighting` (`value`: expected discounted return of
-- following a plan). `advised_value` and `reweighted_value` are the mean value under the teacher's
-- probabilities, and under those reweighted by returns; `regret` is what the advice loses against
-- the best plan. The largest regret comes first.
--
-- $least = 1: segments in which a plan must have been followed, or it does not count as the best
-- $run = '': only runs whose id contains this
WITH known AS (
    FROM reweighting WHERE contains(run_id, $run)
)
SELECT run_id, state_text,
       CASE WHEN max(advised) > 0 THEN arg_max(plan, advised) END AS advised_plan,
       max(advised) AS advised_share,
       arg_max(plan, value) FILTER (WHERE segments >= $least::BIGINT) AS best_plan,
       sum(advised * value) / nullif(sum(advised), 0) AS advised_value,
       sum(reweighted * value) / nullif(sum(reweighted), 0) AS reweighted_value,
       max(value) FILTER (WHERE segments >= $least::BIGINT) AS best_value,
       best_value - advised_value AS regret,
       sum(segments)::BIGINT AS segments, state_key
FROM known
GROUP BY run_id, state_text, state_key
ORDER BY regret DESC NULLS LAST, run_id, state_text;
