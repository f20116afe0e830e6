"""One observation taken apart for the option policies: bitboards, things, colors met."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from minigrid.core.constants import OBJECT_TO_IDX
from numpy.typing import NDArray

from llm4teach.envs.grid.fog_of_war import NO_HEADING
from llm4teach.envs.grid.options import DOOR, EMPTY, KEY, OPEN, UNSEEN
from llm4teach.envs.kernels.jit import compiled

MAX_HEIGHT = 64  # a column is one word
FIRST_THING = OBJECT_TO_IDX["wall"] + 1  # codes from here on are few on a map: they are listed
_FLOOR, _GOAL, _LAVA = (OBJECT_TO_IDX[name] for name in ("floor", "goal", "lava"))
_NONE, _ONE = np.uint64(0), np.uint64(1)


class Scratch(NamedTuple):
    """One observation, taken apart."""

    free: NDArray[np.uint64]  # (width,): walkable cells, never in the outermost ring
    unseen: NDArray[np.uint64]  # (width,)
    empty: NDArray[np.uint64]  # (width,): without the agent's cell
    targets: NDArray[np.uint64]  # (width,): cells to face
    reached: NDArray[np.uint64]  # (2, 4, width): poses, by heading; this layer and the next
    things: NDArray[np.int64]  # (width * height, 2): cells with an object, columns first
    agent: NDArray[np.int64]  # (5,): column, row, heading, code and color in hand
    palette: NDArray[np.int64]  # (n,): colors met; see `meet_colors`


@compiled
def new_scratch(width: int, height: int) -> Scratch:
    """Make room for one observation."""
    return Scratch(
        np.empty(width, np.uint64),
        np.empty(width, np.uint64),
        np.empty(width, np.uint64),
        np.empty(width, np.uint64),
        np.zeros((2, 4, width), np.uint64),
        np.empty((width * height, 2), np.int64),
        np.empty(5, np.int64),
        np.empty(2 * 256 + 1, np.int64),
    )


@compiled
def take_apart(observation: NDArray[np.uint8], lava_blind: bool, scratch: Scratch) -> int:
    """Fill the scratch from an observation, uint8 (width, height, 4).

    Returns:
        The number of ``things``, or -1 if there is no agent.
    """
    width, height = observation.shape[:2]
    n_things, heading = 0, np.int64(NO_HEADING)
    agent_x, agent_y = 0, 0
    inner = (_ONE << np.uint64(height - 1)) - np.uint64(2)
    for x in range(width):
        free = unseen = empty = _NONE
        for y in range(height):
            thing = observation[x, y, 0]
            bit = _ONE << np.uint64(y)
            if observation[x, y, 3] < heading:
                heading, agent_x, agent_y = np.int64(observation[x, y, 3]), x, y
            if thing == UNSEEN:
                unseen |= bit
            elif thing == EMPTY:
                empty |= bit
            elif thing >= FIRST_THING:
                scratch.things[n_things, 0], scratch.things[n_things, 1] = x, y
                n_things += 1
                opened = thing == DOOR and observation[x, y, 2] == OPEN
                if opened or thing in (_FLOOR, _GOAL) or (thing == _LAVA and lava_blind):
                    free |= bit
        border = x == 0 or x == width - 1
        scratch.free[x] = _NONE if border else (free | empty) & inner
        scratch.unseen[x], scratch.empty[x] = unseen, empty
    if heading >= NO_HEADING:
        return -1
    bit = _ONE << np.uint64(agent_y)
    if 0 < agent_x < width - 1:
        scratch.free[agent_x] |= bit & inner
    scratch.empty[agent_x] &= ~bit
    agent = scratch.agent
    agent[0], agent[1], agent[2] = agent_x, agent_y, heading
    agent[3] = observation[agent_x, agent_y, 0]
    agent[4] = observation[agent_x, agent_y, 1]
    return n_things


@compiled
def _slot(palette: NDArray[np.int64], n: int, color: np.int64) -> int:
    for i in range(n):
        if palette[i] == color:
            return i
    return n


@compiled
def meet_colors(observation: NDArray[np.uint8], n_things: int, scratch: Scratch) -> int:
    """Fill the palette: colors of the keys seen, by their codes, then of doors, then in the hand.

    Returns:
        The number of colors.
    """
    palette, agent, n = scratch.palette, scratch.agent, 0
    for kind in (KEY, DOOR):
        start = n
        for i in range(n_things):
            x, y = scratch.things[i]
            if observation[x, y, 0] != kind or (x == agent[0] and y == agent[1]):
                continue
            color = np.int64(observation[x, y, 1])
            if _slot(palette, n, color) == n:
                place = n
                while place > start and palette[place - 1] > color:
                    palette[place] = palette[place - 1]
                    place -= 1
                palette[place] = color
                n += 1
    if (agent[3] == KEY or agent[3] == DOOR) and _slot(palette, n, agent[4]) == n:
        palette[n] = agent[4]
        n += 1
    return n


@compiled
def neutral_name(scratch: Scratch, n_colors: int, color: np.int64) -> int:
    """Place of a color in the palette, from 1; 1 without a palette."""
    return _slot(scratch.palette, n_colors, color) + 1 if n_colors else 1
