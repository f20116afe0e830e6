"""The pipeline's stages as plain functions; the Prefect flows only wrap them."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel

from llm4teach.datasets.advice import AdviceStore
from llm4teach.datasets.parts import part_paths
from llm4teach.datasets.runs import CHECKPOINT, MANIFEST, Run, read_config
from llm4teach.datasets.trajectories import Trajectories, distinct_states, read_steps
from llm4teach.datasets.workspace import DatasetError, Workspace, new_run_id
from llm4teach.envs.registry import get_task
from llm4teach.envs.seeds import training_seeds
from llm4teach.envs.task import Task, describe
from llm4teach.flows.progress import stage
from llm4teach.student.checkpoint import load_student, save_student
from llm4teach.student.collect import Collector
from llm4teach.student.config import CollectConfig, EvaluateConfig, FinetuneConfig, PretrainConfig
from llm4teach.student.distill import Steps, distil
from llm4teach.student.network import Student
from llm4teach.student.policies import Policy, option_policy, student_policy, teacher_policy
from llm4teach.teacher_labeling.backends import make_teacher
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.label_batch import label_states
from llm4teach.teacher_labeling.live import LiveTeacher
from llm4teach.teacher_labeling.teacher import Teacher

PRETRAINED, RESUME = "pretrained.safetensors", "resume.safetensors"
_SECTIONS: dict[str, type[BaseModel]] = {
    "teacher": TeacherConfig,
    "collect": CollectConfig,
    "pretrain": PretrainConfig,
    "finetune": FinetuneConfig,
    "evaluate": EvaluateConfig,
}


@dataclass(frozen=True)
class Context:
    """What every stage works with."""

    workspace: Workspace
    task: Task
    teacher: Teacher
    run: Run
    seed: int

    @property
    def store(self) -> AdviceStore:
        """This teacher's advice on this task."""
        info = self.teacher.info
        folder = self.workspace.advice(self.task.family, info.slug)
        return AdviceStore(folder, info.teacher_id, info.prompt_version)

    def live_teacher(self, ask: bool) -> LiveTeacher:
        """Stored advice; with ``ask``, states that have none are asked about."""
        return LiveTeacher(self.task, self.store, self.teacher if ask else None)


@contextmanager
def opened(
    kind: str,
    workspace: str,
    task: str,
    teacher: TeacherConfig,
    seed: int,
    *,
    join: str | None = None,
    resume: str | None = None,
    **config: Any,
) -> Iterator[Context]:
    """Open a new run and finish it on leaving; or resume one; or join one that another finishes.

    Raises:
        TaskError, DatasetError, TeacherError: a name or path is wrong, before anything is written.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        # So small a network gains little from a second thread, and loses much where another
        # program wants the core: docs/LOG.md has the figures.
        torch.set_num_threads(1)
    place = Workspace(workspace)
    made = get_task(task)
    advisor = make_teacher(teacher, made.family)
    existing = join or resume
    if existing:
        place.existing_run(existing)
    run = Run(place, existing or new_run_id(kind), kind)
    if not existing:
        settings = {"task": task, "teacher": teacher, "seed": seed, **config}
        run.start({name: _plain(value) for name, value in settings.items()})
        run.note(task=task, advice_family=made.family, **_identity(advisor))
    try:
        yield Context(place, made, advisor, run, seed)
        run.flush()
        if not join:
            run.finish()
    except BaseException:
        if not existing:
            run.discard_if_empty()
        raise
    finally:
        advisor.close()


def resumed_settings(workspace: str, run_id: str) -> dict[str, Any]:
    """Return the settings that an unfinished run was started with, as the flows take them.

    Raises:
        DatasetError: there is no such run, or it is complete.
    """
    folder = Workspace(workspace).existing_run(run_id)
    if (folder / MANIFEST).exists():
        raise DatasetError(f"run {run_id} is complete; there is nothing to resume")
    config = read_config(folder)
    return {name: _SECTIONS[name](**v) if name in _SECTIONS else v for name, v in config.items()}


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value


def _identity(teacher: Teacher) -> dict[str, str]:
    info = teacher.info
    return {
        "teacher_id": info.teacher_id,
        "prompt_version": info.prompt_version,
        "teacher_slug": info.slug,
    }


def collect(ctx: Context, config: CollectConfig, student: Student | None, steps: int) -> None:
    """Bring the run's trajectories up to ``steps`` env steps.

    The first steps follow a simple behaviour; once there is a student, teacher and student lead.
    What the run has already stored counts, so that a collection can be taken up again.
    """
    folder = ctx.workspace.trajectories(ctx.task.name, ctx.run.run_id)
    stored = read_steps(folder, ctx.task.observation_shape) if part_paths(folder) else None
    have = len(stored) if stored else 0
    first = int(stored.column("episode_id").max()) + 1 if stored else 0
    collector = Collector(
        ctx.task,
        folder,
        ctx.run.run_id,
        n_envs=config.n_envs,
        noise=config.noise,
        seeds=training_seeds(ctx.seed, "collect", start=first),
        rng=np.random.default_rng((ctx.seed, have)),
        first_episode=first,
    )
    behaviours: dict[str, tuple[Policy, float]] = {"option": (option_policy(ctx.task), 1.0)}
    if student is not None:
        behaviours = {
            "teacher": (teacher_policy(ctx.live_teacher(ask=False)), config.teacher_share),
            "student": (student_policy(student), 1 - config.teacher_share),
        }
    with stage("collect", max(0, steps - have), "env steps") as shown:
        report = collector.collect(max(0, steps - have), behaviours, shown.advance)
        leaders = " and ".join(behaviours)
        ended = report.episodes_ended
        solved = f"{report.successes} of {ended} episodes solved" if ended else "no episode ended"
        shown.summary = f"{report.steps:,} env steps led by {leaders}, {solved}"
    rate = report.successes / max(1, report.episodes_ended)
    ctx.run.log(
        "collect", have + report.steps, {"success_rate": rate, "episodes": report.episodes_ended}
    )
    ctx.run.note(collect_steps=have + report.steps)


def label(ctx: Context, trajectories: Trajectories) -> None:
    """Ask the teacher about every distinct state of the trajectories that has no advice yet."""
    states = describe(ctx.task, distinct_states(trajectories))
    with stage("label", len(states), "states") as shown:
        report = label_states(ctx.teacher, ctx.store, states, shown.at)
        tokens = report.prompt_tokens + report.completion_tokens
        asked = f"{report.asked} questions, {tokens:,} tokens" if report.asked else "nothing to ask"
        unclear = f", {report.invalid} without valid advice" if report.invalid else ""
        shown.summary = f"{report.distinct_states} distinct states, {report.known} known: {asked}"
        shown.summary += unclear
    ctx.run.note(distinct_states=report.distinct_states)
    ctx.run.count(
        questions=report.asked,
        known_states=report.known,
        prompt_tokens=report.prompt_tokens,
        completion_tokens=report.completion_tokens,
        teacher_s=report.seconds,
    )


def pretrain(ctx: Context, config: PretrainConfig, trajectories: Trajectories) -> Student:
    """Distil the stored advice on the trajectories into a new student, and store it."""
    t = trajectories.column("t")
    steps = Steps(
        observations=trajectories.observations,
        teacher_probs=ctx.live_teacher(ask=False).teacher_probs(trajectories.observations),
        rewards=trajectories.column("reward"),
        terminated=trajectories.column("terminated"),
        segment_ends=np.append(t[1:] != t[:-1] + 1, True),
    )
    student = new_student(ctx.task, ctx.seed)
    with stage("pretrain", config.epochs, "epochs") as shown:

        def on_epoch(step: int, values: dict[str, float]) -> None:
            shown.advance()
            ctx.run.log("pretrain", step, values)
            shown.summary = (
                f"{len(trajectories):,} steps, {config.epochs} epochs: "
                f"loss {values['loss']:.3f} nats, agreement {values['agreement']:.1%}"
            )

        try:
            distil(student, steps, config, ctx.seed, on_epoch)
        except ValueError as error:
            raise DatasetError(f"cannot pretrain on {ctx.task.name}: {error}") from None
    store_student(ctx, student, "pretrain")
    return student


def trajectories(ctx: Context, run_id: str | None) -> Trajectories:
    """Read one run's trajectories of the task, or all of them.

    Raises:
        DatasetError: there are none, or a part is damaged.
    """
    folder = ctx.workspace.trajectories(ctx.task.name, run_id)
    return read_steps(folder, ctx.task.observation_shape)


def newest_student(ctx: Context) -> str:
    """Return the newest complete run of this task that has a student.

    Raises:
        DatasetError: there is none.
    """
    for run_id in reversed(ctx.workspace.run_ids()):
        folder = ctx.workspace.run(run_id)
        if (folder / MANIFEST).exists() and (folder / CHECKPOINT).exists():
            _, facts = load_student(folder / CHECKPOINT)
            if facts["task"] == ctx.task.name:
                return run_id
    raise DatasetError(
        f"no student for {ctx.task.name} in {ctx.workspace.root}; "
        "make one first (llm4teach teach, or llm4teach pretrain)"
    )


def new_student(task: Task, seed: int) -> Student:
    """Return a student with fresh weights, on a GPU if there is one."""
    torch.manual_seed(seed)
    student = Student(task.observation_shape, len(task.action_names))
    return student.to(_device())


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def stored_student(ctx: Context, run_id: str, name: str = CHECKPOINT) -> Student:
    """Load a run's student for this task.

    Raises:
        DatasetError: there is none, or it was trained for another task.
    """
    student, facts = load_student(ctx.workspace.existing_run(run_id) / name)
    if facts["task"] != ctx.task.name:
        raise DatasetError(f"run {run_id} trained on {facts['task']}, not on {ctx.task.name}")
    return student.to(_device())


def store_student(ctx: Context, student: Student, after: str) -> None:
    """Write the student as the run's newest; the pretrained one is kept beside for comparison."""
    facts = {"task": ctx.task.name, "run_id": ctx.run.run_id, "after": after, "seed": ctx.seed}
    plain = copy.deepcopy(student).cpu()
    save_student(ctx.run.folder / CHECKPOINT, plain, facts)
    if after == "pretrain":
        save_student(ctx.run.folder / PRETRAINED, plain, facts)
