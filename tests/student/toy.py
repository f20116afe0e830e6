"""A toy task for the learner's tests: the map shows which action is right, at every step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm4teach.envs.custom.base import BaseTask
from llm4teach.envs.plan import Option, Plan
from llm4teach.envs.task import Mixture, Observations, State, state_key

SHAPE = (5, 5, 4)


class RightActionEnv(gym.Env[Any, int]):
    """The object code beside the agent is the rewarded action; an episode has eight steps."""

    observation_space = gym.spaces.Box(0, 255, SHAPE, np.uint8)
    action_space = gym.spaces.Discrete(3)

    def _look(self) -> NDArray[np.uint8]:
        self.right = int(self.np_random.integers(3))
        obs = np.full(SHAPE, 4, np.uint8)
        obs[..., :3] = 0
        obs[2, 2, 3] = 0
        obs[3, 2, 0] = self.right + 1
        return obs

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.t = 0
        return self._look(), {}

    def step(self, action: int) -> Any:
        reward = float(action == self.right)
        self.t += 1
        return self._look(), reward, self.t == 8, False, {}


class ToyTask(BaseTask):
    """The smallest thing that is a Task."""

    name = family = trained_as = "Toy"
    action_names = ("a", "b", "c")
    observation_shape = SHAPE
    max_steps = 8

    def make_env(self, render_mode: str | None = None) -> gym.Env[Any, int]:
        return RightActionEnv()

    def identify(self, observations: Observations) -> NDArray[np.int64]:
        return observations[:, 3, 2, 0].astype(np.int64)

    def state(self, state_id: int) -> State:
        text = f"right {state_id}"
        plans = tuple(Plan((Option("go to", name),)) for name in self.action_names)
        return State(state_key("Toy", text), text, plans)

    def ground(
        self,
        observations: Observations,
        mixtures: Sequence[Mixture],
        which: NDArray[np.integer[Any]],
    ) -> NDArray[np.float32]:
        probs = np.zeros((len(observations), 3), np.float32)
        for row, i in zip(probs, which, strict=True):
            for plan, share in mixtures[i]:
                row[self.action_names.index(plan.options[0].target)] += share
        return probs


class RightTeacher:
    """Grounded advice that is right, except for a share of wrong states."""

    def __init__(self, wrong: int | None = None) -> None:
        self.wrong, self.asked = wrong, 0

    def teacher_probs(self, observations: Observations) -> NDArray[np.float32]:
        self.asked += len(observations)
        right = observations[:, 3, 2, 0].astype(int) - 1
        advised = np.where(right == self.wrong, (right + 1) % 3, right)
        return np.eye(3, dtype=np.float32)[advised]
