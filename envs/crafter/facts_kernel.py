"""What the teacher reads, as small numbers: everything that a state's text mentions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm4teach.envs.crafter.option_kernel import nearest_user
from llm4teach.envs.crafter.paths_kernel import beside_distance, search
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
    IRON,
    ITEMS,
    LIGHT,
    MAP,
    MATERIALS,
    MOST,
    NO_PLANT,
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
    WATER,
    ZOMBIE,
)
from llm4teach.envs.kernels.jit import compiled

KINDS = (WATER, TREE, GRASS, STONE, COAL, IRON, DIAMOND, TABLE, FURNACE, PLANT, RIPE_PLANT)
CREATURES = (COW, ZOMBIE, SKELETON)
LOW, FULL = (4, 6, 5, 4), 8  # vital signs below and from which on; a cow gives 6 food
# Vital signs for which the text says "full": health shows when to risk something, and a drink adds
# only 1. A meal or a night fills up at once.
TOLD_FULL = (True, False, True, False)  # health, food, drink, energy
BESIDE, NEAR, DISTANT = 1, 2, 3  # where something is; the last: farther, or out of reach
NEAR_STEPS, NEAR_WATER = 24, 6  # water is so common that only what is on the way counts
NEAR_CREATURES = (24, 3, 3)  # rows and columns together; cows in sight always are
DARK_BELOW = 50  # percent of light
OLD_AFTER = 600  # steps of the own plant: two days

# Places in a row of facts.
IS_ASLEEP, IS_DARK, VITALS = 0, 1, 2
COUNTS = VITALS + 4
WHERE = COUNTS + len(ITEMS)
IN_SIGHT = WHERE + len(KINDS)
USES_BOTH = IN_SIGHT + len(CREATURES)  # a place is in reach of table and furnace
IS_OLD = USES_BOTH + 1
IS_DONE = IS_OLD + 1
N_FACTS = IS_DONE + len(ACHIEVEMENTS)
_CELLS, _N_ITEMS, _N_DONE = ROWS * COLUMNS, len(ITEMS), len(ACHIEVEMENTS)
_N_KINDS, _N_CREATURES = len(KINDS), len(CREATURES)
_TABLE, _FURNACE = KINDS.index(TABLE), KINDS.index(FURNACE)


@compiled
def facts_all(records: NDArray[np.uint8], paths: Any, facts: NDArray[np.uint8]) -> None:
    """Write the facts of every record, uint8 (N, RECORD), to ``facts``, zeros (N, N_FACTS).

    For a sleeping player the text says nothing else: there is nothing to choose.
    """
    for i in range(len(records)):
        view, row = records[i, PIXELS:], facts[i]
        row[IS_ASLEEP] = view[ASLEEP]
        if view[ASLEEP]:
            continue
        row[IS_DARK] = view[LIGHT] < DARK_BELOW
        for k in range(4):
            level = view[HEALTH + k]
            row[VITALS + k] = (level >= LOW[k]) + (TOLD_FULL[k] and level >= FULL)
        for k in range(_N_ITEMS):
            most = MOST[k] if k < MATERIALS else 1
            row[COUNTS + k] = min(int(view[HELD + k]), most)
        search(view, paths)
        _places(view, paths, row)
        if row[WHERE + _TABLE] and row[WHERE + _FURNACE]:
            both, _ = nearest_user(view, paths, True)
            row[USES_BOTH] = both >= 0
        age = int(view[PLANT_AGE]) * 256 + int(view[PLANT_AGE + 1])
        row[IS_OLD] = view[PLANT_ROW] != NO_PLANT and age >= OLD_AFTER
        row[IS_DONE : IS_DONE + _N_DONE] = view[DONE : DONE + _N_DONE]


@compiled
def _places(view: Any, paths: Any, row: Any) -> None:
    column_of = np.full(RIPE_PLANT + 1, -1, np.int64)
    for k in range(_N_KINDS):
        column_of[KINDS[k]] = k
    for cell in range(_CELLS):
        k = column_of[view[MAP + cell]]
        if k >= 0 and (row[WHERE + k] != NEAR or KINDS[k] == WATER):
            distance, _ = beside_distance(paths, cell)
            where = NEAR if distance <= NEAR_STEPS else DISTANT
            if KINDS[k] == WATER:  # only of water it matters where to stay for more
                where = NEAR if distance <= NEAR_WATER else DISTANT
                where = BESIDE if distance == 0 else where
            row[WHERE + k] = min(where, row[WHERE + k]) if row[WHERE + k] else where
        if paths.mobs[cell]:
            apart = abs(cell // COLUMNS - int(view[ROW])) + abs(cell % COLUMNS - int(view[COLUMN]))
            for m in range(_N_CREATURES):
                if paths.mobs[cell] == CREATURES[m] and row[IN_SIGHT + m] != NEAR:
                    row[IN_SIGHT + m] = NEAR if apart <= NEAR_CREATURES[m] else DISTANT
