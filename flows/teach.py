"""Flow teach: the whole pipeline, offline first and online after."""

from __future__ import annotations

from typing import Any

from prefect import flow

from llm4teach.flows.collect_trajectories import collect_trajectories
from llm4teach.flows.evaluate_student import evaluate_student
from llm4teach.flows.finetune_student import finetune_student
from llm4teach.flows.label_states import label_states
from llm4teach.flows.pretrain_student import pretrain_student
from llm4teach.flows.runtime.flow_runs import resumed_settings
from llm4teach.flows.runtime.retries import reach_teacher
from llm4teach.flows.runtime.settings import PatienceConfig
from llm4teach.flows.stages import context as stages
from llm4teach.flows.stages import summary
from llm4teach.student.config import CollectConfig, EvaluateConfig, FinetuneConfig, PretrainConfig
from llm4teach.teacher_labeling.config import LabelConfig, LiveConfig, TeacherConfig


@flow(name="teach")
def teach(
    workspace: str = "workspace",
    task: str = "SimpleDoorKey",
    teacher: TeacherConfig = TeacherConfig(),  # noqa: B008  (frozen)
    label: LabelConfig = LabelConfig(),  # noqa: B008
    live: LiveConfig = LiveConfig(),  # noqa: B008
    collect: CollectConfig = CollectConfig(),  # noqa: B008
    pretrain: PretrainConfig = PretrainConfig(),  # noqa: B008
    finetune: FinetuneConfig = FinetuneConfig(),  # noqa: B008
    evaluate: EvaluateConfig = EvaluateConfig(),  # noqa: B008
    patience: PatienceConfig = PatienceConfig(),  # noqa: B008
    seed: int = 0,
    resume: str | None = None,
) -> dict[str, Any]:
    """Collect, label and pretrain in rounds, then fine-tune, evaluate and report.

    Args:
        workspace: folder of all datasets and runs.
        task: environment to learn.
        teacher: whom to ask, and how.
        label: budget of all questions, prices, and how runs share the work.
        live: which questions are asked while fine-tuning.
        collect: env steps of the offline part, and in how many rounds (dataset aggregation).
        pretrain: distillation after each round.
        finetune: PPO's settings and the schedule of kl_coef.
        evaluate: how many held-out episodes.
        patience: how long each stage may take, and retries where the teacher's server is gone.
        seed: of everything random.
        resume: unfinished run to go on with, from where it stopped and with its own settings.
    """
    if resume:
        settings = resumed_settings(workspace, resume)
        task, teacher, seed = settings["task"], settings["teacher"], settings["seed"]
        collect, pretrain = settings["collect"], settings["pretrain"]
        finetune, evaluate = settings["finetune"], settings["evaluate"]
    reach_teacher(teacher, task, patience)
    with stages.opened(
        "teach",
        workspace,
        task,
        teacher,
        seed,
        resume=resume,
        label=label,
        live=live,
        collect=collect,
        pretrain=pretrain,
        finetune=finetune,
        evaluate=evaluate,
    ) as ctx:
        run_id = ctx.run.run_id
        shared: dict[str, Any] = {
            "workspace": workspace,
            "task": task,
            "teacher": teacher,
            "run_id": run_id,
            "patience": patience,
        }
        for number in range(1 + ctx.run.results.get("rounds_done", 0), collect.rounds + 1):
            collect_trajectories(
                **shared,
                collect=collect,
                seed=seed,
                from_run=run_id if number > 1 else None,
                steps=collect.steps * number // collect.rounds,
            )
            label_states(**shared)
            pretrain_student(**shared, pretrain=pretrain, seed=seed)
            ctx.run.note(rounds_done=number)
        if "finetune_steps" not in ctx.run.results:
            finetune_student(**shared, finetune=finetune, seed=seed)
        evaluate_student(**shared, evaluate=evaluate, seed=seed)
        return summary.report(ctx)
