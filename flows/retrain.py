"""Flow retrain: a challenger from new trajectories, which becomes champion only if it is better."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from prefect import flow

from llm4teach.datasets.champions import ChampionRegistry, champion_of
from llm4teach.flows.runtime.retries import with_resolved_teacher, with_retries
from llm4teach.flows.runtime.settings import Settings
from llm4teach.flows.stages import promote
from llm4teach.flows.stages.context import Context, opened
from llm4teach.flows.stages.pipeline import Hooks, Stages, run_pipeline
from llm4teach.flows.stages.run_settings import overridden
from llm4teach.flows.stages.summary import report
from llm4teach.student.model.network import Student


@flow(name="retrain")
def retrain(
    settings: Settings = Settings(),
    overrides: dict[str, Any] | None = None,
    resume: str | None = None,
) -> dict[str, Any]:
    """Collect with the champion, label what is new, train a challenger, and let the two play.

    All trajectories of the task in the workspace count, imported ones too. The number of decisions
    so far on the task's champion is added to the seed, so that each retraining meets other
    episodes.

    Args:
        settings: of the run; those of the sections that it does not use are ignored.
        overrides: settings to replace, nested by section, such as {"task": "LavaDoorKey"}.
        resume: unfinished retrain run to resume, with the settings that are stored with it.
    """
    settings = overridden(settings, overrides)
    if not resume:
        settings = with_resolved_teacher(settings)
    with opened("retrain", settings, resume=resume) as ctx:
        _note_champion(ctx)
        config, results = ctx.settings, ctx.run.results
        champion = results["led_by"]
        stages = Stages(
            config.collect,
            config.pretrain,
            config.finetune,
            behavior_run=champion,
            start_run=champion if config.retrain.start == "champion" else None,
            all_runs=True,
        )

        def after_round(number: int, student: Student) -> None:
            if number == config.collect.rounds:
                promote.report_offline(ctx, student, config.retrain, config.pretrain.gamma)

        hooks = Hooks(with_retries(settings.patience), after_round)
        run_pipeline(replace(ctx, seed=ctx.seed + results["earlier_decisions"]), stages, hooks)
        if "decision" not in ctx.run.results:
            promote.decide(ctx, config.evaluate, config.retrain)
        return report(ctx)


def _note_champion(ctx: Context) -> None:
    """Note, once for the whole run, who is champion now and how many decisions led to it."""
    if "earlier_decisions" in ctx.run.results:
        return
    events = ChampionRegistry(ctx.workspace.registry(ctx.task.name)).events()
    champion = champion_of(events)
    ctx.run.note(earlier_decisions=len(events), led_by=champion.run_id if champion else None)
