"""Cells of experiments: one method under given settings and one seed, as a run of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from pydantic import BaseModel

from llm4teach.datasets import schema
from llm4teach.datasets.locks import LockedError, locked
from llm4teach.datasets.parts import read_json, read_parquet
from llm4teach.datasets.runs import ADVICE, CONFIG, MANIFEST, METRICS, PROGRESS
from llm4teach.datasets.workspace import DatasetError, Workspace
from llm4teach.flows import online_stages, stages
from llm4teach.flows.config import Settings
from llm4teach.flows.learning_curve import LearningCurve
from llm4teach.flows.stages import Context
from llm4teach.student.network import Student
from llm4teach.teacher_labeling.shared_teacher import SharedTeacher
from llm4teach.teacher_labeling.teacher import TeacherInfo

KIND = "compare"  # of the runs


@dataclass(frozen=True)
class Method:
    """Which stages run, and whether the teacher's KL term is part of the last one."""

    name: str  # recorded with the run
    pretrains: bool = False  # rounds of collect, label, pretrain
    finetunes: bool = False
    guided: bool = False  # by the KL term while fine-tuning; else kl_coef is 0

    @property
    def asks(self) -> bool:
        """Whether a teacher has any part in it."""
        return self.pretrains or self.guided or not self.finetunes


PPO = Method("ppo", finetunes=True)
PRETRAIN = Method("pretrain", pretrains=True)
PPO_KL = Method("ppo-kl", finetunes=True, guided=True)
TEACH = Method("teach", pretrains=True, finetunes=True, guided=True)
TEACHER = Method("teacher")  # trains nothing: its own policy, to compare with


@dataclass(frozen=True)
class Cell:
    """One method, the settings that it varies, and among these the seed."""

    method: Method
    settings: Settings

    @property
    def budget(self) -> int:
        """Env steps of training, offline and online."""
        used = self.sections()
        return sum(used[name].steps for name in ("collect", "finetune") if name in used)

    def sections(self) -> dict[str, Any]:
        """The sections of the settings that this method uses, as it uses them.

        Without the offline stages their env steps go to fine-tuning.
        """
        method, given = self.method, self.settings
        used: dict[str, BaseModel] = {"evaluate": given.evaluate}
        if method.pretrains:
            used |= {"collect": given.collect, "pretrain": given.pretrain}
        if method.finetunes:
            steps = given.finetune.steps + (0 if method.pretrains else given.collect.steps)
            weight = given.finetune.kl_coef if method.guided else 0.0
            used["finetune"] = given.finetune.model_copy(update={"steps": steps, "kl_coef": weight})
        if method.pretrains or method.finetunes:
            used["validation"] = given.validation
        return used

    def identity(self, teacher: TeacherInfo) -> dict[str, Any]:
        """All that the outcome depends on, as plain JSON; equal for cells that are the same."""
        found = {name: section.model_dump(mode="json") for name, section in self.sections().items()}
        if self.method.asks:
            found["teacher"] = [teacher.teacher_id, teacher.prompt_version]
        task, seed = self.settings.task, self.settings.seed
        return {"task": task, "seed": seed, "method": self.method.name, **found}


@dataclass(frozen=True)
class StoredCell:
    """A cell's run in the workspace."""

    run_id: str
    identity: dict[str, Any]
    complete: bool


def stored_cells(workspace: Workspace) -> list[StoredCell]:
    """Every cell of the workspace, oldest first; what a crash left unreadable is left out."""
    found = []
    for run_id in workspace.run_ids():
        folder = workspace.run(run_id)
        try:
            started = read_json(folder / CONFIG)
            if started["kind"] != KIND:
                continue
            identity, results = dict(started["config"]), read_json(folder / PROGRESS)
        except (DatasetError, KeyError):
            continue
        identity["teacher"] = [results.get("teacher_id"), results.get("prompt_version")]
        found.append(StoredCell(run_id, identity, (folder / MANIFEST).exists()))
    return found


def find_cell(cell: Cell, teacher: TeacherInfo, stored: list[StoredCell]) -> StoredCell | None:
    """Return the run of this very cell: a complete one if there is any, else the newest."""
    wanted = cell.identity(teacher)
    same = [run for run in stored if _without_teacher(run.identity, cell.method) == wanted]
    return next((run for run in same if run.complete), same[-1] if same else None)


def _without_teacher(identity: dict[str, Any], method: Method) -> dict[str, Any]:
    if method.asks:
        return identity
    return {name: value for name, value in identity.items() if name != "teacher"}


def run_cell(cell: Cell, run_id: str | None = None) -> str:
    """Train and evaluate; go on with the unfinished run ``run_id``, if given. Return the run's id.

    The outcome is the same whatever else the workspace holds.

    Raises:
        DatasetError: another process is working on that run, or it is damaged.
        TeacherError: a state had to be asked about and the teacher cannot answer.
    """
    torch.set_num_threads(1)  # also where OMP_NUM_THREADS says more: cells run side by side
    with _opened(cell, run_id) as ctx:
        if ctx is None:  # another process has just completed it
            assert run_id is not None
            return run_id
        if cell.method == TEACHER:
            online_stages.evaluate_teacher(ctx, cell.settings.evaluate)
        else:
            _train(ctx, cell)
            own = ctx.run.run_id
            online_stages.evaluate_students(ctx, cell.settings.evaluate, own, ["student"])
        return ctx.run.run_id


@contextmanager
def _opened(cell: Cell, run_id: str | None) -> Iterator[Context | None]:
    given = cell.settings
    workspace = Workspace(given.workspace)
    sections = {"method": cell.method.name, **cell.sections()}
    place = (given.workspace, given.task, given.teacher, given.seed)
    with ExitStack() as stack:
        if run_id is not None:
            stack.enter_context(_mine(workspace, run_id))
            if (workspace.run(run_id) / MANIFEST).exists():
                yield None
                return
        ctx = stack.enter_context(stages.opened(KIND, *place, resume=run_id, **sections))
        if run_id is None:
            stack.enter_context(_mine(workspace, ctx.run.run_id))
        shared = SharedTeacher(ctx.teacher, ctx.store)
        yield replace(ctx, teacher=shared, advice_folder=ctx.run.folder / ADVICE)


@contextmanager
def _mine(workspace: Workspace, run_id: str) -> Iterator[None]:
    """Keep other processes away from a run that is being worked on."""
    path = workspace.root / "runs" / f".{run_id}.lock"
    try:
        with locked(path, wait=False):
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
    except LockedError:
        message = f"another process is working on run {run_id}; wait for it, or stop it"
        raise DatasetError(message) from None


def _train(ctx: Context, cell: Cell) -> None:
    used, run = cell.sections(), ctx.run
    curve = LearningCurve(ctx, cell.settings.validation, cell.budget)
    student = stages.new_student(ctx.task, ctx.seed)
    curve.maybe(0, student)
    if cell.method.pretrains:
        student = _offline(ctx, used, curve)
    if cell.method.finetunes:
        _online(ctx, used, student, curve)
    validation_s = _logged_cpu_s(ctx, "validate")
    train_s = run.results.get("offline_cpu_s", 0.0) + _logged_cpu_s(ctx, "finetune")
    run.note(train_cpu_s=train_s, validation_cpu_s=validation_s)


def _offline(ctx: Context, used: dict[str, Any], curve: LearningCurve) -> Student:
    """Collect, label and pretrain in rounds."""
    run, collect = ctx.run, used["collect"]
    first = 1 + run.results.get("rounds_done", 0)
    student = stages.stored_student(ctx, run.run_id, stages.PRETRAINED) if first > 1 else None
    for number in range(first, collect.rounds + 1):
        began = time.process_time()
        stages.collect(ctx, collect, student, collect.steps * number // collect.rounds)
        spent = time.process_time() - began
        trajectories = stages.trajectories(ctx, run.run_id)
        stages.label(ctx, trajectories)
        began = time.process_time()
        student = stages.pretrain(ctx, used["pretrain"], trajectories)
        spent += time.process_time() - began
        curve.measure(run.results["collect_steps"], student)
        run.flush()
        total = run.results.get("offline_cpu_s", 0.0) + spent
        run.note(rounds_done=number, offline_cpu_s=total)
    assert student is not None
    return student


def _online(ctx: Context, used: dict[str, Any], student: Student, curve: LearningCurve) -> None:
    """Fine-tune, looking at the student on the way."""
    before = ctx.run.results.get("collect_steps", 0)  # env steps
    if "finetune_steps" not in ctx.run.results:
        since = time.process_time()

        def on_update(step: int) -> None:
            nonlocal since
            ctx.run.log("finetune", step, {"cpu_s": time.process_time() - since})
            curve.maybe(before + step, student)
            since = time.process_time()

        online_stages.finetune(ctx, used["finetune"], student, on_update)
    else:
        student = stages.stored_student(ctx, ctx.run.run_id)
    curve.measure(before + ctx.run.results["finetune_steps"], student)


def _logged_cpu_s(ctx: Context, stage: str) -> float:
    ctx.run.flush()
    rows = read_parquet(ctx.run.folder / METRICS, schema.METRICS).to_pylist()
    return float(sum(r["value"] for r in rows if (r["stage"], r["name"]) == (stage, "cpu_s")))
