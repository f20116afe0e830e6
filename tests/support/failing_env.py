"""An environment that breaks, where a worker process can import it."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from llm4teach.envs.minigrid.task import make_minigrid_env


class Fails(gym.Wrapper[Any, Any, Any, Any]):
    """Breaks at its third step."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self.steps = 0

    def step(self, action: Any) -> Any:
        self.steps += 1
        if self.steps == 3:
            raise ArithmeticError("the third step")
        return self.env.step(action)


def make_failing(env_id: str) -> gym.Env[Any, Any]:
    return Fails(make_minigrid_env(env_id))
