"""Flow collect-trajectories: play a task and store the steps."""

from __future__ import annotations

from typing import Any

from prefect import flow

from llm4teach.flows.runtime import events
from llm4teach.flows.runtime.retries import patiently
from llm4teach.flows.runtime.settings import PatienceConfig, ScaleConfig
from llm4teach.flows.service.automations import UNSEEN
from llm4teach.flows.sharding import collect_in_shards, task_runner
from llm4teach.flows.stages import collect as collecting
from llm4teach.flows.stages import context as stages
from llm4teach.flows.stages import pretrain as pretraining
from llm4teach.flows.stages.checkpoints import stored_student
from llm4teach.flows.stages.summary import outcome
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
    relabel_above: float = 1.0,
    scale: ScaleConfig = ScaleConfig(),  # noqa: B008
    patience: PatienceConfig = PatienceConfig(),  # noqa: B008
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
        relabel_above: share of the states met for which the teacher has no advice, from which the
            event ``llm4teach.states.unseen`` is emitted; 1 for never.
        scale: shards, and what runs them; what is stored depends on their number alone.
        patience: how long it may take, and retries where the teacher's server is gone.
    """

    def attempt() -> dict[str, Any]:
        with stages.opened(
            "collect", workspace, task, teacher, seed, join=run_id, collect=collect
        ) as ctx:
            student = stored_student(ctx.workspace, ctx.task, from_run) if from_run else None
            wanted = steps or collect.steps
            if scale.runner == "none":
                collecting.collect(ctx, collect, student, wanted, weighed_by=from_run)
            else:
                place = {
                    "workspace": workspace,
                    "task": task,
                    "teacher": teacher,
                    "seed": seed,
                    "run_id": ctx.run.run_id,
                    "collect": collect,
                    "scale": scale,
                    "from_run": from_run,
                }
                flow_of = collect_in_shards.with_options(task_runner=task_runner(scale))
                report = flow_of(place, wanted)
                collecting.note_collected(ctx, report, 0)
            _tell_of_unseen(ctx, relabel_above)
        return outcome(ctx)

    return patiently("collect", attempt, patience)


def _tell_of_unseen(ctx: stages.Context, above: float) -> None:
    """Note the share of states without advice; an event where it is so large."""
    if above >= 1:
        return
    met = set(pretraining.trajectories(ctx, ctx.run.run_id).column("state_key").tolist())
    share = len(ctx.store.missing(met)) / max(1, len(met))
    ctx.run.note(unseen_share=share)
    if share > above:
        where = {"task": ctx.task.name, "workspace": str(ctx.workspace.root)}
        events.emit(UNSEEN, f"llm4teach.task.{ctx.task.name}", {**where, "share": share})
