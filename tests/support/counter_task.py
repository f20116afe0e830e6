"""A small environment and a task made of it; in a module of its own for worker processes."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from llm4teach.envs.custom.gym_task import GymTask


class Counter(gym.Env[Any, int]):
    """Counts up with action 1; at 3 it ends, with a reward of -1 for each step."""

    observation_space = spaces.Discrete(4)
    action_space = spaces.Discrete(2)
    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012  gymnasium's way

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.count = int(self.np_random.integers(2))
        return self.count, {}

    def step(self, action: int) -> Any:
        self.count += action
        return self.count, -1.0, self.count == 3, False, {}

    def render(self) -> Any:
        return np.full((4, 4, 3), self.count, np.uint8)


class Memory:
    """The count, and how many actions were taken in this episode."""

    space = spaces.Dict({"count": spaces.Discrete(4), "actions": spaces.Discrete(100)})

    def reset(self, observation: Any, info: dict[str, Any]) -> Any:
        self.actions = 0
        return {"count": observation, "actions": 0}

    def update(self, observation: Any, action: int, info: dict[str, Any]) -> Any:
        self.actions += 1
        return {"count": observation, "actions": self.actions}


def describe_count(count: int) -> str:
    return f"the count is {count}"


def describe_memory(view: dict[str, int]) -> str:
    return f"the count is {view['count']} after {view['actions']} actions"


def up(view: Any) -> int:
    return 1


def either(view: Any) -> list[float]:
    return [0.5, 0.5]


def never(view: Any) -> None:
    return None


OPTIONS: dict[str, Any] = {"count up": up, "wait or count up": either, "fly": never}


def counter(**changes: Any) -> GymTask:
    arguments = {"describe": describe_count, "options": OPTIONS, "max_steps": 9, "name": "Counter"}
    return GymTask(Counter, **{**arguments, **changes})
