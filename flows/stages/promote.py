"""The last stage of a retraining: an offline gate, then champion and challenger play."""

from __future__ import annotations

from typing import Any

from llm4teach.analysis.offline_rl.gate import Gate, offline_gate
from llm4teach.analysis.offline_rl.off_policy import logged_episodes
from llm4teach.analysis.statistics import compare_episodes
from llm4teach.datasets.champions import Action, ChampionRegistry, champion_of
from llm4teach.datasets.runs import CHECKPOINT
from llm4teach.datasets.storage.paths import folder_names
from llm4teach.flows.runtime.progress import stage
from llm4teach.flows.stages import pretrain as pretraining
from llm4teach.flows.stages.checkpoints import stored_student
from llm4teach.flows.stages.context import Context
from llm4teach.flows.stages.evaluate import Contestant, play
from llm4teach.student.config import EvaluateConfig, RetrainConfig
from llm4teach.student.model.network import Student, n_bytes
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
    run_id, registry = ctx.run.run_id, ChampionRegistry(ctx.workspace.registry(ctx.task.name))
    events = registry.events()
    champion = champion_of(events)
    challenger = stored_student(ctx.workspace, ctx.task, run_id)
    contestants: list[Contestant] = [("student", student_policy(challenger), retrain.mode)]
    if champion:
        other = stored_student(ctx.workspace, ctx.task, champion.run_id)
        contestants.append(("champion", student_policy(other), retrain.mode))
    rows = play(ctx, evaluate, contestants)
    challenger_rows = [row for row in rows if row["policy"] == "student"]
    action: Action = "promote"
    if champion:
        test = compare_episodes(
            challenger_rows,
            [row for row in rows if row["policy"] == "champion"],
            confidence=retrain.confidence,
            margin=retrain.margin,
            cheaper=n_bytes(challenger) < n_bytes(other),
        )
        figures = test.as_json()
        action = "reject" if test.verdict == "not better" else "promote"
        reason = (
            f"{test.verdict}: mean return {test.challenger_return:.3f} against "
            f"{test.champion_return:.3f}, one-sided p = {test.p_value:.4f}, n = {test.episodes}"
        )
    else:
        successes = sum(row["success"] for row in challenger_rows)
        figures = {
            "episodes": len(challenger_rows),
            "challenger_success": successes / len(challenger_rows),
        }
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


def may_play(ctx: Context, student: Student, retrain: RetrainConfig, gamma: float) -> bool:
    """Judge a student by all logged steps of its task; reject it permanently if it is refused.

    Where d3rlpy is not installed, or no logged episode is whole, every student passes, and the
    run's results say so.

    Raises:
        RegistryConflictError: another retraining has decided in the meantime.
    """
    if not retrain.gate:
        return True
    logged = logged_episodes(pretraining.trajectories(ctx, None))
    if logged is None:
        ctx.run.note(gate="not asked: no logged episode is whole")
        return True
    with stage("gate", 1, "student") as shown:
        gate = offline_gate(
            logged,
            student_policy(student),
            len(ctx.task.action_names),
            gamma=gamma,
            steps=retrain.gate_steps,
            least=retrain.gate_lead,
            seed=ctx.seed,
        )
        shown.summary = _in_words(gate)
        ctx.run.note(gate=shown.summary)
    if gate is None:
        return True
    ctx.run.note(gate_figures=gate.as_json())
    if not gate.passed:
        _reject(ctx, gate)
    return gate.passed


def _in_words(gate: Gate | None) -> str:
    if gate is None:
        return "not asked: it needs d3rlpy (pip install 'llm4teach[offline-rl]')"
    return f"{'passed' if gate.passed else 'refused'}: {gate.reason}"


def _reject(ctx: Context, gate: Gate) -> None:
    registry = ChampionRegistry(ctx.workspace.registry(ctx.task.name))
    reason = f"refused offline: {gate.reason}"
    event = registry.append(
        "reject",
        ctx.run.run_id,
        ctx.run.results["earlier_decisions"],
        reason,
        evidence(ctx, gate.as_json()),
        ctx.run.folder / CHECKPOINT,
    )
    ctx.run.note(decision=event.action, decision_reason=reason, champion_before=event.replaces)
