"""A task whose observations are texts; in a module of its own for worker processes."""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from llm4teach.envs.custom.gym_task import GymTask

COLORS = ("red", "green", "blue")
SIZE = 60  # characters at most


class Signs(gym.Env[Any, int]):
    """A text names two doors; the one to take is the second. Taking it ends the episode."""

    observation_space = spaces.Text(SIZE)
    action_space = spaces.Discrete(3)
    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012  gymnasium's way

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        before, self.right = self.np_random.choice(3, 2, replace=False)
        text = f"You came by the {COLORS[before]} door. Take the {COLORS[self.right]} one!"
        self.text = text.upper() if self.np_random.integers(2) else text
        return self.text, {}

    def step(self, action: int) -> Any:
        done = action == self.right
        return self.text, float(done), bool(done), False, {}

    def render(self) -> Any:
        return np.zeros((4, 4, 3), np.uint8)


class View:
    """A teacher's view that is a text, too."""

    space = spaces.Text(SIZE)

    def reset(self, observation: str, info: dict[str, Any]) -> str:
        return observation

    def update(self, observation: str, action: int, info: dict[str, Any]) -> str:
        return observation


def take(door: int, text: str) -> int:
    return door


def signs(**changes: Any) -> GymTask:
    options = {f"take {color}": partial(take, i) for i, color in enumerate(COLORS)}
    arguments = {"describe": str, "options": options, "max_steps": 5, "name": "Signs"}
    return GymTask(Signs, **{**arguments, **changes})
