"""The last stage of a retraining: the challenger plays against chance, the log and the champion."""

from __future__ import annotations

from typing import Any

import numpy as np

from llm4teach.analysis.offline_rl.gate import offline_gate
from llm4teach.analysis.offline_rl.off_policy import Logged, logged_episodes
from llm4teach.analysis.statistics import compare_episodes, declined
from llm4teach.datasets.champions import Action, ChampionRegistry, champion_of
from llm4teach.datasets.runs import CHECKPOINT
from llm4teach.datasets.storage.paths import folder_names
from llm4teach.envs.task import Task
from llm4teach.flows.runtime.progress import stage
from llm4teach.flows.stages import pretrain as pretraining
from llm4teach.flows.stages.checkpoints import stored_student
from llm4teach.flows.stages.context import Context
from llm4teach.flows.stages.evaluate import Contestant, play
from llm4teach.student.config import EvaluateConfig, RetrainConfig
from llm4teach.student.model.network import Student
from llm4teach.student.policies import StudentPolicy, uniform_policy

_KEPT = ("collect_steps", "finetune_steps", "questions", "prompt_tokens", "completion_tokens")


def decide(ctx: Context, evaluate: EvaluateConfig, retrain: RetrainConfig) -> None:
    """Play the run's student beside the champion, and promote it if it is better.

    Both play the same held-out episodes, and so does a random policy. A student that is not shown
    to be better than random play, or is shown to succeed less often than the logged behavior, is
    rejected (`RetrainConfig.gate`), also where it would be the task's first. The decision is an
    event of the registry, with its figures, also if it is against the challenger.

    Raises:
        RegistryConflictError: another retraining decided while these played.
        DatasetError: the champion's student is gone or damaged.
    """
    run_id, registry = ctx.run.run_id, ChampionRegistry(ctx.workspace.registry(ctx.task.name))
    events = registry.events()
    champion = champion_of(events)
    challenger = stored_student(ctx.workspace, ctx.task, run_id)
    contestants: list[Contestant] = [("student", StudentPolicy(challenger), retrain.mode)]
    if champion:
        other = stored_student(ctx.workspace, ctx.task, champion.run_id)
        contestants.append(("champion", StudentPolicy(other), retrain.mode))
    if retrain.gate:
        contestants.append(("random", uniform_policy(len(ctx.task.action_names)), "sampled"))
    rows = play(ctx, evaluate, contestants)
    played = {name: [row for row in rows if row["policy"] == name] for name, _, _ in contestants}
    student = played["student"]
    figures: dict[str, Any] = {
        "episodes": len(student),
        "challenger_success": sum(row["success"] for row in student) / len(student),
    }
    reason = f"the first student of this task: success {figures['challenger_success']:.1%}"
    action: Action = "promote"
    if champion:
        test = compare_episodes(
            student, played["champion"], confidence=retrain.confidence, margin=retrain.margin
        )
        figures |= test.as_json()
        action = "promote" if test.verdict == "better" else "reject"
        reason = (
            f"{test.verdict}: mean return {test.challenger_return:.3f} against "
            f"{test.champion_return:.3f}, one-sided p = {test.p_value:.4f}; success "
            f"{test.challenger_success:.1%} against {test.champion_success:.1%}, p = "
            f"{test.success_p_value:.4f} that it is lower by {retrain.margin:g} or more; "
            f"n = {test.episodes}"
        )
    if retrain.gate:
        refusal, compared = _floor(student, played["random"], _logged_success(ctx), retrain)
        figures |= compared
        if refusal:
            action, reason = "reject", refusal
    checkpoint = ctx.run.folder / CHECKPOINT
    event = registry.append(action, run_id, len(events), reason, evidence(ctx, figures), checkpoint)
    ctx.run.note(decision=event.action, decision_reason=reason, champion_before=event.replaces)


def _floor(
    student: list[dict[str, Any]],
    random: list[dict[str, Any]],
    logged: tuple[int, int] | None,
    retrain: RetrainConfig,
) -> tuple[str, dict[str, Any]]:
    """Return why the student is no use, "" if it is some, and the figures.

    Args:
        student: its episodes.
        random: those of a random policy, with the same seeds.
        logged: successes and episodes of the logged behavior, if there is any.
        retrain: with the confidence.
    """
    chance = compare_episodes(student, random, confidence=retrain.confidence, margin=retrain.margin)
    figures: dict[str, Any] = {
        "random_success": chance.champion_success,
        "random_return": round(chance.champion_return, 5),
        "random_p_value": round(chance.p_value, 5),
    }
    hint = "train longer, or promote it with `llm4teach models promote` if it is meant to be"
    if chance.p_value >= 1 - retrain.confidence:
        return (
            f"not shown to be better than random play: mean return {chance.challenger_return:.3f} "
            f"against {chance.champion_return:.3f}, one-sided p = {chance.p_value:.4f}, success "
            f"{chance.challenger_success:.1%} against {chance.champion_success:.1%}, "
            f"n = {chance.episodes}; {hint}"
        ), figures
    if logged is None:
        return "", figures
    successes = sum(row["success"] for row in student)
    test = declined((successes, len(student)), logged, retrain.confidence)
    rate = logged[0] / logged[1]
    figures |= {
        "logged_success": rate,
        "logged_episodes": logged[1],
        "logged_p_value": round(test.p_value, 5),
    }
    if test.verdict:
        return (
            f"worse than the logged behavior: success {successes / len(student):.1%} of "
            f"{len(student)} episodes against {rate:.1%} of {logged[1]}, one-sided p = "
            f"{test.p_value:.4f}; {hint}"
        ), figures
    return "", figures


def _logged_success(ctx: Context) -> tuple[int, int] | None:
    """Successes and episodes of all that is logged of the task, None if no episode is whole.

    An episode that was cut off when its collection ended counts as failed: longer ones are cut off
    more often, and among those that are whole the solved ones would be too many.
    """
    logged = logged_episodes(pretraining.trajectories(ctx, None))
    return None if logged is None else logged_success(ctx.task, logged)


def logged_success(task: Task, logged: Logged) -> tuple[int, int]:
    """Return the successes among logged episodes, and their number."""
    ends = logged.starts + logged.lengths - 1  # (E,)
    returns = np.add.reduceat(logged.rewards, logged.starts)  # (E,)
    solved = task.is_success(logged.terminated[ends], returns) & logged.whole
    return int(solved.sum()), len(solved)


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


def report_offline(ctx: Context, student: Student, retrain: RetrainConfig, gamma: float) -> None:
    """Note what all logged steps of the task say about a student. It decides nothing.

    No threshold of an offline estimate holds on every task (docs/results/gate), and the held-out
    episodes are played anyway.
    """
    if not retrain.gate:
        return
    logged = logged_episodes(pretraining.trajectories(ctx, None))
    if logged is None:
        ctx.run.note(gate="not asked: no logged episode is whole")
        return
    with stage("gate", 1, "student") as shown:
        gate = offline_gate(
            logged,
            StudentPolicy(student),
            len(ctx.task.action_names),
            gamma=gamma,
            steps=retrain.gate_steps,
            seed=ctx.seed,
        )
        if gate is None:
            shown.summary = "not asked: it needs d3rlpy (pip install 'llm4teach[offline-rl]')"
        else:
            shown.summary = f"decides nothing: {gate.reason}"
            ctx.run.note(gate_figures=gate.as_json())
        ctx.run.note(gate=shown.summary)
