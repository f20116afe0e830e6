"""The offline gate of a retraining: a student that looks bad on logged steps never plays."""

from __future__ import annotations

from llm4teach.analysis.offline_rl.gate import Gate, offline_gate
from llm4teach.analysis.offline_rl.off_policy import logged_episodes
from llm4teach.datasets.champions import Registry
from llm4teach.datasets.runs import CHECKPOINT
from llm4teach.flows.runtime.progress import stage
from llm4teach.flows.stages import context as stages
from llm4teach.flows.stages.checkpoints import stored_student
from llm4teach.flows.stages.context import Context
from llm4teach.flows.stages.promote import evidence
from llm4teach.student.config import RetrainConfig
from llm4teach.student.policies import student_policy


def may_play(ctx: Context, retrain: RetrainConfig, gamma: float) -> bool:
    """Judge the run's student by all logged steps of its task; a refused one is rejected for good.

    Where d3rlpy is not installed, or no logged episode is whole, every student passes, and the
    run's results say so.

    Raises:
        RegistryConflictError: another retraining has decided in the meantime.
    """
    if not retrain.gate:
        return True
    logged = logged_episodes(stages.trajectories(ctx, None))
    if logged is None:
        ctx.run.note(gate="not asked: no logged episode is whole")
        return True
    student = stored_student(ctx.workspace, ctx.task, ctx.run.run_id)
    with stage("gate", 1, "student") as shown:
        found = offline_gate(
            logged,
            student_policy(student),
            len(ctx.task.action_names),
            gamma=gamma,
            steps=retrain.gate_steps,
            least=retrain.gate_lead,
            seed=ctx.seed,
        )
        shown.summary = _in_words(found)
        ctx.run.note(gate=shown.summary)
    if found is None:
        return True
    ctx.run.note(gate_figures=found.as_json())
    if not found.passed:
        _reject(ctx, found)
    return found.passed


def _in_words(found: Gate | None) -> str:
    if found is None:
        return "not asked: it needs d3rlpy (pip install 'llm4teach[offline-rl]')"
    return f"{'passed' if found.passed else 'refused'}: {found.reason}"


def _reject(ctx: Context, found: Gate) -> None:
    registry = Registry(ctx.workspace.registry(ctx.task.name))
    reason = f"refused offline: {found.reason}"
    event = registry.append(
        "reject",
        ctx.run.run_id,
        ctx.run.results["earlier_decisions"],
        reason,
        evidence(ctx, found.as_json()),
        ctx.run.folder / CHECKPOINT,
    )
    ctx.run.note(decision=event.action, decision_reason=reason, champion_before=event.replaces)
