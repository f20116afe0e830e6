"""The stage that distills the stored advice into a student."""

from __future__ import annotations

import numpy as np

from llm4teach.datasets.trajectories import Trajectories, read_steps
from llm4teach.errors import DatasetError
from llm4teach.flows.runtime.progress import stage
from llm4teach.flows.stages.checkpoints import new_student, store_student
from llm4teach.flows.stages.context import Context
from llm4teach.flows.stages.label import check_advice
from llm4teach.student.collection.reweighting import write_reweighting
from llm4teach.student.collection.states import states_of
from llm4teach.student.config import PretrainConfig
from llm4teach.student.model.network import Student
from llm4teach.student.training.distill import Steps, distill


def pretrain(
    ctx: Context,
    config: PretrainConfig,
    trajectories: Trajectories,
    start: Student | None = None,
) -> Student:
    """Distill the stored advice, reweighted by returns, into a student, and store it.

    It is a new one, or has the weights of ``start``.

    Raises:
        TeacherError: too small a share of the stored answers is valid advice.
        DatasetError: nothing can be learned from it.
    """
    check_advice(ctx, [s for s in states_of(ctx.task, trajectories) if s.options])
    if config.reweight_temperature:
        reweighted = ctx.reweighted(trajectories, config)
        write_reweighting(ctx.run.folder, ctx.run.run_id, reweighted)
    teacher = ctx.live_teacher(ask=False, reweighted_by=ctx.run.run_id)
    steps = Steps(
        observations=trajectories.observations,
        teacher_probs=teacher.teacher_probs(trajectories.observations),
        rewards=(trajectories.column("reward") / ctx.task.return_scale).astype(np.float32),
        terminated=trajectories.column("terminated"),
        segment_ends=trajectories.episode_ends,
    )
    student = start or new_student(ctx.task, ctx.settings.student, ctx.seed)
    with stage("pretrain", config.epochs, "epochs") as shown:

        def on_epoch(step: int, values: dict[str, float]) -> None:
            shown.advance()
            ctx.run.log("pretrain", step, values)
            shown.summary = (
                f"{len(trajectories):,} steps, {config.epochs} epochs: "
                f"loss {values['loss']:.3f} nats, agreement {values['agreement']:.1%}"
            )

        try:
            distill(student, steps, config, ctx.seed, on_epoch)
        except ValueError as error:
            raise DatasetError(f"cannot pretrain on {ctx.task.name}: {error}") from None
    store_student(ctx.run, ctx.task, student, "pretrain", ctx.seed)
    return student


def trajectories(ctx: Context, run_id: str | None) -> Trajectories:
    """Read one run's trajectories of the task, or all of them.

    Raises:
        DatasetError: there are none, or a part is damaged.
    """
    folder = ctx.workspace.trajectories(ctx.task.name, run_id)
    return read_steps(folder, ctx.task.observation_shape)
