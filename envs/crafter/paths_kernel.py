"""Shortest paths over the remembered map, from the player to everywhere.

The cost is 1 per step, 3 per step into stone (the agent digs it first), and 2 more next to lava.
Unseen cells, creatures and solid cells block the way.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llm4teach.envs.crafter.symbols import (
    ARROW,
    COLUMN,
    COLUMN_STEP,
    COLUMNS,
    GRASS,
    HELD,
    LAVA,
    MAP,
    MATERIALS,
    MOBS,
    PATH,
    RIPE_PLANT,
    ROW,
    ROW_STEP,
    ROWS,
    SAND,
    SEEN_COLUMNS,
    SEEN_ROWS,
    STONE,
)
from llm4teach.envs.kernels.jit import compiled

FAR = 1 << 20  # distance of what cannot be reached
DIG, NEAR_LAVA = 3, 2  # costs
_CELLS = ROWS * COLUMNS
_BUCKETS = 8  # more than the largest cost of a step
_PLACES = 4 * _CELLS + 1


class Paths(NamedTuple):
    """Arrays that `search` fills; made once for many searches."""

    costs: NDArray[np.uint8]  # (cells,); 0: no way
    distances: NDArray[np.int32]  # (cells,)
    arrived: NDArray[np.uint8]  # (cells,), direction of the last step to each cell
    mobs: NDArray[np.uint8]  # (cells,), creature in each cell
    heads: NDArray[np.int32]  # the rest is the queue
    following: NDArray[np.int32]
    cells: NDArray[np.int32]


def new_paths() -> Paths:
    """Return arrays for `search`."""
    return Paths(
        np.zeros(_CELLS, np.uint8),
        np.zeros(_CELLS, np.int32),
        np.zeros(_CELLS, np.uint8),
        np.zeros(_CELLS, np.uint8),
        np.zeros(_BUCKETS, np.int32),
        np.zeros(_PLACES, np.int32),
        np.zeros(_PLACES, np.int32),
    )


@compiled
def is_floor(kind: int) -> bool:
    """Whether one walks over this kind of block without dying."""
    return kind in (GRASS, SAND, PATH)


@compiled
def search(view: Any, paths: Any) -> None:
    """Find the shortest paths from the player to every cell (Dijkstra with a bucket queue)."""
    costs, distances = paths.costs, paths.distances
    digs = view[HELD + MATERIALS] > 0  # stone yields to a wood pickaxe
    cost_of = np.zeros(RIPE_PLANT + 1, np.uint8)
    for kind in range(RIPE_PLANT + 1):
        cost_of[kind] = 1 if is_floor(kind) else (DIG if digs and kind == STONE else 0)
    lava = False
    for cell in range(_CELLS):
        kind = view[MAP + cell]
        lava |= kind == LAVA
        costs[cell] = cost_of[kind]
    distances[:] = FAR
    if lava:
        for cell in range(_CELLS):
            if costs[cell] and _is_near_lava(view, cell):
                costs[cell] += NEAR_LAVA
    _place_mobs(view, paths)
    heads, following, cells = paths.heads, paths.following, paths.cells
    heads[:] = 0
    start = int(view[ROW]) * COLUMNS + int(view[COLUMN])
    distances[start], paths.arrived[start] = 0, 0
    cells[1], following[1], heads[0] = start, 0, 1
    used, waiting, distance = 1, 1, 0
    while waiting:
        place = heads[distance % _BUCKETS]
        heads[distance % _BUCKETS] = 0
        while place:
            cell = cells[place]
            waiting -= 1
            if distances[cell] == distance:
                for d in range(1, 5):
                    beside = neighbor(cell, d)
                    if beside >= 0 and costs[beside]:
                        there = distance + costs[beside]
                        if there < distances[beside]:
                            distances[beside], paths.arrived[beside] = there, d
                            used += 1
                            waiting += 1
                            cells[used] = beside
                            following[used] = heads[there % _BUCKETS]
                            heads[there % _BUCKETS] = used
            place = following[place]
        distance += 1


@compiled
def _place_mobs(view: Any, paths: Any) -> None:
    """Write the creatures in sight to their cells of the map, and let them block the way."""
    paths.mobs[:] = 0
    top, left = int(view[ROW]) - SEEN_ROWS // 2, int(view[COLUMN]) - SEEN_COLUMNS // 2
    for k in range(SEEN_ROWS * SEEN_COLUMNS):
        r, c = top + k // SEEN_COLUMNS, left + k % SEEN_COLUMNS
        if view[MOBS + k] and 0 <= r < ROWS and 0 <= c < COLUMNS:
            cell = r * COLUMNS + c
            paths.mobs[cell] = view[MOBS + k]
            if view[MOBS + k] != ARROW:
                paths.costs[cell] = 0


@compiled
def _is_near_lava(view: Any, cell: int) -> bool:
    for d in range(1, 5):
        beside = neighbor(cell, d)
        if beside >= 0 and view[MAP + beside] == LAVA:
            return True
    return False


@compiled
def neighbor(cell: int, direction: int) -> int:
    """The cell one step away, or -1 outside the world."""
    r, c = cell // COLUMNS + ROW_STEP[direction], cell % COLUMNS + COLUMN_STEP[direction]
    return r * COLUMNS + c if 0 <= r < ROWS and 0 <= c < COLUMNS else -1


@compiled
def first_step(paths: Any, start: int, cell: int) -> int:
    """Direction of the first step from the player's cell to another, 0 if it is the same."""
    direction = 0
    while cell != start:
        direction = int(paths.arrived[cell])
        cell -= ROW_STEP[direction] * COLUMNS + COLUMN_STEP[direction]
    return direction


@compiled
def beside_distance(paths: Any, cell: int) -> tuple[int, int]:
    """Distance to the nearest cell from which one faces this one, and that cell."""
    nearest, place = FAR, -1
    for d in range(1, 5):
        there = neighbor(cell, d)
        if there >= 0 and paths.distances[there] < nearest:
            nearest, place = paths.distances[there], there
    return nearest, place
