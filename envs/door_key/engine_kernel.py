"""Resets and steps of many rooms with keys and doors, on flat arrays.

The rules are MiniGrid's (MiniGridEnv.step) and those of door_key.py; tests/envs/test_engine.py
holds them to be the same.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from minigrid.core.actions import Actions
from numpy.typing import NDArray

from llm4teach.envs.door_key.level_kernel import (
    BALL,
    BOX,
    CLOSED,
    DOOR,
    EMPTY,
    KEY,
    LAVA,
    LOCKED,
    OPEN,
    draw_level,
)
from llm4teach.envs.grid.fog_of_war import NO_HEADING
from llm4teach.envs.kernels.jit import compiled
from llm4teach.envs.kernels.sight_kernel import look

N_ACTIONS = len(Actions)
_LEFT, _RIGHT, _FORWARD, _PICK_UP, _DROP, _TOGGLE = (int(action) for action in list(Actions)[:6])


class Rooms(NamedTuple):
    """N rooms in mid-episode."""

    levels: NDArray[np.uint8]  # (N, width, height, 4); see level_kernel.py
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
    colours: NDArray[np.int64],
    view_size: int,
) -> None:
    """Start the episode of ``seeds[k]`` in room ``which[k]``."""
    for k in range(len(which)):
        i = which[k]
        draw_level(seeds[k], numbers, colours, rooms.levels[i], rooms.agents[i])
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
