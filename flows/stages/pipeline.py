"""The pipeline: rounds of collect, label and pretrain, then fine-tuning.

It serves `teach` and its control without an LLM, `retrain` and the trials of experiments, which
differ in what they hook into it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llm4teach.datasets.runs import MANIFEST
from llm4teach.datasets.workspace import CONTROL
from llm4teach.flows.runtime.progress import say
from llm4teach.flows.stages.checkpoints import (
    PRETRAINED,
    check_encoder,
    new_student,
    stored_student,
)
from llm4teach.flows.stages.collect import collect
from llm4teach.flows.stages.context import Context, opened
from llm4teach.flows.stages.finetune import finetune
from llm4teach.flows.stages.label import label
from llm4teach.flows.stages.pretrain import pretrain, trajectories
from llm4teach.student.config import CollectConfig, FinetuneConfig, PretrainConfig
from llm4teach.student.model.network import Student
from llm4teach.teacher_labeling.config import TeacherConfig

RunStage = Callable[[str, Callable[[], Any]], Any]  # the stage's name, and its work


@dataclass(frozen=True)
class Stages:
    """Which stages run, and with which settings; None leaves one out."""

    collect: CollectConfig | None
    pretrain: PretrainConfig | None
    finetune: FinetuneConfig | None
    behavior_run: str | None = None  # run whose student plays in the first round, as in later ones
    start_run: str | None = None  # run whose weights each pretraining starts from; None: fresh ones
    all_runs: bool = False  # whether trajectories of all runs of the task count, not only its own


@dataclass(frozen=True)
class Hooks:
    """What the pipeline's users do on the way; by default nothing."""

    run_stage: RunStage = lambda name, work: work()  # work can be repeated if it fails
    after_round: Callable[[int, Student], None] = lambda number, student: None
    on_update: Callable[[int, Student], None] = lambda step, student: None  # env steps so far


def run_pipeline(ctx: Context, stages: Stages, hooks: Hooks = Hooks()) -> None:
    """Train a student and store it with the run.

    It resumes from what the run has stored: complete rounds and stages are not repeated.

    Raises:
        TeacherError: a state had to be asked about and the teacher cannot answer.
        DatasetError: something stored is damaged, or nothing can be learned from it.
        TaskError: no student reads the task's observations.
    """
    run = ctx.run
    check_encoder(ctx.task, ctx.settings.student)
    if stages.collect and stages.pretrain:
        for number in range(1 + run.results.get("rounds_done", 0), stages.collect.rounds + 1):
            _run_round(ctx, stages, stages.collect, stages.pretrain, number, hooks.run_stage)
            student = stored_student(ctx.workspace, ctx.task, run.run_id, PRETRAINED)
            hooks.after_round(number, student)
            run.note(rounds_done=number)
    if stages.finetune and "finetune_steps" not in run.results:
        config, is_pretrained = stages.finetune, stages.pretrain is not None
        hooks.run_stage("finetune", lambda: _finetune(ctx, config, is_pretrained, hooks.on_update))


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
    say("the control, the same student without an LLM:")
    teacher = TeacherConfig(teacher="none")
    settings = ctx.settings.model_copy(update={"teacher": teacher})
    with opened(CONTROL, settings, resume=begun, revive=False) as control:
        ctx.run.note(control_run=control.run.run_id)
        config = control.settings
        stages = Stages(config.collect, config.pretrain, config.finetune)
        run_pipeline(control, stages, Hooks(run_stage))
        return control.run.run_id


def _run_round(
    ctx: Context,
    stages: Stages,
    collect_config: CollectConfig,
    pretrain_config: PretrainConfig,
    number: int,
    run_stage: RunStage,
) -> None:
    """One round of dataset aggregation (DAgger)."""
    run_id = ctx.run.run_id
    behavior_run = run_id if number > 1 else stages.behavior_run
    steps = collect_config.steps * number // collect_config.rounds  # env steps of the run in all

    def collecting() -> None:
        student = _student_of(ctx, behavior_run)
        collect(ctx, collect_config, student, steps, reweighted_by=behavior_run)

    run_stage("collect", collecting)
    rows = trajectories(ctx, None if stages.all_runs else run_id)
    run_stage("label", lambda: label(ctx, rows))

    def pretraining() -> None:
        pretrain(ctx, pretrain_config, rows, start=_student_of(ctx, stages.start_run))

    run_stage("pretrain", pretraining)


def _student_of(ctx: Context, run_id: str | None) -> Student | None:
    return stored_student(ctx.workspace, ctx.task, run_id) if run_id else None


def _finetune(
    ctx: Context,
    config: FinetuneConfig,
    is_pretrained: bool,
    on_update: Callable[[int, Student], None],
) -> None:
    run_id = ctx.run.run_id
    if is_pretrained:
        student = stored_student(ctx.workspace, ctx.task, run_id, PRETRAINED)
    else:
        student = new_student(ctx.task, ctx.settings.student, ctx.seed)
    reweighted_by = run_id if is_pretrained else None
    finetune(ctx, config, student, reweighted_by, lambda step: on_update(step, student))
