"""Any registered MiniGrid or BabyAI environment as a Task, by its gymnasium id."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Sequence
from functools import cache, partial
from threading import Lock
from typing import Any

import gymnasium as gym
import minigrid  # noqa: F401  registers its environments
import numpy as np
from minigrid.envs.babyai.core.roomgrid_level import RoomGridLevel
from numpy.typing import NDArray

from llm4teach.envs.custom.base import BaseTask
from llm4teach.envs.grid.options import OptionStatus, decide_plan
from llm4teach.envs.minigrid.env import MissionMapEnv
from llm4teach.envs.minigrid.missions import parse_mission
from llm4teach.envs.minigrid.scene import Scene
from llm4teach.envs.minigrid.state import FAMILY, Facts, facts_of, minigrid_state
from llm4teach.envs.task import Mixture, Observations, State, normalize_rows
from llm4teach.envs.vector.workers import WorkerVectorEnv
from llm4teach.errors import TaskError

_ACTIONS = ("left", "right", "forward", "pickup", "drop", "toggle", "done")
_SCENES_KEPT = 1024
_PREFIXES = ("MiniGrid-", "BabyAI-")
_EXAMPLES = (
    Facts("go to <goal>", True, (), ""),
    Facts("pick up <target object>", True, ("locked door", "matching key"), ""),
    Facts("pick up <target object>", True, ("locked door",), "matching key"),
)


class MiniGridTask(BaseTask):
    """A Task on an environment that was not made for this project.

    A state's id is the position of its facts in a table that this object keeps.
    """

    family = FAMILY

    def __init__(self, env_id: str) -> None:
        self.name = self.trained_as = env_id
        env = self.make_env()
        assert env.observation_space.shape is not None
        self.observation_shape: tuple[int, ...] = env.observation_space.shape
        self.action_names: tuple[str, ...] = _ACTIONS[: env.action_space.n]  # type: ignore[attr-defined]
        self.max_steps = _longest_episode(env)
        self._facts: list[Facts] = []
        self._ids: dict[Facts, int] = {}
        self._scenes: dict[bytes, Scene] = {}
        self._lock = Lock()

    def make_env(self, render_mode: str | None = None) -> gym.Env[Any, int]:
        return make_minigrid_env(self.name, render_mode)

    def make_worker_env(self, n_envs: int, workers: int) -> WorkerVectorEnv:
        """Return many environments, stepped by worker processes; see `WorkerVectorEnv`."""
        return WorkerVectorEnv(partial(make_minigrid_env, self.name), n_envs, workers)

    def identify(self, observations: Observations) -> NDArray[np.int64]:
        """Return each observation's state, int64 (N,), as its position in this task's table."""
        return np.array([self._identify(self._scene(o)) for o in observations], np.int64)

    def _scene(self, observation: NDArray[np.uint8]) -> Scene:
        """Return the parsed observation; `identify` and `ground` share it."""
        key = observation.tobytes()
        scene = self._scenes.get(key)
        if scene is None:
            if len(self._scenes) >= _SCENES_KEPT:
                self._scenes.clear()
            scene = self._scenes[key] = Scene(observation.copy())
        return scene

    def _identify(self, scene: Scene) -> int:
        facts = facts_of(scene)
        with self._lock:  # shards may run in threads
            if facts not in self._ids:
                self._ids[facts] = len(self._facts)
                self._facts.append(facts)
            return self._ids[facts]

    def state(self, state_id: int) -> State:
        return minigrid_state(self._facts[state_id])

    def example_states(self) -> Sequence[State]:
        """Return three states of the family, from nothing seen to nearly done."""
        return [minigrid_state(facts) for facts in _EXAMPLES]

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
                if not isinstance(decision, OptionStatus):
                    actions = [a for a in decision if a < len(row)]
                    row[actions] += share / len(decision)
        return normalize_rows(probs)


def make_minigrid_env(env_id: str, render_mode: str | None = None) -> MissionMapEnv:
    """Return a new environment with this gymnasium id, observed as a map."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is a newer version; papers use the older
        env = gym.make(env_id, render_mode=render_mode, disable_env_checker=True)
    return MissionMapEnv(env)


def _longest_episode(env: gym.Env[Any, int]) -> int:
    """Time limit in steps; of BabyAI's levels, whose missions set it, that of the longest.

    A level allows ``nav`` steps for each thing to go to: a mission has at most four clauses, and
    putting a thing next to another counts twice.
    """
    level: Any = env.unwrapped
    env.reset(seed=0)
    if not isinstance(level, RoomGridLevel) or level.fixed_max_steps:
        return int(level.max_steps)
    nav = level.room_size**2 * level.num_rows * level.num_cols
    navs = 1
    for seed in range(12):
        env.reset(seed=seed)
        mission = parse_mission(level.mission)
        clauses = [clause for step in mission.steps for clause in step]
        several = 4 if len(clauses) > 1 else 1
        navs = max(navs, level.max_steps // nav, several)
        if several > 1 and any(clause.verb == "put" for clause in clauses):
            return int(2 * several * nav)
    return int(navs * nav)


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


def close_matches(name: str, names: Sequence[str]) -> list[str]:
    """The names most like this one, however it is capitalised."""
    by_lower = {one.lower(): one for one in names}
    return [by_lower[m] for m in difflib.get_close_matches(name.lower(), by_lower, n=4, cutoff=0.5)]
