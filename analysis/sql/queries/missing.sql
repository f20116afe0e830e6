-- States that were met and never labelled: no question about them was ever answered.
--
-- One row a task and state; the most frequent come first. A state that the teacher had nothing to
-- say of, or answered uselessly, was asked about, and is not in the list. Teachers with judgments
-- are asked questions that many states share: `llm4teach label --dry-run` counts what they lack.
--
-- $teacher = '': count only the advice of teachers whose teacher_id contains this
-- $task = '': only tasks whose name contains this
SELECT task, state_text, steps, first_run, last_run, state_key
FROM states
ANTI JOIN (FROM advice WHERE contains(teacher_id, $teacher)) USING (state_key)
WHERE contains(task, $task)
ORDER BY steps DESC, task, state_text;
