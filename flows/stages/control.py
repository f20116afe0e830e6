"""The control of a teach run: the same student, taught without an LLM."""

from __future__ import annotations

from llm4teach.datasets.runs import MANIFEST
from llm4teach.datasets.workspace import CONTROL
from llm4teach.flows.stages.context import Context, opened
from llm4teach.flows.stages.pipeline import Hooks, RunStage, Stages, run_pipeline
from llm4teach.teacher_labeling.config import TeacherConfig


def train_control(ctx: Context, run_stage: RunStage) -> str:
    """Train a student as the run did, but with the teacher `none`, which knows nothing.

    Everything else is the same: env steps, settings, seed. It has a run of its own, which the run
    keeps the id of, and which resumes with it.

    Returns:
        The control's run id.
    """
    begun: str | None = ctx.run.results.get("control_run")
    if begun and (ctx.workspace.run(begun) / MANIFEST).exists():
        return begun
    if begun and not ctx.workspace.run(begun).exists():  # it ended before it stored anything
        begun = None
    teacher = TeacherConfig(teacher="none")
    settings = ctx.settings.model_copy(update={"teacher": teacher})
    with opened(CONTROL, settings, resume=begun, revive=False) as control:
        ctx.run.note(control_run=control.run.run_id)
        config = control.settings
        stages = Stages(config.collect, config.pretrain, config.finetune)
        run_pipeline(control, stages, Hooks(run_stage))
        return control.run.run_id
