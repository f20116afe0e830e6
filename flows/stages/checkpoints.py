"""Students in the workspace: made, stored with a run, found again."""

from __future__ import annotations

import copy

import torch

from llm4teach.datasets.runs import CHECKPOINT, MANIFEST, Run
from llm4teach.datasets.workspace import Workspace
from llm4teach.envs.task import Task
from llm4teach.errors import DatasetError
from llm4teach.student.config import StudentConfig
from llm4teach.student.model.checkpoint import load_facts, load_student, save_student
from llm4teach.student.model.network import Student

PRETRAINED, RESUME = "pretrained.safetensors", "resume.safetensors"


def newest_student(workspace: Workspace, task: Task) -> str:
    """Return the newest complete run that has a student for this task, controls aside.

    Raises:
        DatasetError: there is none.
    """
    for run_id in reversed(workspace.run_ids(controls=False)):
        folder = workspace.run(run_id)
        has_student = (folder / MANIFEST).exists() and (folder / CHECKPOINT).exists()
        if has_student and load_facts(folder / CHECKPOINT).get("task") == task.trained_as:
            return run_id
    raise DatasetError(
        f"no student for {task.trained_as} in {workspace.root}; "
        "make one first (llm4teach teach, or llm4teach pretrain)"
    )


def new_student(task: Task, config: StudentConfig, seed: int) -> Student:
    """Return a student with fresh weights, on a GPU if there is one.

    Raises:
        TaskError: no encoder reads the task's observations, or its own one fails.
    """
    torch.manual_seed(seed)
    return _fresh(task, config).to(_device())


def check_encoder(task: Task, config: StudentConfig) -> None:
    """Make a student and drop it: before hours of collection, and without changing what is random.

    Raises:
        TaskError: as `new_student`.
    """
    with torch.random.fork_rng(devices=[]):
        _fresh(task, config)


def _fresh(task: Task, config: StudentConfig) -> Student:
    return Student(
        task.student_shape,
        len(task.action_names),
        config.encoder,
        record_shape=task.observation_shape,
        reads=task.encoder,
    )


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def stored_student(
    workspace: Workspace, task: Task, run_id: str, name: str = CHECKPOINT
) -> Student:
    """Load a run's student for this task; a shifted task is played by the students of its own.

    Raises:
        DatasetError: there is none, or it was trained for another task.
    """
    student, facts = load_student(workspace.existing_run(run_id) / name)
    if facts["task"] != task.trained_as:
        raise DatasetError(f"run {run_id} trained on {facts['task']}, not on {task.trained_as}")
    return student.to(_device())


def store_student(run: Run, task: Task, student: Student, after: str, seed: int) -> None:
    """Write the student as the run's newest; the pretrained one is kept beside for comparison."""
    facts = {"task": task.name, "run_id": run.run_id, "after": after, "seed": seed}
    plain = copy.deepcopy(student).cpu()
    save_student(run.folder / CHECKPOINT, plain, facts)
    if after == "pretrain":
        save_student(run.folder / PRETRAINED, plain, facts)
