"""The tasks by name: those of this package, of other packages, and of MiniGrid's environments."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

import gymnasium as gym

from llm4teach.envs.crafter.hud import DONE_NAME, MEMORY_NAME, crafter_hud_task
from llm4teach.envs.crafter.task import NAME as CRAFTER
from llm4teach.envs.crafter.task import crafter_task
from llm4teach.envs.custom.loading import (
    TASKS,
    entry_points,
    import_module,
    is_from_elsewhere,
    load_from_elsewhere,
)
from llm4teach.envs.door_key.task import door_key_task, door_key_task_names
from llm4teach.envs.habitat.task import habitat_task, habitat_task_names
from llm4teach.envs.minigrid.task import (
    ENDINGS,
    close_matches,
    env_id_of,
    minigrid_ids,
    minigrid_task,
)
from llm4teach.envs.task import Task
from llm4teach.errors import TaskError

_ENV_ID = re.compile(rf".+-v\d+({'|'.join(ENDINGS)})?")  # gymnasium's, with its version
_registered: dict[str, Task] = {}  # of this process
_OF_FAMILIES = {
    "MiniGrid": "MiniGrid-DoorKey-5x5-v0-parsed",
    "MiniGridRaw": "MiniGrid-Fetch-8x8-N3-v0",
    "NavPick": "HabitatNavPick",
}
_MEMBERS = (
    *("family", "action_names", "observation_shape", "max_steps", "make_env", "make_vector_env"),
    *("make_worker_env", "identify", "state", "ground", "is_success", "return_scale"),
    *("student_shape", "student_observations", "encoder", "example_states", "draw"),
)


def register_task(task: Task) -> str:
    """Let this process find a task by its name, which is returned.

    Raises:
        TaskError: it lacks members of a task, or its name is another task's.
    """
    _check_members(task, getattr(task, "name", "") or "the task")
    if not task.name:
        raise TaskError("the task has no name; give it one: GymTask(…, name='Taxi')")
    if _registered.setdefault(task.name, task) is not task:
        raise TaskError(f"another task is called {task.name} in this process")
    return task.name


def task_names(shifted: bool = False) -> list[str]:
    """Names of the paper's grid tasks, with or without their shifted variants."""
    return [name for name in door_key_task_names() if shifted or "-" not in name]


def listed_task_names() -> list[str]:
    """Names of the tasks to list: this package's, and those that installed packages offer."""
    crafter = (CRAFTER, DONE_NAME, MEMORY_NAME)
    return [*task_names(), *habitat_task_names(), *crafter, *entry_points(TASKS)]


def get_task(name: str) -> Task:
    """Return the task of this name.

    A name is one of this package's, of an entry point in the group ``llm4teach.tasks``, the
    gymnasium id of a MiniGrid environment, that of another package's as ``module:EnvId-v0``, or
    ``module:attribute`` for a task, or a function that makes one, in an importable module.

    Raises:
        TaskError: there is none, it is no task, or its environment cannot be made.
    """
    if name in _registered:
        return _registered[name]
    paper_tasks = door_key_task_names()
    if name in paper_tasks:
        return door_key_task(name)
    if name in habitat_task_names(shifted=True):
        return habitat_task(name)
    if name == CRAFTER:
        return crafter_task()
    if name in (DONE_NAME, MEMORY_NAME):
        return crafter_hud_task(name)
    if env_id_of(name) in minigrid_ids():
        return minigrid_task(name)
    if is_from_elsewhere(TASKS, name):
        return _task_from_elsewhere(name)
    similar = close_matches(name, [*paper_tasks, *listed_task_names(), *minigrid_ids()])
    hint = f"did you mean {' or '.join(similar)}? The tasks" if similar else "the tasks"
    raise TaskError(
        f"unknown task {name!r}; {hint} are {', '.join(listed_task_names())}, "
        "any MiniGrid or BabyAI environment by its gymnasium id, such as "
        "MiniGrid-DoorKey-8x8-v0, and your own as module:attribute"
    )


@cache
def _task_from_elsewhere(name: str) -> Task:
    """Load another package's task; it is called by the name it was asked for."""
    if ":" in name and _ENV_ID.fullmatch(name.partition(":")[2]):
        module, _, env_id = name.partition(":")
        import_module(module)
        if env_id_of(env_id) not in gym.registry:
            raise TaskError(f"{name}: importing {module} registers no environment {env_id!r}")
        return minigrid_task(name)
    found = load_from_elsewhere(TASKS, name)
    is_factory = isinstance(found, type) or not hasattr(found, "identify")
    task = _made(found, name) if is_factory and callable(found) else found
    _check_members(task, name)
    if getattr(task, "trained_as", "") in ("", getattr(task, "name", "")):
        task.trained_as = name
    task.name = name
    loaded: Task = task
    return loaded


def _made(factory: Callable[[], object], name: str) -> Any:
    try:
        return factory()
    except TaskError as error:  # of a member that the message names
        raise TaskError(f"{name} failed: {error}") from error
    except Exception as error:  # code of the user, which may raise anything
        raise TaskError(f"{name} failed: {type(error).__name__}: {error}") from error


def task_of_family(family: str) -> Task:
    """Return a task of this family, or the task of this name.

    Raises:
        TaskError: there is neither.
    """
    return get_task(_OF_FAMILIES.get(family, family))


def _check_members(task: object, name: str) -> None:
    lacking = [member for member in _MEMBERS if not _has(task, member)]
    if lacking:
        raise TaskError(
            f"{name} is no task: {type(task).__name__} has no {', '.join(lacking)}; inherit from "
            "BaseTask (llm4teach.envs.custom.base) or make it with GymTask"
        )


def _has(task: object, member: str) -> bool:
    """Whether it has the member, without computing one that is a property."""
    return hasattr(type(task), member) or member in getattr(task, "__dict__", {})


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
