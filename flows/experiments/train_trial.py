"""What happens in a trial: its method's stages, with a learning curve and its own advice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from llm4teach.datasets.metrics import read_metrics
from llm4teach.datasets.runs import ADVICE, MANIFEST
from llm4teach.datasets.storage.locks import LockedError, locked
from llm4teach.datasets.workspace import Workspace
from llm4teach.errors import DatasetError
from llm4teach.flows.experiments.fit_trial import fit
from llm4teach.flows.experiments.learning_curve import CONFIRMATION, POINT, LearningCurve
from llm4teach.flows.experiments.option_trial import train_over_options
from llm4teach.flows.experiments.trial import TEACHER, TRANSFER, Trial, live_of
from llm4teach.flows.stages.checkpoints import new_student, stored_student
from llm4teach.flows.stages.context import Context, opened
from llm4teach.flows.stages.evaluate import evaluate_students, evaluate_teacher
from llm4teach.flows.stages.pipeline import Hooks, Stages, run_pipeline
from llm4teach.student.model.network import Student
from llm4teach.student.policies import StudentPolicy
from llm4teach.teacher_labeling.labeling.budget import priced
from llm4teach.teacher_labeling.labeling.cached_teacher import CachedTeacher

_NO_BUDGET = {"max_requests": None, "max_tokens": None, "max_cost": None, "retry_invalid": False}


def run_trial(trial: Trial, run_id: str | None = None) -> str:
    """Train and evaluate; resume the unfinished run ``run_id``, if given. Return the run's id.

    The outcome is the same whatever else the workspace holds.

    Raises:
        DatasetError: another process is working on that run, or it is damaged.
        TeacherError: a state had to be asked about and the teacher cannot answer.
    """
    torch.set_num_threads(1)  # also where OMP_NUM_THREADS says more: trials run side by side
    config = trial.settings.evaluate
    with _opened(trial, run_id) as ctx:
        if ctx is None:  # another process has just completed it
            assert run_id is not None
            return run_id
        if trial.method == TEACHER:
            evaluate_teacher(ctx, config)
        elif trial.method == TRANSFER:
            assert trial.student is not None
            ctx.run.note(evaluated_run=trial.student)
            evaluate_students(ctx, config, trial.student, ["student"])
        elif trial.method.over_options:
            train_over_options(ctx, trial)
        elif trial.method.algorithm:
            fit(ctx, trial)
        else:
            _train(ctx, trial)
            evaluate_students(ctx, config, ctx.run.run_id, ["student"])
        return ctx.run.run_id


@contextmanager
def _opened(trial: Trial, run_id: str | None) -> Iterator[Context | None]:
    settings = trial.settings
    workspace = Workspace(settings.workspace)
    config = {"method": trial.method.name, **trial.sections()}
    if trial.student:
        config["student_run"] = trial.student
    with ExitStack() as stack:
        if run_id is not None:
            stack.enter_context(_locked(workspace, run_id))
            if (workspace.run(run_id) / MANIFEST).exists():
                yield None
                return
        run = opened(trial.kind, settings, resume=run_id, config=config, revive=False)
        ctx = stack.enter_context(run)
        if run_id is None:
            stack.enter_context(_locked(workspace, ctx.run.run_id))
        no_budget = settings.label.model_copy(update=_NO_BUDGET)
        limits = priced(ctx.settings.teacher, no_budget, ctx.teacher.info)
        yield replace(
            ctx,
            advisor=CachedTeacher(ctx.teacher, ctx.store, limits),
            advice_folder=ctx.run.folder / ADVICE,
            limits=limits,
            live=live_of(settings),
        )


@contextmanager
def _locked(workspace: Workspace, run_id: str) -> Iterator[None]:
    """Keep other processes away from a run that is being worked on."""
    path = workspace.root / "runs" / f".{run_id}.lock"
    try:
        with locked(path, wait=False):
            try:
                yield
            finally:
                if isinstance(path, Path):
                    path.unlink(missing_ok=True)
    except LockedError:
        message = f"another process is working on run {run_id}; wait for it, or stop it"
        raise DatasetError(message) from None


def _train(ctx: Context, trial: Trial) -> None:
    """Run the stages of the trial's method, looking at the student on the way."""
    run, sections = ctx.run, trial.sections()
    stages = Stages(sections.get("collect"), sections.get("pretrain"), sections.get("finetune"))
    curve = LearningCurve(ctx, trial.settings.validation, trial.budget)
    fresh = new_student(ctx.task, ctx.settings.student, ctx.seed)
    curve.maybe(0, StudentPolicy(fresh), 0.0)
    offline_steps = run.results.get("collect_steps", 0)  # env steps
    offline_cpu_s, since = run.results.get("offline_cpu_s", 0.0), 0.0
    online_cpu_s: float | None = None  # until the first update: a resumed run drops some

    def run_stage(name: str, work: Callable[[], Any]) -> None:
        nonlocal offline_cpu_s, since
        since = time.process_time()
        work()
        if name in ("collect", "pretrain"):
            offline_cpu_s += time.process_time() - since

    def after_round(number: int, student: Student) -> None:
        nonlocal offline_steps
        offline_steps = run.results["collect_steps"]
        curve.measure(offline_steps, StudentPolicy(student), offline_cpu_s)
        run.flush()
        run.note(offline_cpu_s=offline_cpu_s)

    def on_update(step: int, student: Student) -> None:
        nonlocal since, online_cpu_s
        spent = time.process_time() - since
        if online_cpu_s is None:
            online_cpu_s = _logged_cpu_s(ctx, "finetune")
        online_cpu_s += spent
        run.log("finetune", step, {"cpu_s": spent})
        curve.maybe(offline_steps + step, StudentPolicy(student), offline_cpu_s + online_cpu_s)
        since = time.process_time()

    run_pipeline(ctx, stages, Hooks(run_stage, after_round, on_update))
    train_s = offline_cpu_s + _logged_cpu_s(ctx, "finetune")
    trained = stored_student(ctx.workspace, ctx.task, run.run_id)
    steps = offline_steps + run.results.get("finetune_steps", 0)
    curve.finish(steps, StudentPolicy(trained), train_s)
    validation_s = _logged_cpu_s(ctx, POINT) + _logged_cpu_s(ctx, CONFIRMATION)
    run.note(train_cpu_s=train_s, validation_cpu_s=validation_s)


def _logged_cpu_s(ctx: Context, stage: str) -> float:
    ctx.run.flush()
    rows = read_metrics(ctx.run.folder).to_pylist()
    return float(sum(r["value"] for r in rows if (r["stage"], r["name"]) == (stage, "cpu_s")))
