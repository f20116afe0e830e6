"""`check_task` finds each way of breaking a task's contract, and names the member."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from counter_task import Counter, counter

from llm4teach.envs.custom.check import check_task
from llm4teach.envs.custom.gym_task import GymTask
from llm4teach.envs.registry import get_task
from llm4teach.envs.task import State

UNSEEDED = np.random.default_rng()


class Unseeded(Counter):
    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.count = int(UNSEEDED.integers(3))
        return self.count, {}


class Remembers(Counter):
    episodes = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.count = min(self.episodes, 2)
        self.episodes += 1
        return self.count, {}


class Endless(Counter):
    spec = None

    def step(self, action: int) -> Any:
        return self.count, 0.0, False, False, {}


def of(env: type[gym.Env[Any, Any]]) -> GymTask:
    task = counter()
    task._make = GymTask(  # type: ignore[assignment]
        env, lambda count: str(count), {"count up": lambda view: 1}, max_steps=9
    )._make
    return task


def with_member(name: str, value: Any) -> GymTask:
    task = counter()
    if name in vars(task):
        setattr(task, name, value)
    else:
        task.__class__ = type("Changed", (GymTask,), {name: value})
    return task


def ids_from(start: int) -> Callable[..., Any]:
    return lambda self, observations: np.arange(start, start + len(observations))


BROKEN: dict[str, tuple[GymTask, str]] = {
    "make_env": (of(Unseeded), "does not determine the episode"),
    "make_env ": (of(Remembers), "depends on the one before it"),
    "action_names": (with_member("action_names", ("up", "up")), "distinct names"),
    "name": (with_member("name", "a/b"), "folder's name"),
    "identify": (with_member("identify", ids_from(0)), "another id than in a batch"),
    "identify ": (with_member("identify", ids_from(-1)), "must lie in 0"),
    "state": (with_member("state", lambda self, i: State("k", " ", ())), "no text or no key"),
    "is_success": (with_member("is_success", lambda self, ends, returns: returns), "bool"),
    "draw": (with_member("draw", lambda self, frame, seen: frame[..., 0]), "height, width, 3"),
    "example_states": (with_member("example_states", lambda self: []), "at least one"),
    "student_observations": (
        with_member("student_observations", lambda self, seen: seen[:, 4:8]),
        "first bytes",
    ),
    "ground": (
        with_member("ground", lambda self, seen, mixtures, which: np.ones((len(seen), 2), "f4")),
        "sum to 1, or to 0",
    ),
    "make_worker_env": (
        with_member("make_worker_env", lambda self, n, workers: {}["no workers"]),
        "worker process",
    ),
}


@pytest.mark.parametrize("member", BROKEN)
def test_a_broken_member_is_named(member: str) -> None:
    task, text = BROKEN[member]
    problems = [(p.member, p.text) for p in check_task(task)]
    assert any(member.strip() == name and text in what for name, what in problems), problems


def test_an_episode_that_outlives_its_limit_is_found() -> None:
    task = counter()
    task._make = lambda render_mode=None: GymTask(  # type: ignore[assignment, method-assign, misc]
        Endless, lambda count: str(count), {"count up": lambda view: 1}, max_steps=50
    )._make(render_mode)
    assert any("did not end within max_steps" in problem.text for problem in check_task(task))


@pytest.mark.extended
@pytest.mark.parametrize("name", ["SimpleDoorKey", "DivergedDoorKey", "MiniGrid-DoorKey-5x5-v0"])
def test_the_own_tasks_keep_the_contract(name: str) -> None:
    assert check_task(get_task(name)) == []
