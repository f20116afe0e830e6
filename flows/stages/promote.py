"""The last stage of a retraining: champion and challenger play, and one of them is champion."""

from __future__ import annotations

from typing import Any

from llm4teach.analysis.statistics import compare_episodes
from llm4teach.datasets.champions import Action, Registry, champion_of
from llm4teach.datasets.runs import CHECKPOINT
from llm4teach.datasets.storage.paths import folder_names
from llm4teach.flows.stages.checkpoints import stored_student
from llm4teach.flows.stages.context import Context
from llm4teach.flows.stages.online import Contestant, play
from llm4teach.student.config import EvaluateConfig, RetrainConfig
from llm4teach.student.model.network import n_bytes
from llm4teach.student.policies import student_policy

_KEPT = ("collect_steps", "finetune_steps", "questions", "prompt_tokens", "completion_tokens")


def decide(ctx: Context, evaluate: EvaluateConfig, retrain: RetrainConfig) -> None:
    """Evaluate the run's student beside the champion, and promote it if it is better.

    Both play the same held-out episodes. The first student of a task is promoted in any case. The
    decision is an event of the registry, with its figures, also if it is against the challenger.

    Raises:
        RegistryConflictError: another retraining decided while these two played.
        DatasetError: the champion's student is gone or damaged.
    """
    run_id, registry = ctx.run.run_id, Registry(ctx.workspace.registry(ctx.task.name))
    events = registry.events()
    champion = champion_of(events)
    challenger = stored_student(ctx.workspace, ctx.task, run_id)
    contestants: list[Contestant] = [("student", student_policy(challenger), retrain.mode)]
    if champion:
        other = stored_student(ctx.workspace, ctx.task, champion.run_id)
        contestants.append(("champion", student_policy(other), retrain.mode))
    rows = play(ctx, evaluate, contestants)
    ours = [row for row in rows if row["policy"] == "student"]
    action: Action = "promote"
    if champion:
        found = compare_episodes(
            ours,
            [row for row in rows if row["policy"] == "champion"],
            confidence=retrain.confidence,
            margin=retrain.margin,
            cheaper=n_bytes(challenger) < n_bytes(other),
        )
        figures = found.as_json()
        action = "reject" if found.verdict == "not better" else "promote"
        reason = (
            f"{found.verdict}: mean return {found.challenger_return:.3f} against "
            f"{found.champion_return:.3f}, one-sided p = {found.p_value:.4f}, n = {found.episodes}"
        )
    else:
        successes = sum(row["success"] for row in ours)
        figures = {"episodes": len(ours), "challenger_success": successes / len(ours)}
        reason = "the first student of this task"
    checkpoint = ctx.run.folder / CHECKPOINT
    event = registry.append(action, run_id, len(events), reason, evidence(ctx, figures), checkpoint)
    ctx.run.note(decision=event.action, decision_reason=reason, champion_before=event.replaces)


def evidence(ctx: Context, figures: dict[str, Any]) -> dict[str, Any]:
    """What the decision rests on: the figures, and what the challenger was made of."""
    info, results = ctx.teacher.info, ctx.run.results
    runs = folder_names(ctx.workspace.trajectories(ctx.task.name))
    return {
        **figures,
        "teacher_id": info.teacher_id,
        "prompt_version": info.prompt_version,
        "trajectories": [name.removeprefix("run=") for name in runs if name.startswith("run=")],
        **{name: results[name] for name in _KEPT if name in results},
    }
