"""One Nav & Pick: `habitat.Env` with observations as bytes, on the kinematic simulator."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import habitat
from habitat.core.logging import logger

from llm4teach.envs.habitat.worker.kinematic import nav_pick, simulator  # noqa: F401  they register
from llm4teach.envs.habitat.worker.kinematic.configs import kinematic_config, nav_pick_episode
from llm4teach.envs.habitat.worker.layout import (
    ACTIONS,
    DEPTH_SHAPE,
    MEASURES,
    VECTOR_SHAPE,
    Array,
    encode,
)

logger.setLevel("WARNING")

_config = lru_cache(kinematic_config)  # composing one takes much longer than building from it


class NavPickEnv:
    """Episodes by seed, actions by number.

    Args:
        config: habitat-lab's, with Nav & Pick's task.
        depth: observe a depth image above the state; the configuration has the camera.
    """

    def __init__(self, config: Any, depth: bool) -> None:
        self.env = habitat.Env(config)
        self.observation_shape: tuple[int, ...] = DEPTH_SHAPE if depth else VECTOR_SHAPE
        self._measures = self.env.task.measurements.measures

    def reset(self, seed: int, out: Array) -> None:
        self.env.current_episode = nav_pick_episode(seed)
        encode(self.env.reset(), out)

    def step(self, action: int, out: Array) -> tuple[float, bool, bool]:
        encode(self.env.step(ACTIONS[action]), out)
        reward = self._measures["nav_pick_reward"].get_metric()
        terminated = not self.env.task.is_episode_active
        return reward, terminated, self.env.episode_over and not terminated

    def measures(self) -> list[float]:
        values = {name: self._measures[name].get_metric() for name in MEASURES}
        values["collisions"] = values["collisions"]["count"]
        return [float(value) for value in values.values()]

    def render(self) -> Array:
        return self.env.render("rgb")

    def close(self) -> None:
        self.env.close()


class KinematicEnv(NavPickEnv):
    """On the kinematic simulator.

    Args:
        depth: observe a depth image above the state.
    """

    def __init__(self, depth: bool = False) -> None:
        super().__init__(_config(depth), depth)
