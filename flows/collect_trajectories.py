"""Flow collect-trajectories: play a task and store the steps."""

from __future__ import annotations

from typing import Any

from prefect import flow

from llm4teach.flows.runtime import events
from llm4teach.flows.runtime.prefect_env import has_own_server
from llm4teach.flows.runtime.retries import with_resolved_teacher, with_retries
from llm4teach.flows.runtime.settings import Settings
from llm4teach.flows.service.automations import UNSEEN
from llm4teach.flows.sharding import collect_in_shards, task_runner
from llm4teach.flows.stages.checkpoints import stored_student
from llm4teach.flows.stages.collect import collect, note_collected
from llm4teach.flows.stages.context import Context, opened
from llm4teach.flows.stages.pretrain import trajectories
from llm4teach.flows.stages.run_settings import overridden
from llm4teach.flows.stages.summary import outcome


@flow(name="collect-trajectories")
def collect_trajectories(
    settings: Settings = Settings(),
    overrides: dict[str, Any] | None = None,
    from_run: str | None = None,
) -> dict[str, Any]:
    """Collect trajectories and return the run that holds them.

    Where states without advice are more than ``service.relabel_above`` of those met, the event
    ``llm4teach.states.unseen`` is emitted.

    Args:
        settings: of the run; those of the sections that it does not use are ignored.
        overrides: settings to replace, nested by section, such as {"task": "LavaDoorKey"}.
        from_run: run whose student plays a share of the episodes; without it admissible plans are
            followed.
    """
    settings = with_resolved_teacher(overridden(settings, overrides))
    with opened("collect", settings) as ctx:
        config = ctx.settings.collect

        def work() -> None:
            student = stored_student(ctx.workspace, ctx.task, from_run) if from_run else None
            collect(ctx, config, student, config.steps, reweighted_by=from_run)

        if settings.scale.runner == "none":
            with_retries(settings.patience)("collect", work)
        else:  # not within a task: it would be sent to the shards' processes, and cannot be
            flow_of = collect_in_shards.with_options(
                task_runner=task_runner(settings.scale),
                timeout_seconds=settings.patience.limit_s("collect"),
            )
            note_collected(ctx, flow_of(ctx.settings, ctx.run.run_id, from_run), 0)
        _report_unseen(ctx, settings.service.relabel_above)
        return outcome(ctx)


def _report_unseen(ctx: Context, above: float) -> None:
    """Note the share of states without advice; emit an event where it is large."""
    if above >= 1 or not has_own_server():
        return
    keys = set(trajectories(ctx, ctx.run.run_id).column("state_key").tolist())
    share = len(ctx.store.missing(keys)) / max(1, len(keys))
    ctx.run.note(unseen_share=share)
    if share > above:
        where = {"task": ctx.task.name, "workspace": str(ctx.workspace.root)}
        events.emit(UNSEEN, f"llm4teach.task.{ctx.task.name}", {**where, "share": share})
