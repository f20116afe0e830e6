"""Drawing the rooms of door_key.py into arrays, with the same random numbers in the same order.

A level is uint8 (width, height, 4): MiniGrid's object, colour and state codes, and whether one can
see behind the cell. ``DoorKeyEnv._gen_grid`` says what a room is; here is only its arithmetic.
"""

from __future__ import annotations

import numpy as np
from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX, STATE_TO_IDX
from numpy.typing import NDArray

from llm4teach.envs.door_key.rooms import Room
from llm4teach.envs.kernels.jit import compiled
from llm4teach.envs.kernels.random_kernel import RNG_WORDS, integer, seed_rng

EMPTY, WALL, DOOR, KEY, BALL, BOX, LAVA = (
    OBJECT_TO_IDX[name] for name in ("empty", "wall", "door", "key", "ball", "box", "lava")
)
OPEN, CLOSED, LOCKED = (STATE_TO_IDX[name] for name in ("open", "closed", "locked"))
_GREY, _RED = COLOR_TO_IDX["grey"], COLOR_TO_IDX["red"]
_ROOM_FIELDS = (
    "min_size",
    "max_size",
    "grid_size",
    "anywhere",
    "keys",
    "doors",
    "central_key",
    "lava",
    "distractors",
    "clear_doors",
)


def room_numbers(room: Room) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """What `draw_level` wants to know of a room: its numbers, and its colours' codes."""
    numbers = [int(getattr(room, field)) for field in _ROOM_FIELDS]
    return np.array(numbers), np.array([COLOR_TO_IDX[colour] for colour in room.colours])


@compiled
def _put(
    level: NDArray[np.uint8], x: int, y: int, thing: int, colour: int, state: int, clear: int
) -> None:
    cell = level[x, y]
    cell[0], cell[1], cell[2], cell[3] = thing, colour, state, clear


@compiled
def _place(
    rng: NDArray[np.uint64],
    level: NDArray[np.uint8],
    room: tuple[int, int, int, int],
    avoid: NDArray[np.int64],
    inner: bool,
) -> tuple[int, int]:
    """Draw cells of the room (x, y, width, height) until one is empty and allowed.

    ``avoid``, (n, 2), are cells not to use; ``inner`` keeps off the cells at the walls.
    """
    left, top, width, height = room
    while True:
        x, y = integer(rng, left, left + width), integer(rng, top, top + height)
        allowed = level[x, y, 0] == EMPTY
        for i in range(len(avoid)):
            allowed &= avoid[i, 0] != x or avoid[i, 1] != y
        if inner:
            allowed &= left + 1 < x < left + width - 2 and top + 1 < y < top + height - 2
        if allowed:
            return x, y


@compiled
def draw_level(
    seed: int,
    numbers: NDArray[np.int64],
    colours: NDArray[np.int64],
    level: NDArray[np.uint8],
    agent: NDArray[np.int64],
) -> None:
    """Draw the level that a seed determines.

    Args:
        seed: of the episode.
        numbers: of the room, from `room_numbers`.
        colours: their codes, from `room_numbers`.
        level: filled, uint8 (grid_size, grid_size, 4).
        agent: filled with column, row and heading, int64 (3,).
    """
    low, high, grid_size, anywhere, n_keys, n_doors, central, n_lava, n_things, clear = numbers
    rng = np.empty(RNG_WORDS, np.uint64)
    seed_rng(seed, rng)
    width, height = integer(rng, low, high + 1), integer(rng, low, high + 1)
    left, top = 0, 0
    if anywhere:
        left = integer(rng, 0, grid_size - width + 1)
        top = integer(rng, 0, grid_size - height + 1)
    right, bottom = left + width - 1, top + height - 1
    for x in range(grid_size):
        for y in range(grid_size):
            _put(level, x, y, EMPTY, 0, 0, 1)
    for x in range(left, right + 1):
        _put(level, x, top, WALL, _GREY, 0, 0)
        _put(level, x, bottom, WALL, _GREY, 0, 0)
    for y in range(top, bottom + 1):
        _put(level, left, y, WALL, _GREY, 0, 0)
        _put(level, right, y, WALL, _GREY, 0, 0)

    palette = colours.copy()
    for i in range(n_keys):  # draw without replacement: the first n_keys, in the order drawn
        drawn = i + integer(rng, 0, len(palette) - i)
        colour = palette[drawn]
        palette[i + 1 : drawn + 1] = palette[i:drawn].copy()
        palette[i] = colour

    avoid = np.full((1 + n_doors, 2), -1)  # the agent's cell, and the cells before the doors
    first = integer(rng, 0, 4)  # right, bottom, left, top
    for i in range(n_doors):
        x, y = integer(rng, left + 1, right), integer(rng, top + 1, bottom)
        wall = (first + 2 * i) % 4
        if wall % 2 == 0:
            x = right if wall == 0 else left
        else:
            y = bottom if wall == 1 else top
        _put(level, x, y, DOOR, palette[0], LOCKED, 0)
        if clear:
            avoid[1 + i, 0] = min(max(x, left + 1), right - 1)
            avoid[1 + i, 1] = min(max(y, top + 1), bottom - 1)

    if central:
        x, y = width // 2 - 1 + integer(rng, 0, 2), height // 2 - 1 + integer(rng, 0, 2)
        _put(level, x, y, KEY, palette[0], 0, 1)
    room = (left, top, width, height)
    agent[0], agent[1] = _place(rng, level, room, avoid[:0], False)
    agent[2] = integer(rng, 0, 4)
    avoid[0] = agent[:2]
    for i in range(central, n_keys):
        x, y = _place(rng, level, room, avoid, False)
        _put(level, x, y, KEY, palette[i], 0, 1)
    for i in range(n_lava):
        x, y = _place(rng, level, room, avoid, i > 0)
        _put(level, x, y, LAVA, _RED, 0, 1)
    for i in range(n_things):
        colour = colours[integer(rng, 0, len(colours))]
        x, y = _place(rng, level, room, avoid, True)
        _put(level, x, y, BOX if i % 2 else BALL, colour, 0, 1)
