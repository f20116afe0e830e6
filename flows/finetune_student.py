"""Flow finetune-student: PPO with a decaying KL term to the live teacher."""

from __future__ import annotations

from typing import Any

from prefect import flow

from llm4teach.flows.runtime.retries import with_resolved_teacher, with_retries
from llm4teach.flows.runtime.settings import Settings
from llm4teach.flows.stages.checkpoints import newest_student, stored_student
from llm4teach.flows.stages.context import opened
from llm4teach.flows.stages.finetune import finetune
from llm4teach.flows.stages.run_settings import overridden
from llm4teach.flows.stages.summary import outcome


@flow(name="finetune-student")
def finetune_student(
    settings: Settings = Settings(),
    overrides: dict[str, Any] | None = None,
    from_run: str | None = None,
    resume: str | None = None,
) -> dict[str, Any]:
    """Train a student online and store it.

    Args:
        settings: of the run; those of the sections that it does not use are ignored.
        overrides: settings to replace, nested by section, such as {"task": "LavaDoorKey"}.
        from_run: run whose student to start from; by default the newest of the task.
        resume: unfinished finetune run to resume, from its last checkpoint and with the settings
            that are stored with it.
    """
    settings = overridden(settings, overrides)
    if not resume:
        settings = with_resolved_teacher(settings)
    with opened("finetune", settings, resume=resume) as ctx:
        start = ctx.run.results.get("from_run") or from_run
        start = start or newest_student(ctx.workspace, ctx.task)
        ctx.run.note(from_run=start)

        def work() -> None:
            student = stored_student(ctx.workspace, ctx.task, start)
            finetune(ctx, ctx.settings.finetune, student, reweighted_by=start)

        with_retries(settings.patience)("finetune", work)
        return outcome(ctx)
