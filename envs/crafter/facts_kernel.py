"""What the teacher reads, as small numbers: everything that a state's text mentions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm4teach.envs.crafter.option_kernel import nearest_user
from llm4teach.envs.crafter.paths_kernel import FAR, beside_distance, search
from llm4teach.envs.crafter.symbols import (
    ACHIEVEMENTS,
    ASLEEP,
    COAL,
    COLUMN,
    COLUMNS,
    COW,
    DIAMOND,
    DONE,
    FURNACE,
    GRASS,
    HEALTH,
    HELD,
    IDLE,
    IRON,
    ITEMS,
    LIGHT,
    MAP,
    MATERIALS,
    MOST,
    NO_PLANT,
    OPTIONS,
    PIXELS,
    PLANT,
    PLANT_AGE,
    PLANT_ROW,
    RIPE_PLANT,
    ROW,
    ROWS,
    SKELETON,
    STONE,
    TABLE,
    TREE,
    TRIES,
    VAIN,
    WATER,
    ZOMBIE,
)
from llm4teach.envs.kernels.jit import compiled

KINDS = (WATER, TREE, GRASS, STONE, COAL, IRON, DIAMOND, TABLE, FURNACE, PLANT, RIPE_PLANT)
CREATURES = (COW, ZOMBIE, SKELETON)
LEVELS = (3, 6, 9)  # vital signs: below, from and from: low, medium, high, full
BESIDE, NEAR, AWAY, DISTANT, OUT_OF_REACH = 1, 2, 3, 4, 5  # where something is; 0: nowhere
NEAR_STEPS, AWAY_STEPS = 6, 24  # steps up to which something is near, and away
CREATURE_STEPS = 3  # rows and columns together up to which a creature is near
DARK_BELOW = 50  # percent of light
STUCK_AFTER = 60  # steps without anything new
OLD_AFTER = 600  # steps of the own plant: two days

# Places in a row of facts.
IS_ASLEEP, IS_DARK, IS_STUCK, VITALS = 0, 1, 2, 3
COUNTS = VITALS + 4
WHERE = COUNTS + len(ITEMS)
IN_SIGHT = WHERE + len(KINDS)
USES_BOTH = IN_SIGHT + len(CREATURES)  # a place is in reach of table and furnace
IS_OLD = USES_BOTH + 1
IS_DONE = IS_OLD + 1
HAS_FAILED = IS_DONE + len(ACHIEVEMENTS)
N_FACTS = HAS_FAILED + len(OPTIONS)
_CELLS, _N_ITEMS, _N_DONE, _N_OPTIONS = ROWS * COLUMNS, len(ITEMS), len(ACHIEVEMENTS), len(OPTIONS)
_N_KINDS, _N_CREATURES = len(KINDS), len(CREATURES)


@compiled
def facts_all(records: NDArray[np.uint8], paths: Any, facts: NDArray[np.uint8]) -> None:
    """Write the facts of every record, uint8 (N, RECORD), to ``facts``, uint8 (N, N_FACTS)."""
    for i in range(len(records)):
        view, row = records[i, PIXELS:], facts[i]
        row[IS_ASLEEP], row[IS_DARK] = view[ASLEEP], view[LIGHT] < DARK_BELOW
        row[IS_STUCK] = view[IDLE] >= STUCK_AFTER
        for k in range(4):
            level = view[HEALTH + k]
            row[VITALS + k] = (level >= LEVELS[0]) + (level >= LEVELS[1]) + (level >= LEVELS[2])
        for k in range(_N_ITEMS):
            most = MOST[k] if k < MATERIALS else 1
            row[COUNTS + k] = min(int(view[HELD + k]), most)
        search(view, paths)
        _places(view, paths, row)
        both, _ = nearest_user(view, paths, True)
        row[USES_BOTH] = both >= 0
        age = int(view[PLANT_AGE]) * 256 + int(view[PLANT_AGE + 1])
        row[IS_OLD] = view[PLANT_ROW] != NO_PLANT and age >= OLD_AFTER
        row[IS_DONE : IS_DONE + _N_DONE] = view[DONE : DONE + _N_DONE]
        for k in range(_N_OPTIONS):
            row[HAS_FAILED + k] = view[VAIN + k] >= TRIES[k]


@compiled
def _places(view: Any, paths: Any, row: Any) -> None:
    start = int(view[ROW]) * COLUMNS + int(view[COLUMN])
    column_of = np.full(RIPE_PLANT + 1, -1, np.int64)
    for k in range(_N_KINDS):
        column_of[KINDS[k]] = k
    nearest = np.full(_N_KINDS, 2 * FAR, np.int64)
    creatures = np.full(_N_CREATURES, 2 * FAR, np.int64)
    reached = np.zeros(_N_CREATURES, np.bool_)
    for cell in range(_CELLS):
        k = column_of[view[MAP + cell]]
        if k >= 0:
            distance, _ = beside_distance(paths, cell)
            nearest[k] = min(nearest[k], distance)
        for m in range(_N_CREATURES):
            if paths.mobs[cell] == CREATURES[m]:
                apart = abs(cell // COLUMNS - start // COLUMNS)
                apart += abs(cell % COLUMNS - start % COLUMNS)
                creatures[m] = min(creatures[m], apart)
                distance, _ = beside_distance(paths, cell)
                reached[m] = reached[m] or distance < FAR
    for k in range(_N_KINDS):
        row[WHERE + k] = _bucket(nearest[k])
    grass = WHERE + 2  # is nearly everywhere: where it is best does not matter
    if row[grass] and row[grass] != OUT_OF_REACH:
        row[grass] = NEAR
    for m in range(_N_CREATURES):
        where = 0
        if creatures[m] <= FAR:
            where = NEAR if creatures[m] <= CREATURE_STEPS else AWAY
            where = BESIDE if creatures[m] == 1 else where
            where = where if reached[m] else OUT_OF_REACH
        row[IN_SIGHT + m] = where


@compiled
def _bucket(distance: int) -> int:
    if distance > FAR:
        return 0
    if distance == FAR:
        return OUT_OF_REACH
    if distance == 0:
        return BESIDE
    if distance <= NEAR_STEPS:
        return NEAR
    return AWAY if distance <= AWAY_STEPS else DISTANT
