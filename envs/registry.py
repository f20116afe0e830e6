"""The tasks by name."""

from __future__ import annotations

from llm4teach.envs.grid_task import door_key_task, door_key_task_names
from llm4teach.envs.task import Task, TaskError


def task_names(shifted: bool = False) -> list[str]:
    """Names of our own tasks, with or without their shifted variants."""
    return [name for name in door_key_task_names() if shifted or "-" not in name]


def get_task(name: str) -> Task:
    """Return the task of this name.

    Raises:
        TaskError: there is none.
    """
    if name not in door_key_task_names():
        raise TaskError(f"unknown task {name!r}; the tasks are: {', '.join(task_names())}")
    return door_key_task(name)
