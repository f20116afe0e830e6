"""Flow pretrain-student: distill the stored advice, without touching the environment."""

from __future__ import annotations

from typing import Any

from prefect import flow

from llm4teach.flows.runtime.retries import patiently
from llm4teach.flows.runtime.settings import PatienceConfig
from llm4teach.flows.stages import context as stages
from llm4teach.flows.stages import pretrain as pretraining
from llm4teach.flows.stages.checkpoints import stored_student
from llm4teach.flows.stages.summary import outcome
from llm4teach.student.config import PretrainConfig
from llm4teach.teacher_labeling.config import TeacherConfig


@flow(name="pretrain-student")
def pretrain_student(
    workspace: str = "workspace",
    task: str = "SimpleDoorKey",
    teacher: TeacherConfig = TeacherConfig(),  # noqa: B008  (frozen)
    pretrain: PretrainConfig = PretrainConfig(),  # noqa: B008
    seed: int = 0,
    run_id: str | None = None,
    all_runs: bool = False,
    start_from: str | None = None,
    patience: PatienceConfig = PatienceConfig(),  # noqa: B008
) -> dict[str, Any]:
    """Train a new student on the stored trajectories and the teacher's stored advice.

    Args:
        workspace: folder of all datasets and runs.
        task: whose trajectories.
        teacher: whose advice.
        pretrain: epochs, batch size, learning rate.
        seed: of everything random.
        run_id: run to join; then only its own trajectories count.
        all_runs: those of every run count all the same.
        start_from: run whose student's weights to start from, instead of fresh ones.
        patience: how long it may take, and retries where the teacher's server is gone.
    """

    def attempt() -> dict[str, Any]:
        with stages.opened(
            "pretrain", workspace, task, teacher, seed, join=run_id, pretrain=pretrain
        ) as ctx:
            start = stored_student(ctx.workspace, ctx.task, start_from) if start_from else None
            found = pretraining.trajectories(ctx, None if all_runs else run_id)
            pretraining.pretrain(ctx, pretrain, found, start)
        return outcome(ctx)

    return patiently("pretrain", attempt, patience)
