"""Flow check-champion: the champion plays again; an event says when it has become worse."""

from __future__ import annotations

from typing import Any

from prefect import flow

from llm4teach.analysis.statistics import declined
from llm4teach.datasets.champions import Registry
from llm4teach.datasets.workspace import DatasetError
from llm4teach.envs.registry import get_task
from llm4teach.flows.runtime import events
from llm4teach.flows.stages import context as stages
from llm4teach.flows.stages import evaluate as evaluation
from llm4teach.flows.stages import summary
from llm4teach.flows.stages.checkpoints import stored_student
from llm4teach.student.config import EvaluateConfig, RetrainConfig
from llm4teach.student.policies import student_policy
from llm4teach.teacher_labeling.config import TeacherConfig


@flow(name="check-champion")
def check_champion(
    workspace: str = "workspace",
    task: str = "SimpleDoorKey",
    evaluate: EvaluateConfig = EvaluateConfig(),  # noqa: B008  (frozen)
    retrain: RetrainConfig = RetrainConfig(),  # noqa: B008
    seed: int = 0,
) -> dict[str, Any]:
    """Compare the champion's success now with what it was when it became champion.

    The event ``llm4teach.champion.declined`` is for automations; the flow itself succeeds either
    way, and its run holds the episodes.

    Args:
        workspace: folder of all datasets and runs.
        task: what the champion meets now; a shifted variant asks its own task's champion.
        evaluate: how many held-out episodes.
        retrain: how it plays (``mode``), and the confidence of the test.
        seed: of the drawn actions.
    """
    trained_as = get_task(task).trained_as
    with stages.opened(
        "evaluate", workspace, task, TeacherConfig(), seed, evaluate=evaluate
    ) as ctx:
        champion = Registry(ctx.workspace.registry(trained_as)).champion()
        if champion is None:
            raise DatasetError(
                f"{trained_as} has no champion in {ctx.workspace.root}; llm4teach retrain makes one"
            )
        student = stored_student(ctx.workspace, ctx.task, champion.run_id)
        rows = evaluation.play(ctx, evaluate, [("champion", student_policy(student), retrain.mode)])
        now = sum(row["success"] for row in rows), len(rows)
        before = champion.evidence
        n = int(before.get("episodes", 0))
        then = round(before.get("challenger_success", 0.0) * n), n
        found = declined(now, then, retrain.confidence)
        ctx.run.note(
            champion=champion.run_id,
            success_now=now[0] / now[1],
            success_then=then[0] / n if n else None,
            p_value=found.p_value,
            declined=found.verdict,
        )
        if found.verdict:
            events.emit(
                "llm4teach.champion.declined",
                f"llm4teach.task.{task}",
                {"task": task, "champion": champion.run_id, "p_value": found.p_value},
            )
        return summary.outcome(ctx)
