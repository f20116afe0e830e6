"""Crafter for students that see more than pixels: what they remember is drawn below the image.

`Crafter-done` has a bar with the achievements that are done: a student knows them from its rewards,
but not from the pixels. In `Crafter-memory` the bar also shows where it has moved lately, and below
it is a map of the blocks that it has seen. The map is drawn from the game's own blocks and not
recognized in the pixels. Teachers see what they see in `Crafter`, so advice and texts are shared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from llm4teach.envs.crafter.symbols import (
    ACHIEVEMENTS,
    COLUMN,
    COLUMNS,
    DONE,
    HEADING_COLUMN,
    HEADING_ROW,
    MAP,
    OUTSIDE,
    PIXEL_SHAPE,
    PIXELS,
    RECORD,
    RIPE_PLANT,
    ROW,
    ROWS,
)
from llm4teach.envs.crafter.task import NAME, CrafterTask
from llm4teach.envs.crafter.vector import CrafterEnv, CrafterVectorEnv
from llm4teach.envs.encoding import TILE
from llm4teach.envs.task import Mixture, Observations

DONE_NAME, MEMORY_NAME = f"{NAME}-done", f"{NAME}-memory"
BAR_ROWS, MAP_ROWS = TILE, 3 * TILE  # of pixels; a pixel of the map is a block
_WIDTH = PIXEL_SHAPE[1]
_PER_TILE, _FLAG = 3, 2  # achievements in a tile, and columns of pixels for each
_HEADING = _WIDTH - TILE  # first column of the last tile, which has no achievements
_FLAGS = np.array(
    [TILE * (k // _PER_TILE) + _FLAG * (k % _PER_TILE) for k in range(len(ACHIEVEMENTS))]
)  # the first column of each achievement, (22,)
_KINDS = RIPE_PLANT + 1
# Three shades of red, green and blue: no two kinds of block share a color, and unseen is black.
_COLORS = np.array([[k % 3, k // 3 % 3, k // 9] for k in range(_KINDS)], np.uint8) * 127
_MARGIN_ROWS, _MARGIN_COLUMNS = MAP_ROWS // 2, _WIDTH // 2
_AT_ONCE = 4_096  # records that are copied together


def hud_shape(remembers: bool) -> tuple[int, int, int]:
    """Shape of what is drawn below the image: a bar, and a map if the student remembers one."""
    return (BAR_ROWS + remembers * MAP_ROWS, *PIXEL_SHAPE[1:])


def with_hud(records: Observations, remembers: bool) -> Observations:
    """Return records of Crafter with the bar, and the map, after their pixels.

    Args:
        records: uint8 (N, RECORD).
        remembers: whether the bar shows the mean of the last moves, too, and a map follows it.

    Returns:
        uint8 (N, RECORD + size of `hud_shape`).
    """
    view = records[:, PIXELS:]
    drawn = [records[:, :PIXELS], _bar(view, remembers)]
    if remembers:
        drawn.append(_map(view))
    return np.concatenate([*drawn, view], axis=1)


def without_hud(records: Observations, remembers: bool) -> Observations:
    """Return records of Crafter, uint8 (N, RECORD), of such with a bar, or with bar and map."""
    view = PIXELS + math.prod(hud_shape(remembers))
    return np.concatenate([records[:, :PIXELS], records[:, view:]], axis=1)


def _bar(view: NDArray[np.uint8], heading: bool) -> NDArray[np.uint8]:
    """The bar's bytes, uint8 (N, BAR_ROWS * 63 * 3), of the teacher's view, uint8 (N, VIEW)."""
    columns = np.zeros((len(view), _WIDTH), np.uint8)
    done = 255 * (view[:, DONE : DONE + len(ACHIEVEMENTS)] > 0)  # (N, 22)
    for column in range(_FLAG):
        columns[:, _FLAGS + column] = done
    if heading:
        columns[:, _HEADING : _HEADING + 3] = view[:, HEADING_ROW, None]
        columns[:, _HEADING + 3 : _HEADING + 6] = view[:, HEADING_COLUMN, None]
    shape = (len(view), BAR_ROWS, *PIXEL_SHAPE[1:])
    return np.broadcast_to(columns[:, None, :, None], shape).reshape(len(view), -1)


def _map(view: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The map's bytes, uint8 (N, MAP_ROWS * 63 * 3); the player is in the middle, in white."""
    n = len(view)
    world = np.full((n, ROWS + 2 * _MARGIN_ROWS, COLUMNS + 2 * _MARGIN_COLUMNS), OUTSIDE, np.uint8)
    blocks = view[:, MAP : MAP + ROWS * COLUMNS].reshape(n, ROWS, COLUMNS)
    world[:, _MARGIN_ROWS:-_MARGIN_ROWS, _MARGIN_COLUMNS:-_MARGIN_COLUMNS] = blocks
    rows = view[:, ROW, None, None] + np.arange(MAP_ROWS)[None, :, None]  # (N, MAP_ROWS, 1)
    columns = view[:, COLUMN, None, None] + np.arange(_WIDTH)[None, None, :]  # (N, 1, 63)
    near = world[np.arange(n)[:, None, None], rows, columns]  # (N, MAP_ROWS, 63)
    drawn: NDArray[np.uint8] = _COLORS[np.minimum(near, _KINDS - 1)]  # (N, MAP_ROWS, 63, 3)
    drawn[:, _MARGIN_ROWS, _MARGIN_COLUMNS] = 255
    return drawn.reshape(n, -1)


class _HudVectorEnv(gym.vector.VectorObservationWrapper):
    def __init__(self, env: CrafterVectorEnv, task: CrafterHudTask) -> None:
        super().__init__(env)
        self._remembers = task.remembers
        self.single_observation_space = gym.spaces.Box(0, 255, task.observation_shape, np.uint8)
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)

    def observations(self, observations: Any) -> Any:
        return with_hud(observations, self._remembers)


class _HudEnv(gym.ObservationWrapper[Any, Any, Any]):
    def __init__(self, env: CrafterEnv, task: CrafterHudTask) -> None:
        super().__init__(env)
        self._remembers = task.remembers
        self.observation_space = gym.spaces.Box(0, 255, task.observation_shape, np.uint8)

    def observation(self, observation: Any) -> Any:
        return with_hud(observation[None], self._remembers)[0]


class CrafterHudTask(CrafterTask):
    """Crafter whose student sees a bar below the image, or a bar and a map.

    Args:
        remembers: whether there is a map, and the bar shows the mean of the last moves beside the
            achievements done.
    """

    def __init__(self, remembers: bool) -> None:
        super().__init__()
        self.remembers = remembers
        self.name = self.trained_as = MEMORY_NAME if remembers else DONE_NAME
        self.observation_shape = (RECORD + math.prod(hud_shape(remembers)),)

    @property
    def student_shape(self) -> tuple[int, ...]:
        """The shape of the pixels with what is below them."""
        return (PIXEL_SHAPE[0] + hud_shape(self.remembers)[0], *PIXEL_SHAPE[1:])

    def student_observations(self, observations: Observations) -> Observations:
        seen = np.ascontiguousarray(observations[:, : math.prod(self.student_shape)])
        return seen.reshape(-1, *self.student_shape)

    def make_env(self, render_mode: str | None = None) -> gym.Env[Any, int]:
        return _HudEnv(CrafterEnv(render_mode), self)

    def make_vector_env(self, n_envs: int) -> gym.vector.VectorEnv[Any, Any, Any]:
        return _HudVectorEnv(CrafterVectorEnv(n_envs), self)

    def identify(self, observations: Observations) -> NDArray[np.int64]:
        parts = [super(CrafterHudTask, self).identify(part) for part in self._parts(observations)]
        return np.concatenate([np.empty(0, np.int64), *parts])

    def ground(
        self,
        observations: Observations,
        mixtures: Sequence[Mixture],
        which: NDArray[np.integer[Any]],
    ) -> NDArray[np.float32]:
        probs = np.empty((len(observations), len(self.action_names)), np.float32)
        for i, part in enumerate(self._parts(observations)):
            rows = slice(i * _AT_ONCE, i * _AT_ONCE + len(part))
            probs[rows] = super().ground(part, mixtures, which[rows])
        return probs

    def _parts(self, observations: Observations) -> Iterator[Observations]:
        """Yield the records without what is drawn below the image, a few at a time."""
        for i in range(0, len(observations), _AT_ONCE):
            yield without_hud(observations[i : i + _AT_ONCE], self.remembers)


@cache
def crafter_hud_task(name: str) -> CrafterHudTask:
    """Return `Crafter-done` or `Crafter-memory`."""
    return CrafterHudTask(remembers=name == MEMORY_NAME)
