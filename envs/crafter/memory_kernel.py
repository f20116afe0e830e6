"""The teacher's view after a step: what was seen is remembered, what was done lately counted."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm4teach.envs.crafter.symbols import (
    ACHIEVEMENTS,
    ASLEEP,
    COAL,
    COLLECT_SAPLING,
    COLLECT_WOOD,
    COLUMN,
    COLUMN_STEP,
    COLUMNS,
    DIAMOND,
    DO,
    DONE,
    DRINK,
    DRINK_LEVEL,
    EAT_PLANT,
    ENERGY,
    FACING,
    FOOD,
    GRASS,
    HEADING_COLUMN,
    HEADING_ROW,
    HELD,
    IDLE,
    ITEMS,
    MAKE,
    MAP,
    MEMORY,
    MOBS,
    NO_PLANT,
    NOWHERE,
    OPTION_MAKE,
    OPTION_PLACE,
    OPTIONS,
    OUTSIDE,
    PIXELS,
    PLACE_PLANT,
    PLACE_STONE,
    PLANT,
    PLANT_AGE,
    PLANT_COLUMN,
    PLANT_ROW,
    RIPE_PLANT,
    ROW,
    ROW_STEP,
    ROWS,
    SEEN_COLUMNS,
    SEEN_ROWS,
    SLEEP,
    SLEEP_OPTION,
    STATUS,
    STONE,
    TREE,
    UNKNOWN,
    VAIN,
    WATER,
)
from llm4teach.envs.kernels.jit import compiled

_LOCAL = SEEN_ROWS * SEEN_COLUMNS
_PLACED = (1, 0, 1, 5)  # the item that each of the actions to place takes: stone, wood, …
_N_ITEMS, _N_OPTIONS, _N_DONE = len(ITEMS), len(OPTIONS), len(ACHIEVEMENTS)
_STRIDE = 100  # a heading's length after many steps in one direction


@compiled
def remember(
    records: NDArray[np.uint8],
    symbols: NDArray[np.uint8],
    actions: NDArray[np.int64],
    which: NDArray[np.bool_],
    first: bool,
) -> None:
    """Bring the views of records up to date, in place.

    Args:
        records: uint8 (N, RECORD); their pixels are left as they are.
        symbols: what the engine shows, uint8 (N, SYMBOLS): blocks, creatures, status.
        actions: that led here, int (N,).
        which: the rows to change, bool (N,).
        first: an episode starts: everything is forgotten.
    """
    for i in range(len(records)):
        if which[i]:
            view = records[i, PIXELS:]
            if first:
                view[:] = 0
                view[HEADING_ROW] = view[HEADING_COLUMN] = NOWHERE
                view[PLANT_ROW] = NO_PLANT
                _look(view, symbols[i])
            else:
                _update(view, symbols[i], actions[i])


@compiled
def _look(view: Any, symbols: Any) -> int:
    """Copy the status, the creatures and the cells in sight; return how many are new."""
    new = 0
    view[STATUS:MEMORY] = symbols[2 * _LOCAL :]
    view[MOBS:STATUS] = symbols[_LOCAL : 2 * _LOCAL]
    top, left = int(view[ROW]) - SEEN_ROWS // 2, int(view[COLUMN]) - SEEN_COLUMNS // 2
    for k in range(_LOCAL):
        r, c = top + k // SEEN_COLUMNS, left + k % SEEN_COLUMNS
        if 0 <= r < ROWS and 0 <= c < COLUMNS and symbols[k] > OUTSIDE:
            place = MAP + r * COLUMNS + c
            new += view[place] == UNKNOWN
            view[place] = symbols[k]
    return new


@compiled
def _update(view: Any, symbols: Any, action: int) -> None:
    held = view[HELD : HELD + _N_ITEMS].copy()
    food, drink, energy = int(view[FOOD]), int(view[DRINK_LEVEL]), int(view[ENERGY])
    row, column, was_asleep = int(view[ROW]), int(view[COLUMN]), view[ASLEEP] > 0
    done = 0
    for k in range(_N_DONE):
        done += view[DONE + k]
    ahead_row = row + ROW_STEP[view[FACING]]
    ahead_column = column + COLUMN_STEP[view[FACING]]
    ahead, is_mob = UNKNOWN, False
    if 0 <= ahead_row < ROWS and 0 <= ahead_column < COLUMNS:
        ahead = int(view[MAP + ahead_row * COLUMNS + ahead_column])
        middle = SEEN_ROWS // 2 * SEEN_COLUMNS + SEEN_COLUMNS // 2
        step = ROW_STEP[view[FACING]] * SEEN_COLUMNS + COLUMN_STEP[view[FACING]]
        is_mob = view[MOBS + middle + step] > 0

    new = _look(view, symbols)

    changed = False
    for k in range(_N_ITEMS):
        changed = changed or view[HELD + k] != held[k]
    now_done = 0
    for k in range(_N_DONE):
        now_done += view[DONE + k]
    ate, drank = view[FOOD] > food, view[DRINK_LEVEL] > drink
    news = new > 0 or changed or now_done > done or ate or drank or view[ASLEEP] > 0
    view[IDLE] = 0 if news else min(255, int(view[IDLE]) + 1)

    tried = -1 if was_asleep else _tried(action, ahead, is_mob)
    if changed:
        view[VAIN : VAIN + _N_OPTIONS] = 0
    if view[DRINK_LEVEL] < drink:
        view[VAIN + DRINK] = 0
    if view[ENERGY] < energy:
        view[VAIN + SLEEP_OPTION] = 0
    worked = (
        changed
        or (tried == DRINK and drank)
        or (tried == EAT_PLANT and ate)
        or (tried == SLEEP_OPTION and view[ASLEEP] > 0)
    )
    if tried >= 0:
        view[VAIN + tried] = 0 if worked else min(255, int(view[VAIN + tried]) + 1)

    moved = int(view[ROW]) - row, int(view[COLUMN]) - column
    if moved[0] or moved[1]:
        for k in range(2):
            heading = int(view[HEADING_ROW + k]) - NOWHERE
            view[HEADING_ROW + k] = NOWHERE + heading + (moved[k] * _STRIDE - heading) // 8
    _watch_plant(view, action, held, ahead, ahead_row, ahead_column)


@compiled
def _tried(action: int, ahead: int, is_mob: bool) -> int:
    """The option whose decisive action this was, or -1."""
    if action == SLEEP:
        return SLEEP_OPTION
    if PLACE_STONE <= action <= PLACE_PLANT:
        return OPTION_PLACE + action - PLACE_STONE
    if action >= MAKE:
        return OPTION_MAKE + action - MAKE
    if action != DO or is_mob:
        return -1
    if ahead == TREE:
        return COLLECT_WOOD
    if ahead == STONE:
        return COLLECT_WOOD + 1
    if COAL <= ahead <= DIAMOND:
        return COLLECT_WOOD + 2 + ahead - COAL
    if ahead == GRASS:
        return COLLECT_SAPLING
    if ahead == WATER:
        return DRINK
    return EAT_PLANT if ahead in (PLANT, RIPE_PLANT) else -1


@compiled
def _watch_plant(
    view: Any, action: int, held: Any, ahead: int, ahead_row: int, ahead_column: int
) -> None:
    """Count the steps of the first plant that was planted and still stands."""
    sapling = _PLACED[PLACE_PLANT - PLACE_STONE]
    if view[PLANT_ROW] == NO_PLANT:
        if action == PLACE_PLANT and view[HELD + sapling] < held[sapling]:
            view[PLANT_ROW], view[PLANT_COLUMN] = ahead_row, ahead_column
            view[PLANT_AGE] = view[PLANT_AGE + 1] = 0
        return
    kind = view[MAP + int(view[PLANT_ROW]) * COLUMNS + int(view[PLANT_COLUMN])]
    if kind != PLANT and kind != RIPE_PLANT:
        view[PLANT_ROW] = NO_PLANT
        view[PLANT_COLUMN] = view[PLANT_AGE] = view[PLANT_AGE + 1] = 0
        return
    age = min(int(view[PLANT_AGE]) * 256 + int(view[PLANT_AGE + 1]) + 1, 65535)
    is_it = ahead_row == view[PLANT_ROW] and ahead_column == view[PLANT_COLUMN]
    if is_it and action == DO and ahead == RIPE_PLANT and kind == PLANT:
        age = 0  # it was eaten and grows again
    view[PLANT_AGE], view[PLANT_AGE + 1] = age // 256, age % 256
