"""Option policies on arrays: what options.py decides, compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from llm4teach.envs.door_key.observation_kernel import FIRST_THING, Scratch
from llm4teach.envs.door_key.search_kernel import CANNOT, DONE, first_actions
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
from llm4teach.envs.grid.paths import FORWARD
from llm4teach.envs.kernels.jit import compiled

VERBS = ("explore", "go to", "pick up", "drop", "open")  # others cannot be done in a room
EXPLORE, GO_TO, TAKE, PUT_DOWN, USE = range(5)
ANY_COLOUR, NO_COLOUR, PALETTE = -1, -2, -10  # PALETTE - n is the n-th colour met
_NONE, _ONE = np.uint64(0), np.uint64(1)


@compiled
def _colour_of(reference: int, scratch: Scratch, n_colours: int) -> int:
    """The colour code that an option's target refers to, ANY_COLOUR or NO_COLOUR."""
    if reference > PALETTE:
        return reference
    slot = PALETTE - reference - 1
    return scratch.palette[slot] if slot < n_colours else NO_COLOUR


@compiled
def _matches(cell: NDArray[np.uint8], kind: int, colour: int) -> bool:
    return cell[0] == kind and (colour == ANY_COLOUR or cell[1] == colour)


@compiled
def _aim(
    observation: NDArray[np.uint8],
    n_things: int,
    scratch: Scratch,
    kind: int,
    colour: int,
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
        if (x == agent[0] and y == agent[1]) or not _matches(cell, kind, colour):
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
    n_colours: int,
    scratch: Scratch,
    option: NDArray[np.int64],
) -> int:
    """What an option does in an observation that was taken apart; as options.decide.

    Args:
        observation: uint8 (width, height, 4).
        n_things: from `take_apart`.
        n_colours: of the palette.
        scratch: the observation taken apart.
        option: verb, kind, colour and place of its target, int64 (4,); see mixture_book.py.

    Returns:
        DONE, CANNOT, or a set of primitive actions.
    """
    verb, kind, nth = option[0], option[1], option[3]
    if verb == EXPLORE:
        scratch.targets[:] = scratch.unseen
        decision = first_actions(scratch)
        return DONE if decision == CANNOT else decision
    colour = _colour_of(option[2], scratch, n_colours)
    in_hand, empty_hand = scratch.agent[3], scratch.agent[3] == EMPTY
    holds = not empty_hand and in_hand == kind and colour in (ANY_COLOUR, scratch.agent[4])
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
        doors, shut = _aim(observation, n_things, scratch, kind, colour, nth, verb == USE)
        if verb == USE:
            if doors and not shut:
                return DONE
            then = 1 << TOGGLE
        if verb == GO_TO and kind == GOAL:
            then = 1 << FORWARD
    decision = first_actions(scratch)
    return then if decision == DONE else decision
