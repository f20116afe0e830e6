"""Flow evaluate-student: held-out episodes for student, teacher and a random policy."""

from __future__ import annotations

from typing import Any

from prefect import flow

from llm4teach.flows.runtime.retries import patiently
from llm4teach.flows.runtime.settings import PatienceConfig
from llm4teach.flows.stages import context as stages
from llm4teach.flows.stages import evaluate as evaluation
from llm4teach.flows.stages import summary
from llm4teach.flows.stages.checkpoints import newest_student
from llm4teach.student.config import EvaluateConfig
from llm4teach.teacher_labeling.config import TeacherConfig


@flow(name="evaluate-student")
def evaluate_student(
    workspace: str = "workspace",
    task: str = "SimpleDoorKey",
    teacher: TeacherConfig = TeacherConfig(),  # noqa: B008  (frozen)
    evaluate: EvaluateConfig = EvaluateConfig(),  # noqa: B008
    seed: int = 0,
    from_run: str | None = None,
    run_id: str | None = None,
    patience: PatienceConfig = PatienceConfig(),  # noqa: B008
) -> dict[str, Any]:
    """Evaluate on seeds that no training uses.

    Args:
        workspace: folder of all datasets and runs.
        task: environment to play.
        teacher: to compare with.
        evaluate: how many episodes.
        seed: of the drawn actions.
        from_run: run whose student to evaluate; by default the newest of the task.
        run_id: run to join, and to evaluate.
        patience: how long it may take, and retries where the teacher's server is gone.
    """

    def attempt() -> dict[str, Any]:
        with stages.opened(
            "evaluate", workspace, task, teacher, seed, join=run_id, evaluate=evaluate
        ) as ctx:
            evaluated = run_id or from_run or newest_student(ctx.workspace, ctx.task)
            evaluation.evaluate(ctx, evaluate, evaluated)
        return summary.outcome(ctx)

    return patiently("evaluate", attempt, patience)
