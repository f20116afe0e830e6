"""Flow finetune-student: PPO with a decaying KL term to the live teacher."""

from __future__ import annotations

from typing import Any

from prefect import flow

from llm4teach.flows.runtime.flow_runs import resumed_settings
from llm4teach.flows.runtime.retries import patiently
from llm4teach.flows.runtime.settings import PatienceConfig
from llm4teach.flows.stages import context as stages
from llm4teach.flows.stages import finetune as finetuning
from llm4teach.flows.stages import summary
from llm4teach.flows.stages.checkpoints import newest_student, stored_student
from llm4teach.student.config import FinetuneConfig
from llm4teach.teacher_labeling.config import LabelConfig, LiveConfig, TeacherConfig


@flow(name="finetune-student")
def finetune_student(
    workspace: str = "workspace",
    task: str = "SimpleDoorKey",
    teacher: TeacherConfig = TeacherConfig(),  # noqa: B008  (frozen)
    label: LabelConfig = LabelConfig(),  # noqa: B008
    live: LiveConfig = LiveConfig(),  # noqa: B008
    finetune: FinetuneConfig = FinetuneConfig(),  # noqa: B008
    seed: int = 0,
    from_run: str | None = None,
    resume: str | None = None,
    run_id: str | None = None,
    patience: PatienceConfig = PatienceConfig(),  # noqa: B008
) -> dict[str, Any]:
    """Train a student online and store it.

    Args:
        workspace: folder of all datasets and runs.
        task: environment to learn.
        teacher: asked about states that have no advice yet.
        label: budget of the questions, and prices.
        live: which of them are asked, and whether training waits for the answers.
        finetune: PPO's settings and the schedule of kl_coef.
        seed: of everything random.
        from_run: run whose student to start from; by default the newest of the task.
        resume: unfinished run to go on with, from its last checkpoint and with its own settings.
        run_id: run to join, instead of one of its own.
        patience: how long it may take, and retries where the teacher's server is gone.
    """
    if resume:
        settings = resumed_settings(workspace, resume)
        task, teacher, seed = settings["task"], settings["teacher"], settings["seed"]
        finetune = settings["finetune"]
    sections: dict[str, Any] = {"label": label, "live": live, "finetune": finetune}

    def attempt() -> dict[str, Any]:
        with stages.opened(
            "finetune", workspace, task, teacher, seed, join=run_id, resume=resume, **sections
        ) as ctx:
            start = ctx.run.results.get("from_run") or run_id or from_run
            start = start or newest_student(ctx.workspace, ctx.task)
            ctx.run.note(from_run=start)
            student = stored_student(ctx.workspace, ctx.task, start)
            finetuning.finetune(ctx, finetune, student, weighed_by=start)
        return summary.outcome(ctx)

    return patiently("finetune", attempt, patience)
