"""What happens in a trial: its method's stages, with a learning curve and its own advice."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from llm4teach.datasets.metrics import read_metrics
from llm4teach.datasets.runs import ADVICE, MANIFEST
from llm4teach.datasets.storage.locks import LockedError, locked
from llm4teach.datasets.workspace import DatasetError, Workspace
from llm4teach.envs.seeds import validation_seeds
from llm4teach.flows.experiments.trial import TEACHER, TRANSFER, Trial
from llm4teach.flows.stages import (
    collect as collecting,
)
from llm4teach.flows.stages import (
    context as stages,
)
from llm4teach.flows.stages import evaluate as evaluation
from llm4teach.flows.stages import finetune as finetuning
from llm4teach.flows.stages import (
    label as labelling,
)
from llm4teach.flows.stages import pretrain as pretraining
from llm4teach.flows.stages.checkpoints import PRETRAINED, new_student, stored_student
from llm4teach.flows.stages.context import Context
from llm4teach.student.config import EvaluateConfig, ValidationConfig
from llm4teach.student.evaluation.evaluate import evaluate_policy
from llm4teach.student.model.network import Student
from llm4teach.student.policies import student_policy
from llm4teach.teacher_labeling.config import LabelConfig, LiveConfig
from llm4teach.teacher_labeling.labeling.budget import priced
from llm4teach.teacher_labeling.labeling.cached_teacher import CachedTeacher

STAGE = "validate"  # of the metrics; their step counts the env steps of training, offline ones too
LEAST_EPISODES = 16
LEAST_SPACING = 1_024  # env steps between two points


class LearningCurve:
    """Measures a student now and then, and logs it with the run; points already there stay.

    Watching must stay cheap beside learning, and the episodes of a poor student are long. So a
    point has only as many episodes as take, at the length they had a point before, the env steps
    trained in between, or `LEAST_EPISODES`; and points keep `LEAST_SPACING`. The number does not
    depend on the point's own outcome, which would bias it.

    Args:
        ctx: the run that trains.
        config: how many points, and episodes at each.
        budget: env steps in all, offline ones included.
    """

    def __init__(self, ctx: Context, config: ValidationConfig, budget: int) -> None:
        self._ctx, self._config = ctx, config
        self._every = max(LEAST_SPACING, budget // config.points)  # env steps
        self._lengths: dict[int, float] = {}  # mean episode length by step
        for row in read_metrics(ctx.run.folder).to_pylist():
            if (row["stage"], row["name"]) == (STAGE, "episode_length"):
                self._lengths[row["step"]] = row["value"]

    def maybe(self, step: int, student: Student) -> None:
        """Measure the student if the next point is due after ``step`` env steps."""
        last = max(self._lengths, default=-self._every)
        if step // self._every > last // self._every:
            self.measure(step, student)

    def measure(self, step: int, student: Student) -> None:
        """Measure the student after ``step`` env steps of training."""
        if step in self._lengths:
            return
        began = time.process_time()
        seeds = validation_seeds(self._episodes(step))
        config = EvaluateConfig(episodes=len(seeds), n_envs=len(seeds))
        policy, seed = student_policy(student), self._ctx.seed
        played = evaluate_policy(
            self._ctx.task, policy, "sampled", config, seed, lambda ended: None, seeds
        )
        length = sum(e["length"] for e in played) / len(played)
        self._lengths[step] = length
        seconds = time.process_time() - began
        spent = self._ctx.store.table(["prompt_tokens", "completion_tokens"])
        tokens = sum(sum(filter(None, column)) for column in spent.to_pydict().values())
        self._ctx.run.log(
            STAGE,
            step,
            {
                "success_rate": sum(e["success"] for e in played) / len(played),
                "episodes": len(played),
                "episode_length": length,
                "tokens": tokens,
                "cpu_s": seconds,
            },
        )

    def _episodes(self, step: int) -> int:
        if not self._lengths:
            return min(LEAST_EPISODES, self._config.episodes)
        last = max(self._lengths)
        fit = int((step - last) / self._lengths[last])
        return min(max(LEAST_EPISODES, fit), self._config.episodes)


def run_trial(trial: Trial, run_id: str | None = None) -> str:
    """Train and evaluate; go on with the unfinished run ``run_id``, if given. Return the run's id.

    The outcome is the same whatever else the workspace holds.

    Raises:
        DatasetError: another process is working on that run, or it is damaged.
        TeacherError: a state had to be asked about and the teacher cannot answer.
    """
    torch.set_num_threads(1)  # also where OMP_NUM_THREADS says more: trials run side by side
    with _opened(trial, run_id) as ctx:
        if ctx is None:  # another process has just completed it
            assert run_id is not None
            return run_id
        if trial.method == TEACHER:
            evaluation.evaluate_teacher(ctx, trial.settings.evaluate)
        elif trial.method == TRANSFER:
            assert trial.student is not None
            ctx.run.note(evaluated_run=trial.student)
            evaluation.evaluate_students(ctx, trial.settings.evaluate, trial.student, ["student"])
        else:
            _train(ctx, trial)
            own = ctx.run.run_id
            evaluation.evaluate_students(ctx, trial.settings.evaluate, own, ["student"])
        return ctx.run.run_id


@contextmanager
def _opened(trial: Trial, run_id: str | None) -> Iterator[Context | None]:
    given = trial.settings
    workspace = Workspace(given.workspace)
    sections = {"method": trial.method.name, **trial.sections()}
    if trial.student:
        sections["student"] = trial.student
    place = (given.workspace, given.task, given.teacher, given.seed)
    with ExitStack() as stack:
        if run_id is not None:
            stack.enter_context(_mine(workspace, run_id))
            if (workspace.run(run_id) / MANIFEST).exists():
                yield None
                return
        ctx = stack.enter_context(stages.opened(trial.kind, *place, resume=run_id, **sections))
        if run_id is None:
            stack.enter_context(_mine(workspace, ctx.run.run_id))
        no_budget = LabelConfig(prices=given.label.prices, lease_s=given.label.lease_s)
        limits = priced(given.teacher, no_budget, ctx.teacher.info)
        shared = CachedTeacher(ctx.teacher, ctx.store, limits)
        yield replace(
            ctx,
            teacher=shared,
            advice_folder=ctx.run.folder / ADVICE,
            limits=limits,
            live=LiveConfig(in_background=False),  # the same seed gives the same student
        )


@contextmanager
def _mine(workspace: Workspace, run_id: str) -> Iterator[None]:
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
    used, run = trial.sections(), ctx.run
    curve = LearningCurve(ctx, trial.settings.validation, trial.budget)
    student = new_student(ctx.task, ctx.seed)
    curve.maybe(0, student)
    if trial.method.pretrains:
        student = _offline(ctx, used, curve)
    if trial.method.finetunes:
        _online(ctx, used, student, curve, weighed=trial.method.pretrains)
    validation_s = _logged_cpu_s(ctx, STAGE)
    train_s = run.results.get("offline_cpu_s", 0.0) + _logged_cpu_s(ctx, "finetune")
    run.note(train_cpu_s=train_s, validation_cpu_s=validation_s)


def _offline(ctx: Context, used: dict[str, Any], curve: LearningCurve) -> Student:
    """Collect, label and pretrain in rounds."""
    run, collect = ctx.run, used["collect"]
    first = 1 + run.results.get("rounds_done", 0)
    student = _pretrained(ctx) if first > 1 else None
    for number in range(first, collect.rounds + 1):
        began = time.process_time()
        collecting.collect(ctx, collect, student, collect.steps * number // collect.rounds)
        spent = time.process_time() - began
        trajectories = pretraining.trajectories(ctx, run.run_id)
        labelling.label(ctx, trajectories)
        began = time.process_time()
        student = pretraining.pretrain(ctx, used["pretrain"], trajectories)
        spent += time.process_time() - began
        curve.measure(run.results["collect_steps"], student)
        run.flush()
        total = run.results.get("offline_cpu_s", 0.0) + spent
        run.note(rounds_done=number, offline_cpu_s=total)
    assert student is not None
    return student


def _pretrained(ctx: Context) -> Student:
    return stored_student(ctx.workspace, ctx.task, ctx.run.run_id, PRETRAINED)


def _online(
    ctx: Context, used: dict[str, Any], student: Student, curve: LearningCurve, weighed: bool
) -> None:
    """Fine-tune, looking at the student on the way."""
    before = ctx.run.results.get("collect_steps", 0)  # env steps
    if "finetune_steps" not in ctx.run.results:
        since = time.process_time()

        def on_update(step: int) -> None:
            nonlocal since
            ctx.run.log("finetune", step, {"cpu_s": time.process_time() - since})
            curve.maybe(before + step, student)
            since = time.process_time()

        own = ctx.run.run_id if weighed else None
        finetuning.finetune(ctx, used["finetune"], student, own, on_update)
    else:
        student = stored_student(ctx.workspace, ctx.task, ctx.run.run_id)
    curve.measure(before + ctx.run.results["finetune_steps"], student)


def _logged_cpu_s(ctx: Context, stage: str) -> float:
    ctx.run.flush()
    rows = read_metrics(ctx.run.folder).to_pylist()
    return float(sum(r["value"] for r in rows if (r["stage"], r["name"]) == (stage, "cpu_s")))
