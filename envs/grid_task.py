"""Grid tasks: MiniGrid environments with the paper's state text and the option policies."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm4teach.envs.door_key import SIMPLE_DOOR_KEY_ID
from llm4teach.envs.options import DOOR, KEY, GridView, Outcome, decide_plan
from llm4teach.envs.plan import Option, Plan
from llm4teach.envs.task import Observations, State, state_key

MINIGRID_ACTIONS = ("left", "right", "forward", "pickup", "drop", "toggle", "done")
_NAMES = {KEY: "key", DOOR: "door"}


class DoorKeyTask:
    """A Task on a fog-of-war door-and-key environment; colours are not told to the teacher."""

    action_names: tuple[str, ...] = MINIGRID_ACTIONS

    def __init__(self, name: str, env_id: str, family: str) -> None:
        self.name, self.env_id, self.family = name, env_id, family
        env = self.make_env()
        self.observation_shape: tuple[int, ...] = env.observation_space.shape  # type: ignore[assignment]
        self.max_steps: int = env.unwrapped.max_steps  # type: ignore[attr-defined]

    def make_env(self, render_mode: str | None = None) -> gym.Env[Any, int]:
        """Return a new environment; ``env.reset(seed=s)`` determines its whole episode."""
        return gym.make(self.env_id, render_mode=render_mode, disable_env_checker=True)

    def describe(self, observations: Observations) -> list[State]:
        """Return what the teacher is told of each observation, uint8 (N, width, height, 4)."""
        return [self._describe(observation) for observation in observations]

    def _describe(self, observation: NDArray[np.uint8]) -> State:
        view = GridView(observation)
        sees = tuple(name for name in _NAMES.values() if view.cells(name).any())
        return door_key_state(self.family, sees, _NAMES.get(view.carrying, ""))

    def ground(self, observations: Observations, plan: Plan) -> NDArray[np.float32]:
        """Return the plan's policy in each observation; see Task.ground."""
        probs = np.zeros((len(observations), len(self.action_names)), np.float32)
        for row, observation in zip(probs, observations, strict=True):
            decision = decide_plan(GridView(observation), plan)
            if not isinstance(decision, Outcome):
                row[list(decision)] = 1 / len(decision)
        return probs


@lru_cache(maxsize=1024)
def door_key_state(family: str, sees: tuple[str, ...], holds: str) -> State:
    """Text in the paper's form, and the plans admissible by what it says.

    Going to a thing is offered together with what one goes there for, because the teacher, asked
    again in each state and told nothing of distances, would otherwise never get past "go to".
    """
    seen = ", ".join(f"<{name}>" for name in sees) or "<nothing>"
    text = f"Agent sees {seen}, holds <{holds or 'nothing'}>."
    plans = [Plan((Option("explore"),))]
    if "key" in sees and not holds:
        plans.append(Plan((Option("go to", "key"), Option("pick up", "key"))))
    if "door" in sees:
        plans.append(Plan((Option("go to", "door"), Option("open", "door"))))
    if holds:
        plans.append(Plan((Option("drop", holds),)))
    return State(state_key(family, text), text, tuple(plans))


@lru_cache(maxsize=1)
def simple_door_key() -> DoorKeyTask:
    """Return the task SimpleDoorKey."""
    return DoorKeyTask("SimpleDoorKey", SIMPLE_DOOR_KEY_ID, family="SimpleDoorKey")
