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
    CAMERA_SHAPE,
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
        config: habitat-lab's, with Nav & Pick's task, and the depth camera if the shape needs it.
        shape: of an observation, one of `layout`'s.
    """

    def __init__(self, config: Any, shape: tuple[int, ...]) -> None:
        self.env = habitat.Env(config)
        self.observation_shape = shape
        self._measures = self.env.task.measurements.measures

    def reset(self, seed: int, out: Array) -> None:
        self.env.current_episode = nav_pick_episode(seed)
        self._write(self.env.reset(), out)

    def step(self, action: int, out: Array) -> tuple[float, bool, bool]:
        self._write(self.env.step(ACTIONS[action]), out)
        reward = self._measures["nav_pick_reward"].get_metric()
        terminated = not self.env.task.is_episode_active
        return reward, terminated, self.env.episode_over and not terminated

    def _write(self, observations: dict[str, Any], out: Array) -> None:
        if self.observation_shape == CAMERA_SHAPE:
            observations = {**observations, "room": self.env.sim.world.room()}
        encode(observations, out)

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
        shape: of an observation, one of `layout`'s; by default the state alone.
    """

    def __init__(self, shape: tuple[int, ...] = VECTOR_SHAPE) -> None:
        super().__init__(_config(shape != VECTOR_SHAPE), shape)
