-- Where two teachers advise differently: divergence and first choices, state by state.
--
-- One row a state that both have advised on; the most different come first. `kl` is
-- KL(a || b) = sum of p ln(p / q) in nats. A plan that b never named would make it infinite, so b is
-- mixed with the uniform distribution over all plans that either named, with weight `smoothing`.
-- `js`, the Jensen-Shannon divergence, needs no such help: 0 where they agree, ln 2 = 0.693 at most.
--
-- $a: what the one teacher's teacher_id contains
-- $b: what the other's contains
-- $smoothing = 0.001: share of the uniform distribution in b, from 0 to 1
WITH answers AS (
    FROM advice
    WHERE status = 'ok'
    QUALIFY row_number() OVER (
        PARTITION BY state_key, teacher_id, prompt_version
        ORDER BY coalesce(attempt, 1) DESC, created_at
    ) = 1
),
pairs AS (
    SELECT a.state_key, a.family, a.state_text, a.teacher_id AS a, a.prompt_version AS a_prompt,
           b.teacher_id AS b, b.prompt_version AS b_prompt,
           a.options AS a_options, b.options AS b_options
    FROM answers AS a JOIN answers AS b USING (state_key)
    WHERE contains(a.teacher_id, $a) AND contains(b.teacher_id, $b)
      AND (a.teacher_id, a.prompt_version) <> (b.teacher_id, b.prompt_version)
),
named AS (
    SELECT * EXCLUDE (a_options, b_options), unnest(a_options) AS choice, true AS by_a FROM pairs
    UNION ALL
    SELECT * EXCLUDE (a_options, b_options), unnest(b_options) AS choice, false AS by_a FROM pairs
),
plans AS (
    SELECT * EXCLUDE (choice, by_a), choice.plan AS plan,
           coalesce(sum(choice.probability) FILTER (WHERE by_a), 0) AS p,
           coalesce(sum(choice.probability) FILTER (WHERE NOT by_a), 0) AS q
    FROM named GROUP BY ALL
),
smoothed AS (
    SELECT *, (1 - $smoothing::DOUBLE) * q + $smoothing::DOUBLE
              / count(*) OVER (PARTITION BY state_key, a, a_prompt, b, b_prompt) AS q_smooth
    FROM plans
)
SELECT family, state_text, a, a_prompt, b, b_prompt,
       arg_max(plan, p) AS a_chooses, arg_max(plan, q) AS b_chooses,
       -- several may be first: they agree if one plan is among the first of both
       bool_or(p = p_max AND q = q_max) AS same_choice,
       sum(CASE WHEN p > 0 THEN p * ln(p / q_smooth) ELSE 0 END) AS kl,
       sum(CASE WHEN p > 0 THEN p / 2 * ln(2 * p / (p + q)) ELSE 0 END
           + CASE WHEN q > 0 THEN q / 2 * ln(2 * q / (p + q)) ELSE 0 END) AS js,
       state_key
FROM (
    SELECT *, max(p) OVER w AS p_max, max(q) OVER w AS q_max
    FROM smoothed WINDOW w AS (PARTITION BY state_key, a, a_prompt, b, b_prompt)
)
GROUP BY ALL
ORDER BY js DESC, family, state_text, a, b;
