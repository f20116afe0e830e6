"""Crafter for students that see more than pixels: a bar below the image shows what they remember.

`Crafter-done` shows which achievements are done: a student knows them from its rewards, but not
from the pixels. `Crafter-memory` also shows where it has moved lately. Teachers see what they see
in `Crafter`, so advice and texts are shared.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from llm4teach.envs.crafter.symbols import (
    ACHIEVEMENTS,
    DONE,
    HEADING_COLUMN,
    HEADING_ROW,
    PIXEL_SHAPE,
    PIXELS,
    RECORD,
)
from llm4teach.envs.crafter.task import NAME, CrafterTask
from llm4teach.envs.crafter.vector import CrafterEnv, CrafterVectorEnv
from llm4teach.envs.encoding import TILE
from llm4teach.envs.task import Mixture, Observations

DONE_NAME, MEMORY_NAME = f"{NAME}-done", f"{NAME}-memory"
BAR_SHAPE = (TILE, *PIXEL_SHAPE[1:])  # one more row of tiles
BAR = TILE * PIXEL_SHAPE[1] * PIXEL_SHAPE[2]  # bytes, between the pixels and the teacher's view
_PER_TILE, _FLAG = 3, 2  # achievements in a tile, and columns of pixels for each
_HEADING = PIXEL_SHAPE[1] - TILE  # first column of the last tile, which has no achievements
_FLAGS = np.array(
    [TILE * (k // _PER_TILE) + _FLAG * (k % _PER_TILE) for k in range(len(ACHIEVEMENTS))]
)  # the first column of each achievement, (22,)


def with_bar(records: Observations, heading: bool) -> Observations:
    """Return records of Crafter with a bar after their pixels, uint8 (N, RECORD + BAR).

    Args:
        records: uint8 (N, RECORD).
        heading: whether the bar shows the mean of the last moves, too.
    """
    view = records[:, PIXELS:]
    columns = np.zeros((len(records), PIXEL_SHAPE[1]), np.uint8)
    done = 255 * (view[:, DONE : DONE + len(ACHIEVEMENTS)] > 0)  # (N, 22)
    for column in range(_FLAG):
        columns[:, _FLAGS + column] = done
    if heading:
        columns[:, _HEADING : _HEADING + 3] = view[:, HEADING_ROW, None]
        columns[:, _HEADING + 3 : _HEADING + 6] = view[:, HEADING_COLUMN, None]
    bar = np.broadcast_to(columns[:, None, :, None], (len(records), *BAR_SHAPE))
    return np.concatenate([records[:, :PIXELS], bar.reshape(-1, BAR), view], axis=1)


def without_bar(records: Observations) -> Observations:
    """Return records of Crafter, uint8 (N, RECORD), of such with a bar."""
    return np.concatenate([records[:, :PIXELS], records[:, PIXELS + BAR :]], axis=1)


class _BarVectorEnv(gym.vector.VectorObservationWrapper):
    def __init__(self, env: CrafterVectorEnv, heading: bool) -> None:
        super().__init__(env)
        self._heading = heading
        self.single_observation_space = gym.spaces.Box(0, 255, (RECORD + BAR,), np.uint8)
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)

    def observations(self, observations: Any) -> Any:
        return with_bar(observations, self._heading)


class _BarEnv(gym.ObservationWrapper[Any, Any, Any]):
    def __init__(self, env: CrafterEnv, heading: bool) -> None:
        super().__init__(env)
        self._heading = heading
        self.observation_space = gym.spaces.Box(0, 255, (RECORD + BAR,), np.uint8)

    def observation(self, observation: Any) -> Any:
        return with_bar(observation[None], self._heading)[0]


class CrafterBarTask(CrafterTask):
    """Crafter whose student sees a bar below the image.

    Args:
        heading: whether it shows the mean of the last moves beside the achievements done.
    """

    def __init__(self, heading: bool) -> None:
        super().__init__()
        self._heading = heading
        self.name = self.trained_as = MEMORY_NAME if heading else DONE_NAME
        self.observation_shape = (RECORD + BAR,)

    @property
    def student_shape(self) -> tuple[int, ...]:
        """The shape of the pixels with the bar."""
        return (PIXEL_SHAPE[0] + TILE, *PIXEL_SHAPE[1:])

    def student_observations(self, observations: Observations) -> Observations:
        seen = np.ascontiguousarray(observations[:, : PIXELS + BAR])
        return seen.reshape(-1, *self.student_shape)

    def make_env(self, render_mode: str | None = None) -> gym.Env[Any, int]:
        return _BarEnv(CrafterEnv(render_mode), self._heading)

    def make_vector_env(self, n_envs: int) -> gym.vector.VectorEnv[Any, Any, Any]:
        return _BarVectorEnv(CrafterVectorEnv(n_envs), self._heading)

    def identify(self, observations: Observations) -> NDArray[np.int64]:
        return super().identify(without_bar(observations))

    def ground(
        self,
        observations: Observations,
        mixtures: Sequence[Mixture],
        which: NDArray[np.integer[Any]],
    ) -> NDArray[np.float32]:
        return super().ground(without_bar(observations), mixtures, which)


@cache
def crafter_bar_task(name: str) -> CrafterBarTask:
    """Return `Crafter-done` or `Crafter-memory`."""
    return CrafterBarTask(heading=name == MEMORY_NAME)
