"""Flow collect-trajectories: play a task and store the steps."""

from __future__ import annotations

from typing import Any

from prefect import flow

from llm4teach.flows import stages
from llm4teach.flows.online_stages import outcome
from llm4teach.flows.students import stored_student
from llm4teach.student.config import CollectConfig
from llm4teach.teacher_labeling.config import TeacherConfig


@flow(name="collect-trajectories")
def collect_trajectories(
    workspace: str = "workspace",
    task: str = "SimpleDoorKey",
    teacher: TeacherConfig = TeacherConfig(),  # noqa: B008  (frozen)
    collect: CollectConfig = CollectConfig(),  # noqa: B008
    seed: int = 0,
    from_run: str | None = None,
    run_id: str | None = None,
    steps: int | None = None,
) -> dict[str, Any]:
    """Collect trajectories and return the run that holds them.

    Args:
        workspace: folder of all datasets and runs.
        task: environment to play.
        teacher: whose stored advice leads some episodes, once there is a student.
        collect: how much and how.
        seed: of everything random.
        from_run: run whose student leads episodes; without it a simple behaviour leads.
        run_id: run to join, instead of one of its own.
        steps: env steps that the run shall have in all; `collect.steps` by default.
    """
    with stages.opened(
        "collect", workspace, task, teacher, seed, join=run_id, collect=collect
    ) as ctx:
        student = stored_student(ctx.workspace, ctx.task, from_run) if from_run else None
        stages.collect(ctx, collect, student, steps or collect.steps, weighed_by=from_run)
    return outcome(ctx)
