"""Flow pretrain-student: distill the stored advice, without touching the environment."""

from __future__ import annotations

from typing import Any

from prefect import flow

from llm4teach.flows.runtime.retries import with_resolved_teacher, with_retries
from llm4teach.flows.runtime.settings import Settings
from llm4teach.flows.stages.context import opened
from llm4teach.flows.stages.pretrain import pretrain, trajectories
from llm4teach.flows.stages.run_settings import overridden
from llm4teach.flows.stages.summary import outcome


@flow(name="pretrain-student")
def pretrain_student(
    settings: Settings = Settings(), overrides: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Train a new student on the stored trajectories and the teacher's stored advice.

    Args:
        settings: of the run; those of the sections that it does not use are ignored.
        overrides: settings to replace, nested by section, such as {"task": "LavaDoorKey"}.
    """
    settings = with_resolved_teacher(overridden(settings, overrides))
    with opened("pretrain", settings) as ctx:
        rows, run_stage = trajectories(ctx, None), with_retries(settings.patience)
        run_stage("pretrain", lambda: pretrain(ctx, ctx.settings.pretrain, rows))
        return outcome(ctx)
