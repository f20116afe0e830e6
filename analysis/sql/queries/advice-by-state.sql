-- What each teacher advises in each state: its first choice, how sure it is, how often it is met.
--
-- One row a state and teacher (teacher_id and prompt_version). `entropy` is in nats, 0 where the
-- teacher names one plan only; `coverage` is its mass on admissible plans before normalising;
-- `steps` is how often the state was met in all stored trajectories. The least certain come first.
-- Teachers with judgments answer questions that many states share; the query judgments lists them.
--
-- $teacher = '': only teachers whose teacher_id contains this
-- $family = '': only task families whose name contains this
WITH met AS (
    SELECT state_key, sum(steps)::BIGINT AS steps FROM states GROUP BY state_key
),
answers AS (
    FROM advice
    WHERE contains(teacher_id, $teacher) AND contains(family, $family)
      AND method IS DISTINCT FROM 'judgments'
    QUALIFY row_number() OVER (
        PARTITION BY state_key, teacher_id, prompt_version
        ORDER BY coalesce(attempt, 1) DESC, created_at
    ) = 1
),
choices AS (
    SELECT state_key, teacher_id, prompt_version, unnest(options) AS choice FROM answers
),
tops AS (
    SELECT state_key, teacher_id, prompt_version,
           arg_max(choice.plan, choice.probability) AS first_choice,
           max(choice.probability) AS probability,
           count(*) AS plans
    FROM choices GROUP BY ALL
)
SELECT family, teacher_id, prompt_version, state_text, status, first_choice, probability,
       coalesce(plans, 0) AS plans, entropy, coverage, coalesce(steps, 0) AS steps, state_key
FROM answers
LEFT JOIN tops USING (state_key, teacher_id, prompt_version)
LEFT JOIN met USING (state_key)
ORDER BY entropy DESC NULLS LAST, family, state_text, teacher_id, prompt_version;
