"""The tasks by name: the paper's, Habitat's, and any MiniGrid or BabyAI environment by its id."""

from __future__ import annotations

from llm4teach.envs.door_key.task import door_key_task, door_key_task_names
from llm4teach.envs.habitat.task import habitat_task, habitat_task_names
from llm4teach.envs.minigrid.task import close_matches, minigrid_ids, minigrid_task
from llm4teach.envs.task import Task
from llm4teach.errors import TaskError


def task_names(shifted: bool = False) -> list[str]:
    """Names of the paper's grid tasks, with or without their shifted variants."""
    return [name for name in door_key_task_names() if shifted or "-" not in name]


def get_task(name: str) -> Task:
    """Return the task of this name, or on the MiniGrid environment with this id.

    Raises:
        TaskError: there is none, or its environment cannot be made.
    """
    paper_tasks = door_key_task_names()
    if name in paper_tasks:
        return door_key_task(name)
    if name in habitat_task_names():
        return habitat_task(name)
    if name in minigrid_ids():
        return minigrid_task(name)
    similar = close_matches(name, [*paper_tasks, *habitat_task_names(), *minigrid_ids()])
    hint = f"did you mean {' or '.join(similar)}? The tasks" if similar else "the tasks"
    raise TaskError(
        f"unknown task {name!r}; {hint} are {', '.join([*task_names(), *habitat_task_names()])}, "
        "and any MiniGrid or BabyAI "
        "environment by its gymnasium id, such as MiniGrid-DoorKey-8x8-v0"
    )


def get_training_task(name: str) -> Task:
    """Return the task of this name if students may be trained on it.

    Raises:
        TaskError: there is none, or it is a shifted variant, which only tests what was learned.
    """
    task = get_task(name)
    if task.trained_as != task.name:
        raise TaskError(
            f"{name} is a shifted variant, which nothing is trained on; train on "
            f"{task.trained_as}, then: llm4teach evaluate --task {name} --from-run RUN"
        )
    return task
