"""Any registered MiniGrid or BabyAI environment as a Task, by its gymnasium id."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any

import gymnasium as gym
import minigrid  # noqa: F401  registers its environments
import numpy as np
from numpy.typing import NDArray

from llm4teach.envs.minigrid_env import MissionMapEnv
from llm4teach.envs.minigrid_scene import Scene
from llm4teach.envs.minigrid_state import FAMILY, Facts, facts_of, minigrid_state
from llm4teach.envs.options import Outcome, decide_plan
from llm4teach.envs.task import Mixture, Observations, State, TaskError

_ACTIONS = ("left", "right", "forward", "pickup", "drop", "toggle", "done")
_SCENES_KEPT = 1024
_PREFIXES = ("MiniGrid-", "BabyAI-")


class MiniGridTask:
    """A Task on an environment that knows nothing of us.

    A state's id is the position of its facts in a table that this object keeps.
    """

    family = FAMILY

    def __init__(self, env_id: str) -> None:
        self.name = self.trained_as = env_id
        env = self.make_env()
        env.reset(seed=0)
        assert env.observation_space.shape is not None
        self.observation_shape: tuple[int, ...] = env.observation_space.shape
        self.action_names: tuple[str, ...] = _ACTIONS[: env.action_space.n]  # type: ignore[attr-defined]
        self.max_steps: int = env.unwrapped.max_steps  # type: ignore[attr-defined]
        self._facts: list[Facts] = []
        self._ids: dict[Facts, int] = {}
        self._scenes: dict[bytes, Scene] = {}

    def make_env(self, render_mode: str | None = None) -> gym.Env[Any, int]:
        """Return a new environment; ``env.reset(seed=s)`` determines its whole episode."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that there is a newer version; papers use the older
            env = gym.make(self.name, render_mode=render_mode, disable_env_checker=True)
        return MissionMapEnv(env)

    def identify(self, observations: Observations) -> NDArray[np.int64]:
        """Return each observation's state, int64 (N,), as its position in this task's table."""
        return np.array([self._identify(self._scene(o)) for o in observations], np.int64)

    def _scene(self, observation: NDArray[np.uint8]) -> Scene:
        """What was worked out of an observation serves to ground the advice on it as well."""
        key = observation.tobytes()
        scene = self._scenes.get(key)
        if scene is None:
            if len(self._scenes) >= _SCENES_KEPT:
                self._scenes.clear()
            scene = self._scenes[key] = Scene(observation.copy())
        return scene

    def _identify(self, scene: Scene) -> int:
        facts = facts_of(scene)
        if facts not in self._ids:
            self._ids[facts] = len(self._facts)
            self._facts.append(facts)
        return self._ids[facts]

    def state(self, state_id: int) -> State:
        """Return what the teacher is told."""
        return minigrid_state(self._facts[state_id])

    def ground(
        self,
        observations: Observations,
        mixtures: Sequence[Mixture],
        which: NDArray[np.integer[Any]],
    ) -> NDArray[np.float32]:
        """Return the grounded advice, float32 (N, n_actions); see Task.ground."""
        probs = np.zeros((len(observations), len(self.action_names)), np.float32)
        for row, observation, i in zip(probs, observations, which, strict=True):
            scene = self._scene(observation)
            for plan, share in mixtures[i]:
                decision = decide_plan(scene, plan)
                if not isinstance(decision, Outcome):
                    actions = [a for a in decision if a < len(row)]
                    row[actions] += share / len(decision)
        total = probs.sum(axis=1, keepdims=True)  # (N, 1)
        np.divide(probs, total, out=probs, where=total > 0)
        return probs


def minigrid_ids() -> list[str]:
    """The registered environments that can be tasks, sorted."""
    return sorted(name for name in gym.registry if name.startswith(_PREFIXES))


@cache
def minigrid_task(env_id: str) -> MiniGridTask:
    """Return the task on this environment.

    Raises:
        TaskError: it cannot be made, or its mission is not understood.
    """
    try:
        return MiniGridTask(env_id)
    except gym.error.DependencyNotInstalled as error:
        raise TaskError(f"the environment {env_id} cannot be made: {error}") from error


def close_matches(name: str, known: Sequence[str]) -> list[str]:
    """The names most like this one, however it is capitalised."""
    by_lower = {one.lower(): one for one in known}
    return [by_lower[m] for m in difflib.get_close_matches(name.lower(), by_lower, n=4, cutoff=0.5)]
