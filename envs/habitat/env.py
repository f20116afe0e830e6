"""One Nav & Pick as a gymnasium environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm4teach.envs.habitat.vector import HabitatVectorEnv


class HabitatEnv(gym.Env[NDArray[np.uint8], int]):
    """A vector environment of one; ``env.reset(seed=s)`` determines its whole episode.

    Args:
        settings: see `habitat_client.HabitatWorker`.
        render_mode: ``rgb_array``, or None.

    Raises:
        TaskError: there is no interpreter with habitat-lab, or it cannot make the environment.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 8}  # noqa: RUF012  gymnasium's way

    def __init__(self, settings: Mapping[str, Any], render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self._envs = HabitatVectorEnv(settings, 1)
        self.observation_space = self._envs.single_observation_space
        self.action_space = self._envs.single_action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Start an episode; without a seed one is drawn."""
        super().reset(seed=seed)
        drawn = int(self.np_random.integers(1 << 30)) if seed is None else seed
        observations, info = self._envs.reset(seed=[drawn])
        return observations[0], info

    def step(self, action: int) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        """Act; when the episode ends, the info has habitat's measures by name."""
        observations, rewards, ended, cut, told = self._envs.step(np.array([action]))
        info: dict[str, Any] = {}
        if ended[0] or cut[0]:
            info = {name: float(values[0]) for name, values in told["measures"].items()}
        return observations[0], float(rewards[0]), bool(ended[0]), bool(cut[0]), info

    def render(self) -> NDArray[np.uint8] | None:  # type: ignore[override]
        """The world from above, uint8 (height, width, 3)."""
        return self._envs.render_one() if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Leave the worker to others."""
        self._envs.close()
