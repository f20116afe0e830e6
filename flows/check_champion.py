"""Flow check-champion: the champion plays again; an event reports that it has become worse."""

from __future__ import annotations

from typing import Any

from prefect import flow

from llm4teach.analysis.statistics import declined
from llm4teach.datasets.champions import ChampionRegistry
from llm4teach.envs.registry import get_task
from llm4teach.errors import DatasetError
from llm4teach.flows.runtime import events
from llm4teach.flows.runtime.settings import Settings
from llm4teach.flows.stages.checkpoints import stored_student
from llm4teach.flows.stages.context import opened
from llm4teach.flows.stages.evaluate import play
from llm4teach.flows.stages.run_settings import overridden
from llm4teach.flows.stages.summary import outcome
from llm4teach.student.policies import StudentPolicy


@flow(name="check-champion")
def check_champion(
    settings: Settings = Settings(), overrides: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Compare the champion's success now with what it was when it became champion (drift check).

    The event ``llm4teach.champion.declined`` is for automations; the flow itself succeeds either
    way, and its run holds the episodes. No teacher is involved. A shifted variant of a task plays
    the champion of its own task.

    Args:
        settings: of the run; those of the sections that it does not use are ignored.
        overrides: settings to replace, nested by section, such as {"task": "LavaDoorKey"}.
    """
    settings = overridden(settings, overrides)
    trained_as = get_task(settings.task).trained_as
    with opened("evaluate", settings, with_teacher=False) as ctx:
        champion = ChampionRegistry(ctx.workspace.registry(trained_as)).champion()
        if champion is None:
            raise DatasetError(
                f"{trained_as} has no champion in {ctx.workspace.root}; llm4teach retrain makes one"
            )
        student = stored_student(ctx.workspace, ctx.task, champion.run_id)
        contestants = [("champion", StudentPolicy(student), settings.retrain.mode)]
        rows = play(ctx, settings.evaluate, contestants)
        now = sum(row["success"] for row in rows), len(rows)
        n = int(champion.evidence.get("episodes", 0))
        then = round(champion.evidence.get("challenger_success", 0.0) * n), n
        test = declined(now, then, settings.retrain.confidence)
        ctx.run.note(
            champion=champion.run_id,
            success_now=now[0] / now[1],
            success_then=then[0] / n if n else None,
            p_value=test.p_value,
            declined=test.verdict,
        )
        if test.verdict:
            payload = {"task": settings.task, "champion": champion.run_id, "p_value": test.p_value}
            events.emit("llm4teach.champion.declined", f"llm4teach.task.{settings.task}", payload)
        return outcome(ctx)
