"""Flow retrain: a challenger from new trajectories, which becomes champion only if it is better."""

from __future__ import annotations

from typing import Any

from prefect import flow

from llm4teach.datasets.champions import Registry, champion_of
from llm4teach.flows.collect_trajectories import collect_trajectories
from llm4teach.flows.finetune_student import finetune_student
from llm4teach.flows.label_states import label_states
from llm4teach.flows.pretrain_student import pretrain_student
from llm4teach.flows.runtime.flow_runs import resumed_settings
from llm4teach.flows.runtime.retries import reach_teacher
from llm4teach.flows.runtime.settings import PatienceConfig
from llm4teach.flows.stages import context as stages
from llm4teach.flows.stages import promote as promotion
from llm4teach.flows.stages import summary
from llm4teach.flows.stages.promote import may_play
from llm4teach.student.config import (
    CollectConfig,
    EvaluateConfig,
    FinetuneConfig,
    PretrainConfig,
    RetrainConfig,
)
from llm4teach.teacher_labeling.config import LabelConfig, LiveConfig, TeacherConfig


@flow(name="retrain")
def retrain(
    workspace: str = "workspace",
    task: str = "SimpleDoorKey",
    teacher: TeacherConfig = TeacherConfig(),  # noqa: B008  (frozen)
    label: LabelConfig = LabelConfig(),  # noqa: B008
    live: LiveConfig = LiveConfig(),  # noqa: B008
    collect: CollectConfig = CollectConfig(),  # noqa: B008
    pretrain: PretrainConfig = PretrainConfig(),  # noqa: B008
    finetune: FinetuneConfig = FinetuneConfig(),  # noqa: B008
    evaluate: EvaluateConfig = EvaluateConfig(),  # noqa: B008
    retrain: RetrainConfig = RetrainConfig(),  # noqa: B008
    patience: PatienceConfig = PatienceConfig(),  # noqa: B008
    seed: int = 0,
    resume: str | None = None,
) -> dict[str, Any]:
    """Collect with the champion, label what is new, train a challenger, and let the two play.

    A challenger that the offline gate refuses after pretraining never meets the environment.

    All trajectories of the task in the workspace count, imported ones too.

    Args:
        workspace: folder of all datasets and runs.
        task: environment to learn.
        teacher: whom to ask, and how.
        label: budget of all questions, prices, and how runs share the work.
        live: which questions are asked while fine-tuning.
        collect: new env steps, and in how many rounds (dataset aggregation).
        pretrain: distillation after each round.
        finetune: PPO's settings and the schedule of kl_coef.
        evaluate: how many held-out episodes decide.
        retrain: where the challenger starts, and when it is promoted.
        patience: how long each stage may take, and retries where the teacher's server is gone.
        seed: of everything random; the number of decisions so far on the task's champion is added,
            so that each retraining meets other episodes.
        resume: unfinished retrain run to go on with, from where it stopped.
    """
    if resume:
        settings = resumed_settings(workspace, resume)
        task, teacher, seed = settings["task"], settings["teacher"], settings["seed"]
        collect, pretrain, finetune = (settings[n] for n in ("collect", "pretrain", "finetune"))
        evaluate, retrain = settings["evaluate"], settings["retrain"]
    sections: dict[str, Any] = {"collect": collect, "pretrain": pretrain, "finetune": finetune}
    sections |= {"evaluate": evaluate, "retrain": retrain, "label": label, "live": live}
    reach_teacher(teacher, task, patience)
    with stages.opened("retrain", workspace, task, teacher, seed, resume=resume, **sections) as ctx:
        run_id, done = ctx.run.run_id, ctx.run.results
        shared: dict[str, Any] = {
            "workspace": workspace,
            "task": task,
            "teacher": teacher,
            "run_id": run_id,
            "patience": patience,
        }
        if "earlier_decisions" not in done:
            events = Registry(ctx.workspace.registry(task)).events()
            champion = champion_of(events)
            ctx.run.note(
                earlier_decisions=len(events),
                led_by=champion.run_id if champion else None,
            )
            done = ctx.run.results
        seed, leads = seed + done["earlier_decisions"], done["led_by"]
        start = leads if retrain.start == "champion" else None
        for number in range(1 + done.get("rounds_done", 0), collect.rounds + 1):
            collect_trajectories(
                **shared,
                collect=collect,
                seed=seed,
                from_run=run_id if number > 1 else leads,
                steps=collect.steps * number // collect.rounds,
            )
            label_states(**shared, all_runs=True)
            pretrain_student(
                **shared, pretrain=pretrain, seed=seed, all_runs=True, start_from=start
            )
            if not may_play(ctx, retrain, pretrain.gamma):
                return summary.report(ctx)
            ctx.run.note(rounds_done=number)
        if "finetune_steps" not in done:
            finetune_student(**shared, finetune=finetune, seed=seed)
        if "decision" not in done:
            promotion.decide(ctx, evaluate, retrain)
        return summary.report(ctx)
