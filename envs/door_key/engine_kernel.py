"""Levels, resets and steps of many rooms with keys and doors, on flat arrays.

The rules are MiniGrid's (MiniGridEnv.step) and those of rooms.py, where ``DoorKeyEnv._gen_grid``
says what a room is; tests/envs/test_engine.py holds both to be the same, random numbers included.
A level is uint8 (width, height, 4): MiniGrid's object, color and state codes, and whether one can
see behind the cell.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from minigrid.core.actions import Actions
from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX, STATE_TO_IDX
from numpy.typing import NDArray

from llm4teach.envs.door_key.rooms import Room
from llm4teach.envs.grid.fog_of_war import NO_HEADING
from llm4teach.envs.kernels.jit import compiled
from llm4teach.envs.kernels.random_kernel import RNG_WORDS, integer, seed_rng
from llm4teach.envs.kernels.sight_kernel import look

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
    """What `draw_level` wants to know of a room: its numbers, and its colors' codes."""
    numbers = [int(getattr(room, field)) for field in _ROOM_FIELDS]
    return np.array(numbers), np.array([COLOR_TO_IDX[color] for color in room.colors])


@compiled
def _put(
    level: NDArray[np.uint8], x: int, y: int, thing: int, color: int, state: int, clear: int
) -> None:
    cell = level[x, y]
    cell[0], cell[1], cell[2], cell[3] = thing, color, state, clear


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
    colors: NDArray[np.int64],
    level: NDArray[np.uint8],
    agent: NDArray[np.int64],
) -> None:
    """Draw the level that a seed determines.

    Args:
        seed: of the episode.
        numbers: of the room, from `room_numbers`.
        colors: their codes, from `room_numbers`.
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

    palette = colors.copy()
    for i in range(n_keys):  # draw without replacement: the first n_keys, in the order drawn
        drawn = i + integer(rng, 0, len(palette) - i)
        color = palette[drawn]
        palette[i + 1 : drawn + 1] = palette[i:drawn].copy()
        palette[i] = color

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
        color = colors[integer(rng, 0, len(colors))]
        x, y = _place(rng, level, room, avoid, True)
        _put(level, x, y, BOX if i % 2 else BALL, color, 0, 1)


N_ACTIONS = len(Actions)
_LEFT, _RIGHT, _FORWARD, _PICK_UP, _DROP, _TOGGLE = (int(action) for action in list(Actions)[:6])


class Rooms(NamedTuple):
    """N rooms in mid-episode."""

    levels: NDArray[np.uint8]  # (N, width, height, 4); see `draw_level`
    agents: NDArray[np.int64]  # (N, 3): column, row, heading
    hands: NDArray[np.uint8]  # (N, 3): codes of what is carried, EMPTY for nothing
    clocks: NDArray[np.int64]  # (N,): steps in the episode
    running: NDArray[np.bool_]  # (N,)
    maps: NDArray[np.uint8]  # (N, width, height, 4): the observations


@compiled
def _observe(rooms: Rooms, i: int, view_size: int) -> None:
    """Add what is in view to the map and put the agent on it."""
    x, y, heading = rooms.agents[i]
    look(rooms.levels[i], 0, 0, x, y, heading, view_size, False, rooms.maps[i])
    rooms.maps[i, x, y, :3] = rooms.hands[i]
    rooms.maps[i, x, y, 3] = heading


@compiled
def _leave(rooms: Rooms, i: int) -> None:
    """Take the agent off its map; it has seen what is under its feet."""
    x, y = rooms.agents[i, :2]
    rooms.maps[i, x, y, :3] = rooms.levels[i, x, y, :3]
    rooms.maps[i, x, y, 3] = NO_HEADING


@compiled
def reset_rooms(
    rooms: Rooms,
    which: NDArray[np.int64],
    seeds: NDArray[np.int64],
    numbers: NDArray[np.int64],
    colors: NDArray[np.int64],
    view_size: int,
) -> None:
    """Start the episode of ``seeds[k]`` in room ``which[k]``."""
    for k in range(len(which)):
        i = which[k]
        draw_level(seeds[k], numbers, colors, rooms.levels[i], rooms.agents[i])
        rooms.hands[i] = 0
        rooms.hands[i, 0] = EMPTY
        rooms.clocks[i] = 0
        rooms.running[i] = True
        rooms.maps[i, :, :, :3] = 0
        rooms.maps[i, :, :, 3] = NO_HEADING
        _observe(rooms, i, view_size)


@compiled
def _toggle(cell: NDArray[np.uint8], hand: NDArray[np.uint8]) -> None:
    """Use what is ahead: unlock with its key, open, close; a box gives way to what it holds."""
    if cell[0] == DOOR:
        if cell[2] == LOCKED:
            if hand[0] == KEY and hand[1] == cell[1]:
                cell[2] = OPEN
        else:
            cell[2] = CLOSED if cell[2] == OPEN else OPEN
        cell[3] = cell[2] == OPEN
    elif cell[0] == BOX:
        cell[0], cell[1], cell[2], cell[3] = EMPTY, 0, 0, 1


@compiled
def step_rooms(
    rooms: Rooms,
    actions: NDArray[np.int64],
    view_size: int,
    max_steps: int,
    rewards: NDArray[np.float64],
    terminated: NDArray[np.bool_],
    truncated: NDArray[np.bool_],
) -> bool:
    """Act in every running room; ``rewards``, ``terminated``, ``truncated`` (N,) are filled.

    Returns:
        False, with nothing done, if an action is none of MiniGrid's.
    """
    for action in actions:
        if action < 0 or action >= N_ACTIONS:
            return False
    for i in range(len(actions)):
        rewards[i], terminated[i], truncated[i] = 0.0, False, False
        if not rooms.running[i]:
            continue
        _leave(rooms, i)
        rooms.clocks[i] += 1
        action, agent, hand = actions[i], rooms.agents[i], rooms.hands[i]
        ahead_x = agent[0] + (1, 0, -1, 0)[agent[2]]
        ahead_y = agent[1] + (0, 1, 0, -1)[agent[2]]
        cell = rooms.levels[i, ahead_x, ahead_y]
        if action == _LEFT:
            agent[2] = (agent[2] - 1) % 4
        elif action == _RIGHT:
            agent[2] = (agent[2] + 1) % 4
        elif action == _FORWARD:
            if cell[0] == EMPTY or cell[0] == LAVA or (cell[0] == DOOR and cell[2] == OPEN):
                agent[0], agent[1] = ahead_x, ahead_y
            terminated[i] = cell[0] == LAVA
        elif action == _PICK_UP:
            if hand[0] == EMPTY and (cell[0] == KEY or cell[0] == BALL or cell[0] == BOX):
                hand[:] = cell[:3]
                cell[0], cell[1], cell[2] = EMPTY, 0, 0
        elif action == _DROP:
            if hand[0] != EMPTY and cell[0] == EMPTY:
                cell[:3] = hand
                hand[0], hand[1], hand[2] = EMPTY, 0, 0
        elif action == _TOGGLE:
            _toggle(cell, hand)
            if cell[0] == DOOR and cell[2] == OPEN:
                rewards[i] = 1 - 0.9 * (rooms.clocks[i] / max_steps)
                terminated[i] = True
        truncated[i] = rooms.clocks[i] >= max_steps and not terminated[i]
        rooms.running[i] = not (terminated[i] or truncated[i])
        _observe(rooms, i, view_size)
    return True
