"""Option policies on arrays: what options.py decides and the paths of paths.py, compiled.

Paths lead over known free cells, turns counted. The search runs from the goals to the agent, with
one 64-bit word per column (bit y is row y), so that a layer of it is a dozen operations per column,
however many poses are in it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from llm4teach.envs.door_key.observation_kernel import FIRST_THING, Scratch
from llm4teach.envs.grid.options import (
    BOX,
    DOOR,
    DROP,
    EMPTY,
    GOAL,
    KEY,
    LOCKED,
    OPEN,
    PICK_UP,
    TOGGLE,
)
from llm4teach.envs.grid.paths import FORWARD, LEFT, RIGHT
from llm4teach.envs.kernels.jit import compiled

# What an option decides: DONE, CANNOT, or else a set of primitive actions, bit a for action a.
DONE, CANNOT = 0, 1 << 7
_NONE, _ONE = np.uint64(0), np.uint64(1)


@compiled
def first_actions(scratch: Scratch) -> int:
    """All actions that start a shortest path to where one of ``targets`` is ahead.

    Returns:
        A set of actions, DONE if a target is ahead already, CANNOT if no path leads to one.
    """
    free, targets, agent = scratch.free, scratch.targets, scratch.agent
    layer, other = scratch.reached[0], scratch.reached[1]
    x, heading, bit = agent[0], agent[2], _ONE << np.uint64(agent[1])
    width = len(free)
    low, high = width, 0  # known columns: all else is never reached
    starts = _NONE
    for c in range(1, width - 1):
        f = free[c]
        if f:
            low, high = min(low, c), c
        layer[0, c] = targets[c + 1] & f
        layer[1, c] = targets[c] >> _ONE & f
        layer[2, c] = targets[c - 1] & f
        layer[3, c] = targets[c] << _ONE & f
        starts |= layer[0, c] | layer[1, c] | layer[2, c] | layer[3, c]
    if not starts or not free[x] & bit:
        return CANNOT
    if layer[heading, x] & bit:
        return DONE
    for h in range(4):  # a shorter search before may have left poses beyond the known columns
        other[h, low - 1] = other[h, high + 1] = _NONE
    while True:
        changed = _NONE
        for c in range(low, high + 1):
            f, e, s, w, n = free[c], layer[0, c], layer[1, c], layer[2, c], layer[3, c]
            sides, ends = s | n, e | w  # one turn away from each other
            other[0, c] = e | sides | (layer[0, c + 1] & f)
            other[1, c] = s | ends | (s >> _ONE & f)
            other[2, c] = w | sides | (layer[2, c - 1] & f)
            other[3, c] = n | ends | (n << _ONE & f)
            changed |= (other[0, c] ^ e) | (other[1, c] ^ s) | (other[2, c] ^ w) | (other[3, c] ^ n)
        if other[heading, x] & bit:
            break
        if not changed:
            return CANNOT
        layer, other = other, layer
    actions = 0
    if layer[(heading - 1) % 4, x] & bit:
        actions |= 1 << LEFT
    if layer[(heading + 1) % 4, x] & bit:
        actions |= 1 << RIGHT
    ahead = bit << _ONE if heading == 1 else (bit >> _ONE if heading == 3 else bit)
    if layer[heading, x + (1, 0, -1, 0)[heading]] & ahead:
        actions |= 1 << FORWARD
    return actions


VERBS = ("explore", "go to", "pick up", "drop", "open")  # others cannot be done in a room
EXPLORE, GO_TO, TAKE, PUT_DOWN, USE = range(5)
ANY_COLOR, NO_COLOR, PALETTE = -1, -2, -10  # PALETTE - n is the n-th color met
_NONE, _ONE = np.uint64(0), np.uint64(1)


@compiled
def _color_of(reference: int, scratch: Scratch, n_colors: int) -> int:
    """The color code that an option's target refers to, ANY_COLOR or NO_COLOR."""
    if reference > PALETTE:
        return reference
    slot = PALETTE - reference - 1
    return scratch.palette[slot] if slot < n_colors else NO_COLOR


@compiled
def _matches(cell: NDArray[np.uint8], kind: int, color: int) -> bool:
    return cell[0] == kind and (color == ANY_COLOR or cell[1] == color)


@compiled
def _aim(
    observation: NDArray[np.uint8],
    n_things: int,
    scratch: Scratch,
    kind: int,
    color: int,
    nth: int,
    openable: bool,
) -> tuple[int, int]:
    """Fill ``targets`` with the cells of this name; ``nth`` > 0 keeps one, columns first.

    With ``openable`` only boxes and doors that are shut and not locked for the agent do. Returns
    how many doors have the name, and how many of them are shut.
    """
    targets, agent = scratch.targets, scratch.agent
    height, shut, doors, met = observation.shape[1], 0, 0, 0
    targets[:] = _NONE
    listed = kind >= FIRST_THING
    for i in range(n_things if listed else observation.shape[0] * height):
        x, y = (scratch.things[i, 0], scratch.things[i, 1]) if listed else (i // height, i % height)
        cell = observation[x, y]
        if (x == agent[0] and y == agent[1]) or not _matches(cell, kind, color):
            continue
        met += 1
        if nth and met != nth:
            continue
        if openable and cell[0] != BOX:
            if cell[0] != DOOR:
                continue
            doors += 1
            shut += cell[2] != OPEN
            fits = agent[3] == KEY and agent[4] == cell[1]
            if cell[2] == OPEN or (cell[2] == LOCKED and not fits):
                continue
        targets[x] |= _ONE << np.uint64(y)
    return doors, shut


@compiled
def _aim_away_from_doors(observation: NDArray[np.uint8], n_things: int, scratch: Scratch) -> None:
    """Fill ``targets`` with the empty cells that are not beside a door."""
    targets = scratch.targets
    targets[:] = scratch.empty
    for i in range(n_things):
        x, y = scratch.things[i, 0], scratch.things[i, 1]
        if observation[x, y, 0] != DOOR or (x == scratch.agent[0] and y == scratch.agent[1]):
            continue
        beside = _ONE << np.uint64(y)
        if x > 0:
            targets[x - 1] &= ~beside
        if x + 1 < len(targets):
            targets[x + 1] &= ~beside
        targets[x] &= ~(beside << _ONE | beside >> _ONE)


@compiled
def decide(
    observation: NDArray[np.uint8],
    n_things: int,
    n_colors: int,
    scratch: Scratch,
    option: NDArray[np.int64],
) -> int:
    """What an option does in an observation that was taken apart; as options.decide.

    Args:
        observation: uint8 (width, height, 4).
        n_things: from `take_apart`.
        n_colors: of the palette.
        scratch: the observation taken apart.
        option: verb, kind, color and place of its target, int64 (4,); see grounding.py.

    Returns:
        DONE, CANNOT, or a set of primitive actions.
    """
    verb, kind, nth = option[0], option[1], option[3]
    if verb == EXPLORE:
        scratch.targets[:] = scratch.unseen
        decision = first_actions(scratch)
        return DONE if decision == CANNOT else decision
    color = _color_of(option[2], scratch, n_colors)
    in_hand, empty_hand = scratch.agent[3], scratch.agent[3] == EMPTY
    holds = not empty_hand and in_hand == kind and color in (ANY_COLOR, scratch.agent[4])
    then = DONE
    if verb == PUT_DOWN:
        if not holds:
            return DONE
        _aim_away_from_doors(observation, n_things, scratch)
        then = 1 << DROP
    else:
        if verb == TAKE:
            if holds or not empty_hand:
                return DONE if holds else CANNOT
            then = 1 << PICK_UP
        doors, shut = _aim(observation, n_things, scratch, kind, color, nth, verb == USE)
        if verb == USE:
            if doors and not shut:
                return DONE
            then = 1 << TOGGLE
        if verb == GO_TO and kind == GOAL:
            then = 1 << FORWARD
    decision = first_actions(scratch)
    return then if decision == DONE else decision
