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
_EMPTY_AND_CLEAR = (*EMPTY, True)
FOG = np.array([96, 104, 122], np.float32)  # RGB
FOG_SHARE = 0.72  # what lies under the fog stays just visible: the viewer may know it


class FogOfWarEnv(MiniGridEnv):
    """Base class: the observation is uint8 (width, height, 4), indexed [x, y].

    Channels: object, color and state codes of MiniGrid as last seen (0 where never seen), and the
    agent's heading (0 east, 1 south, 2 west, 3 north; 4 elsewhere). What the agent carries stands
    at its own cell. What is visible is MiniGrid's own decision.
    """

    def __init__(self, mission: str, **kwargs: Any) -> None:
        super().__init__(mission_space=MissionSpace(lambda: mission), **kwargs)
        self.mission = mission
        self.observation_space = spaces.Box(0, 255, (self.width, self.height, 4), np.uint8)
        self._fog = FogOfWar(self)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Start an episode that the seed determines; forget the map."""
        self._fog.forget()
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> Any:
        """Act; an episode that the environment ends is terminated, never truncated as well."""
        obs: NDArray[np.uint8]
        obs, reward, terminated, truncated, info = super().step(action)
        return obs, float(reward), terminated, truncated and not terminated, info

    def gen_obs(self) -> NDArray[np.uint8]:
        """Add what is visible now to the map and return it, uint8 (width, height, 4)."""
        return self._fog.observe()


class FogOfWar:
    """The map of what the agent of a MiniGrid environment has seen, cell by cell.

    Equal to MiniGrid's own ``gen_obs_grid``, whose slicing, turning and encoding of the view took
    three quarters of a step: here only the cells in view are encoded, and the rest is compiled.
    """

    def __init__(self, env: MiniGridEnv) -> None:
        from llm4teach.envs.kernels.sight_kernel import look  # imports numba

        self._env, self._look = env, look
        self.forget()

    def forget(self) -> None:
        """Have seen nothing."""
        self._seen = np.zeros((self._env.width, self._env.height, 4), np.uint8)
        self._seen[..., 3] = NO_HEADING

    def observe(self) -> NDArray[np.uint8]:
        """Add what is visible now to the map and return it, uint8 (width, height, 4)."""
        env, size, heading = self._env, self._env.agent_view_size, int(self._env.agent_dir)
        width, grid = env.grid.width, env.grid.grid
        x, y = int(env.agent_pos[0]), int(env.agent_pos[1])
        left, top, right, bottom = env.get_view_exts()  # type: ignore[no-untyped-call]
        left, right = max(int(left), 0), min(int(right), width)
        top, bottom = max(int(top), 0), min(int(bottom), env.grid.height)
        codes: list[int] = []
        for column in range(left, right):
            for cell in grid[top * width + column : bottom * width + column : width]:
                codes += _EMPTY_AND_CLEAR if cell is None else (*cell.encode(), cell.see_behind())
        window = np.frombuffer(bytearray(codes), np.uint8).reshape(right - left, bottom - top, 4)
        self._look(window, left, top, x, y, heading, size, env.see_through_walls, self._seen)
        observation = self._seen.copy()
        observation[x, y] = (*_code(env.carrying), heading)
        return observation


def _code(cell: WorldObj | None) -> tuple[int, int, int]:
    return EMPTY if cell is None else cell.encode()


def with_fog(frame: NDArray[np.uint8], observation: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Veil the cells that were never seen in a rendered map.

    Args:
        frame: uint8 (height, width, 3), pixels.
        observation: of the same moment, uint8 (width, height, channels), cells.
    """
    width, height = observation.shape[:2]
    unseen = (observation[..., 0] == 0).T  # (height, width), as images are indexed
    y = np.arange(frame.shape[0]) * height // frame.shape[0]  # cell of each row of pixels
    x = np.arange(frame.shape[1]) * width // frame.shape[1]
    veil = (FOG_SHARE * unseen[y][:, x])[..., None]  # (rows, columns, 1)
    return np.asarray(frame * (1 - veil) + FOG * veil).round().astype(np.uint8)
