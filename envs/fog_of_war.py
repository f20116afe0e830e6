"""A MiniGrid environment whose observation is the map of all that was seen so far."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from minigrid.core.constants import OBJECT_TO_IDX
from minigrid.core.mission import MissionSpace
from minigrid.core.world_object import WorldObj
from minigrid.minigrid_env import MiniGridEnv
from numpy.typing import NDArray

EMPTY = (OBJECT_TO_IDX["empty"], 0, 0)
NO_HEADING = 4  # value of the heading channel in cells where the agent is not


class FogOfWarEnv(MiniGridEnv):
    """Base class: the observation is uint8 (width, height, 4), indexed [x, y].

    Channels: object, colour and state codes of MiniGrid as last seen (0 where never seen), and the
    agent's heading (0 east, 1 south, 2 west, 3 north; 4 elsewhere). What the agent carries stands
    at its own cell. What is visible is MiniGrid's own decision.
    """

    def __init__(self, mission: str, **kwargs: Any) -> None:
        super().__init__(mission_space=MissionSpace(lambda: mission), **kwargs)
        self.mission = mission
        self.observation_space = spaces.Box(0, 255, (self.width, self.height, 4), np.uint8)
        self._memory = np.zeros((self.width, self.height, 3), np.uint8)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Start an episode that the seed determines; forget the map."""
        self._memory = np.zeros((self.width, self.height, 3), np.uint8)
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> Any:
        """Act; an episode that ends by itself is terminated, never truncated as well."""
        obs: NDArray[np.uint8]
        obs, reward, terminated, truncated, info = super().step(action)
        return obs, float(reward), terminated, truncated and not terminated, info

    def gen_obs(self) -> NDArray[np.uint8]:
        """Add what is visible now to the map and return it, uint8 (width, height, 4)."""
        visible: NDArray[np.bool_]
        _, visible = self.gen_obs_grid()  # type: ignore[no-untyped-call]  # bool (view, view), in the agent's own frame
        size = self.agent_view_size
        ahead, right = np.asarray(self.dir_vec), self.right_vec
        corner = np.asarray(self.agent_pos) + ahead * (size - 1) - right * (size // 2)
        for i, j in np.argwhere(visible):
            x, y = corner + right * i - ahead * j
            if 0 <= x < self.width and 0 <= y < self.height:
                self._memory[x, y] = _code(self.grid.get(x, y))

        obs = np.empty((self.width, self.height, 4), np.uint8)
        obs[..., :3] = self._memory
        obs[..., 3] = NO_HEADING
        x, y = self.agent_pos
        obs[x, y, :3] = _code(self.carrying)
        obs[x, y, 3] = self.agent_dir
        return obs


def _code(cell: WorldObj | None) -> tuple[int, int, int]:
    return EMPTY if cell is None else cell.encode()
