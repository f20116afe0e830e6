"""Flow pretrain-student: distil the stored advice, without touching the environment."""

from __future__ import annotations

from typing import Any

from prefect import flow

from llm4teach.flows import stages
from llm4teach.flows.online_stages import outcome
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
) -> dict[str, Any]:
    """Train a new student on the stored trajectories and the teacher's stored advice.

    Args:
        workspace: folder of all datasets and runs.
        task: whose trajectories.
        teacher: whose advice.
        pretrain: epochs, batch size, learning rate.
        seed: of everything random.
        run_id: run to join; then only its own trajectories count.
    """
    with stages.opened(
        "pretrain", workspace, task, teacher, seed, join=run_id, pretrain=pretrain
    ) as ctx:
        stages.pretrain(ctx, pretrain, stages.trajectories(ctx, run_id))
    return outcome(ctx)
