"""Flow teach: the whole pipeline, offline first and online after."""

from __future__ import annotations

from typing import Any

from prefect import flow

from llm4teach.flows.runtime.retries import with_resolved_teacher, with_retries
from llm4teach.flows.runtime.settings import Settings
from llm4teach.flows.stages.context import opened
from llm4teach.flows.stages.evaluate import evaluate
from llm4teach.flows.stages.pipeline import Hooks, Stages, run_pipeline, train_control
from llm4teach.flows.stages.run_settings import overridden
from llm4teach.flows.stages.summary import report


@flow(name="teach")
def teach(
    settings: Settings = Settings(),
    overrides: dict[str, Any] | None = None,
    resume: str | None = None,
) -> dict[str, Any]:
    """Collect, label and pretrain in rounds, then fine-tune, evaluate and report.

    With ``evaluate.control`` the same student is trained without an LLM, too.

    Args:
        settings: of the run; those of the sections that it does not use are ignored.
        overrides: settings to replace, nested by section, such as {"task": "LavaDoorKey"}.
        resume: unfinished teach run to resume, with the settings that are stored with it.
    """
    settings = overridden(settings, overrides)
    if not resume:
        settings = with_resolved_teacher(settings)
    with opened("teach", settings, resume=resume) as ctx:
        config, run_stage = ctx.settings, with_retries(settings.patience)
        stages = Stages(config.collect, config.pretrain, config.finetune)
        run_pipeline(ctx, stages, Hooks(run_stage))
        control = train_control(ctx, run_stage) if config.evaluate.control else None
        run_stage("evaluate", lambda: evaluate(ctx, config.evaluate, ctx.run.run_id, control))
        return report(ctx)
