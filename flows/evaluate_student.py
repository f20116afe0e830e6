"""Flow evaluate-student: held-out episodes for student, teacher and a random policy."""

from __future__ import annotations

from typing import Any

from prefect import flow

from llm4teach.flows.runtime.retries import with_resolved_teacher, with_retries
from llm4teach.flows.runtime.settings import Settings
from llm4teach.flows.stages.checkpoints import newest_student
from llm4teach.flows.stages.context import opened
from llm4teach.flows.stages.evaluate import evaluate
from llm4teach.flows.stages.run_settings import overridden
from llm4teach.flows.stages.summary import outcome


@flow(name="evaluate-student")
def evaluate_student(
    settings: Settings = Settings(),
    overrides: dict[str, Any] | None = None,
    from_run: str | None = None,
) -> dict[str, Any]:
    """Evaluate on seeds that no training uses.

    Args:
        settings: of the run; those of the sections that it does not use are ignored.
        overrides: settings to replace, nested by section, such as {"task": "LavaDoorKey"}.
        from_run: run whose student to evaluate; by default the newest of the task.
    """
    settings = with_resolved_teacher(overridden(settings, overrides))
    with opened("evaluate", settings) as ctx:
        run_id = from_run or newest_student(ctx.workspace, ctx.task)
        run_stage = with_retries(settings.patience)
        run_stage("evaluate", lambda: evaluate(ctx, ctx.settings.evaluate, run_id))
        return outcome(ctx)
