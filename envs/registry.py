"""The tasks by name."""

from __future__ import annotations

from llm4teach.envs.grid_task import simple_door_key
from llm4teach.envs.task import Task, TaskError

_TASKS = {"SimpleDoorKey": simple_door_key}


def task_names() -> list[str]:
    """Names that `get_task` knows, sorted."""
    return sorted(_TASKS)


def get_task(name: str) -> Task:
    """Return the task of this name.

    Raises:
        TaskError: there is none.
    """
    if name not in _TASKS:
        raise TaskError(f"unknown task {name!r}; the tasks are: {', '.join(task_names())}")
    return _TASKS[name]()
