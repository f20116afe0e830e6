"""Flow label-states: ask the teacher about every state that has no advice yet."""

from __future__ import annotations

from typing import Any

from prefect import flow

from llm4teach.flows.runtime.retries import patiently
from llm4teach.flows.runtime.settings import PatienceConfig, ScaleConfig
from llm4teach.flows.runtime.teacher_access import teacher_slot
from llm4teach.flows.sharding import label_in_shards, task_runner
from llm4teach.flows.stages import context as stages
from llm4teach.flows.stages import label as labelling
from llm4teach.flows.stages import pretrain as pretraining
from llm4teach.flows.stages.summary import outcome, sharded_outcome
from llm4teach.teacher_labeling.config import LabelConfig, TeacherConfig


@flow(name="label-states")
def label_states(
    workspace: str = "workspace",
    task: str = "SimpleDoorKey",
    teacher: TeacherConfig = TeacherConfig(),  # noqa: B008  (frozen)
    label: LabelConfig = LabelConfig(),  # noqa: B008
    run_id: str | None = None,
    all_runs: bool = False,
    scale: ScaleConfig = ScaleConfig(),  # noqa: B008
    patience: PatienceConfig = PatienceConfig(),  # noqa: B008
) -> dict[str, Any]:
    """Label every distinct state of the stored trajectories once and for all.

    Args:
        workspace: folder of all datasets and runs.
        task: whose trajectories.
        teacher: whom to ask, and how.
        label: budget, prices, and how runs share the work.
        run_id: run to join, with its budget; then only its own trajectories count.
        all_runs: those of every run count all the same.
        scale: shards of the states, and what runs them, each as a run of its own.
        patience: how long it may take, and retries where the teacher's server is gone.
    """
    if scale.runner != "none" and run_id is None:
        place = {"workspace": workspace, "task": task, "teacher": teacher}
        flow_of = label_in_shards.with_options(
            task_runner=task_runner(scale), timeout_seconds=patience.limit_s("label")
        )
        return sharded_outcome(workspace, flow_of({**place, "label": label, "scale": scale}))

    def attempt() -> dict[str, Any]:
        opened = stages.opened("label", workspace, task, teacher, 0, join=run_id, label=label)
        with opened as ctx, teacher_slot(teacher):
            labelling.label(ctx, pretraining.trajectories(ctx, None if all_runs else run_id))
        return outcome(ctx)

    return patiently("label", attempt, patience)
