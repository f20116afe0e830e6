"""Any MiniGrid environment, observed as the map of all seen so far, with room for its mission."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX
from minigrid.core.world_object import WorldObj
from minigrid.minigrid_env import MiniGridEnv
from numpy.typing import NDArray

from llm4teach.envs.grid.fog_of_war import EMPTY, NO_HEADING
from llm4teach.errors import TaskError

CHANNELS = 6
NOTES, WORDS = 4, 5  # channels beside object, color, state and heading
_EMPTY = bytes(EMPTY)
_walls = {name: bytes((OBJECT_TO_IDX["wall"], code, 0)) for name, code in COLOR_TO_IDX.items()}
_AHEAD = ((1, 0), (0, 1), (-1, 0), (0, -1))  # by heading: east, south, west, north


class MapEnv(gym.Wrapper[NDArray[np.uint8], int, Any, int]):
    """Wraps an environment of `gym.make`; the observation is uint8 (width, height, 6), [x, y].

    Channels 0 to 2: object, color and state codes as last seen, 0 where never seen. 3: the
    heading, 4 elsewhere; what is carried is at the agent's own cell. 4 and 5 are for sub-classes:
    notes on cells, and the mission's tokens (`words.encode_words`), so that the array alone holds
    all that is known.

    Nothing in it depends on what the agent has not seen.

    Raises:
        TaskError: this is no MiniGrid environment.
    """

    def __init__(self, env: gym.Env[Any, int]) -> None:
        super().__init__(env)
        grid_env = env.unwrapped
        if not isinstance(grid_env, MiniGridEnv):
            raise TaskError(f"{env} is not a MiniGrid environment; only those have a grid to map")
        self._env = grid_env
        # Its own observation takes most of a step's time, and nobody looks at it.
        grid_env.gen_obs = lambda: None  # type: ignore[method-assign]
        self._width, self._height = grid_env.width, grid_env.height
        shape = (self._width, self._height, CHANNELS)
        self.observation_space = spaces.Box(0, 255, shape, np.uint8)
        self._offsets = [_view_offsets(heading, grid_env.agent_view_size) for heading in range(4)]
        self._forget()

    def _begin(self) -> None:
        """Take note of an episode's start; the environment has been reset."""
        raise NotImplementedError

    def _annotate(self, changed: bool) -> None:
        """Bring the channels `NOTES` and `WORDS` of the map up to date.

        Args:
            changed: an object that is seen came, went or was replaced.
        """
        raise NotImplementedError

    def _note_on_agent(self, note: int) -> int:
        """Return the note on the agent's cell; ``note`` is that cell's own."""
        raise NotImplementedError

    def _forget(self) -> None:
        """Nothing seen, no agent, no notes, no words."""
        unseen = bytes((0, 0, 0, NO_HEADING, 0, 0))
        self._map = bytearray(unseen * (self._width * self._height))
        self._things: dict[int, WorldObj] = {}  # what was seen, walls aside, by place in the map
        self._grid: list[WorldObj | None] = []  # as it was when the agent last looked
        self._objects: list[WorldObj] = []  # walls aside
        self._codes: list[tuple[int, int, int]] = []  # theirs
        self._poses: set[tuple[int, int, int]] = set()  # from which this grid was seen

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Start an episode that the seed determines; forget the map."""
        with contextlib.redirect_stdout(io.StringIO()):  # BabyAI prints what it throws away
            _, info = self.env.reset(seed=seed, options=options)
        self._forget()
        self._begin()
        return self._observe(), info

    def step(self, action: int) -> Any:
        """Act; an episode that the environment ends is terminated, never truncated as well."""
        _, reward, terminated, truncated, info = self.env.step(action)
        return (
            self._observe(),
            float(reward),
            bool(terminated),
            bool(truncated and not terminated),
            info,
        )

    def _observe(self) -> NDArray[np.uint8]:
        """Add what is visible now to the map and return it, uint8 (width, height, 6)."""
        env = self._env
        x, y = map(int, env.agent_pos)
        at, carried = self._place(x, y), env.carrying
        self._annotate(self._look(x, y))
        cells = bytearray(self._map)
        cells[at : at + 4] = (*_code(carried), env.agent_dir)
        cells[at + NOTES] = self._note_on_agent(cells[at + NOTES])
        flat: NDArray[np.uint8] = np.frombuffer(cells, np.uint8)  # (width * height * 6,)
        return flat.reshape(self._width, self._height, CHANNELS)

    def _place(self, x: int, y: int) -> int:
        return (x * self._height + y) * CHANNELS

    def _write_words(self, tokens: bytes) -> None:
        cells = self._width * self._height
        if len(tokens) > cells:
            raise TaskError(
                f"the mission {self._env.mission!r} takes {len(tokens)} tokens, more than the "
                f"{cells} cells of the grid that holds them"
            )
        self._map[WORDS::CHANNELS] = tokens.ljust(cells, b"\0")

    def _look(self, x: int, y: int) -> bool:
        """Write the visible cells into the map; whether an object came, went or was replaced."""
        if self._is_known(x, y):
            return False
        changed, codes, things = False, self._map, self._things
        for place, cell in self._visible_cells(x, y):
            codes[place : place + 3] = _code(cell)
            if cell is None or cell.type == "wall":
                changed |= things.pop(place, None) is not None
            elif things.get(place) is not cell:
                things[place] = cell
                changed = True
        return changed

    def _is_known(self, x: int, y: int) -> bool:
        """Whether the agent has stood like this in the very same grid; remember that it has now.

        A look takes most of a step's time, and agents that turn or go back see the same again.
        """
        grid = self._env.grid.grid
        if grid != self._grid or [thing.encode() for thing in self._objects] != self._codes:
            self._grid = list(grid)
            self._objects = [cell for cell in grid if cell is not None and cell.type != "wall"]
            self._codes = [thing.encode() for thing in self._objects]
            self._poses.clear()
        pose = (x, y, int(self._env.agent_dir))
        if pose in self._poses:
            return True
        self._poses.add(pose)
        return False

    def _visible_cells(self, x: int, y: int) -> list[tuple[int, WorldObj | None]]:
        """Place in the map and content of each visible cell of the grid."""
        grid, size = self._env.grid.grid, self._env.agent_view_size
        width, height = self._width, self._height
        offsets = self._offsets[int(self._env.agent_dir)]
        cells: list[list[tuple[int, int, WorldObj | None]]] = []  # (i, place, content) a row

        def transparent(j: int) -> int:
            bits, row = 0, []
            for i, (dx, dy) in enumerate(offsets[j]):
                u, v = x + dx, y + dy
                if 0 <= u < width and 0 <= v < height:
                    cell = grid[v * width + u]
                    row.append((i, (u * height + v) * CHANNELS, cell))
                    if cell is None or cell.see_behind():
                        bits |= 1 << i
            cells.append(row)
            return bits

        if self._env.see_through_walls:
            lit = [(1 << size) - 1] * size
            for j in range(size):
                transparent(j)
        else:
            lit = visible(transparent, size)
        return [
            (place, cell)
            for bits, row in zip(lit, cells, strict=True)
            for i, place, cell in row
            if bits >> i & 1
        ]


def _code(cell: WorldObj | None) -> bytes | tuple[int, int, int]:
    if cell is None:
        return _EMPTY
    if cell.type == "wall":
        return _walls[cell.color]
    code: tuple[int, int, int] = cell.encode()
    return code


def _view_offsets(heading: int, size: int) -> list[list[tuple[int, int]]]:
    """Offsets (dx, dy) of the view's cells, a list a row, as `visible` counts them."""
    dx, dy = _AHEAD[heading]
    return [
        [(dx * j - dy * (i - size // 2), dy * j + dx * (i - size // 2)) for i in range(size)]
        for j in range(size)
    ]


# ---- what an agent sees, one row of cells at a time. The view is a square of ``size`` by ``size``
# cells in the agent's own frame: row 0 is the agent's, which stands in its middle, and each further
# row is one ahead. A row is an integer with bit i for the i-th cell from the left.


@lru_cache(maxsize=1 << 16)
def spread(lit: int, transparent: int, size: int) -> tuple[int, int]:
    """Light of one row, first rightwards, then leftwards, through its transparent cells.

    Returns the row's own visible cells and those that become visible in the row ahead. The order
    of the two sweeps, and that each leaves out its last cell, is MiniGrid's (Grid.process_vis).
    """
    ahead = 0
    for cells, towards in ((range(size - 1), 1), (range(size - 1, 0, -1), -1)):
        for i in cells:
            if lit & transparent & 1 << i:
                lit |= 1 << i + towards
                ahead |= 1 << i | 1 << i + towards
    return lit, ahead


def visible(transparent: Callable[[int], int], size: int) -> list[int]:
    """The visible cells of each row, from the agent's own; ends before the first dark row.

    ``transparent(j)`` is the row j's transparent cells; it is called for lit rows only.
    """
    rows, lit = [], 1 << size // 2
    for j in range(size):
        if not lit:
            break
        row, lit = spread(lit, transparent(j), size)
        rows.append(row)
    return rows
