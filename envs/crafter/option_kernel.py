"""What each option does in a view: closed loops on what was seen, without memory of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm4teach.envs.crafter.paths_kernel import (
    FAR,
    beside_distance,
    first_step,
    is_floor,
    neighbor,
    search,
)
from llm4teach.envs.crafter.symbols import (
    ARROW,
    ASLEEP,
    COAL,
    COLLECT_SAPLING,
    COLLECT_STONE,
    COLLECT_WOOD,
    COLUMN,
    COLUMNS,
    COW,
    DO,
    DRINK,
    EAT_COW,
    EAT_PLANT,
    EXPLORE,
    FACING,
    FIGHT_SKELETON,
    FIGHT_ZOMBIE,
    FURNACE,
    GRASS,
    HEADING_COLUMN,
    HEADING_ROW,
    HELD,
    IDLE,
    LAVA,
    MAKE,
    MAP,
    MATERIALS,
    NO_PLANT,
    NOOP,
    NOWHERE,
    OPTION_MAKE,
    OPTION_PLACE,
    PATIENCE,
    PIXELS,
    PLACE_FURNACE,
    PLACE_PLANT,
    PLACE_STONE,
    PLANT,
    PLANT_COLUMN,
    PLANT_ROW,
    RIPE_PLANT,
    ROW,
    ROWS,
    SKELETON,
    SLEEP,
    SLEEP_OPTION,
    STONE,
    TABLE,
    TREE,
    TRIES,
    UNKNOWN,
    VAIN,
    WATER,
    ZOMBIE,
)
from llm4teach.envs.kernels.jit import compiled

CANNOT, WANDER = -1, -2  # instead of an action: none, or any step over floor
_CELLS = ROWS * COLUMNS
_AHEAD = 4.0  # steps that a frontier straight ahead may be farther than one at the side
_FEW = 500  # poses looked at to face something
_IRON_PICKAXE, _IRON_SWORD = OPTION_MAKE + 2, OPTION_MAKE + 5
_IN_REACH = 1  # of a table or furnace, in rows and columns


@compiled
def ground_all(
    records: NDArray[np.uint8],
    options: NDArray[np.int64],
    shares: NDArray[np.float64],
    paths: Any,
    probs: NDArray[np.float32],
) -> None:
    """Add the policies of each record's options to its action probabilities.

    Args:
        records: uint8 (N, RECORD).
        options: of each record, int (N, K); -1 for none.
        shares: their probabilities, (N, K).
        paths: arrays to search with.
        probs: zeros, (N, n_actions); afterwards a row sums to the share of the options that act.
    """
    for i in range(len(records)):
        view = records[i, PIXELS:]
        searched = False
        for k in range(options.shape[1]):
            if options[i, k] < 0 or has_given_up(view, options[i, k]):
                continue
            if not searched and not view[ASLEEP]:
                search(view, paths)
                searched = True
            action = decide(view, paths, options[i, k])
            if action >= 0:
                probs[i, action] += shares[i, k]
            elif action == WANDER:
                _wander(view, paths, shares[i, k], probs[i])


@compiled
def _wander(view: Any, paths: Any, share: float, row: Any) -> None:
    """Divide a share among the steps over floor, or among all directions if there is none."""
    start = int(view[ROW]) * COLUMNS + int(view[COLUMN])
    is_free = np.zeros(5, np.bool_)
    for d in range(1, 5):
        cell = neighbor(start, d)
        is_free[d] = cell >= 0 and paths.costs[cell] > 0
    if not is_free.any():
        is_free[1:] = True
    for d in range(1, 5):
        if is_free[d]:
            row[d] += share / is_free.sum()


@compiled
def has_given_up(view: Any, option: int) -> bool:
    """Whether an option has been tried in vain for long enough."""
    return bool(view[VAIN + option] >= TRIES[option] or view[IDLE] >= PATIENCE[option])


@compiled
def decide(view: Any, paths: Any, option: int) -> int:
    """Return the option's action, `CANNOT`, or `WANDER`; `search` has filled the paths."""
    if view[ASLEEP]:
        return NOOP
    if option == EXPLORE:
        return _explore(view, paths)
    if option == SLEEP_OPTION:
        return SLEEP
    if option == COLLECT_SAPLING:
        return _face(view, paths, option, -1)
    if option == EAT_PLANT:
        return _eat_plant(view, paths)
    if option in (EAT_COW, FIGHT_ZOMBIE, FIGHT_SKELETON):
        mob = COW if option == EAT_COW else (ZOMBIE if option == FIGHT_ZOMBIE else SKELETON)
        return _do_to(view, paths, UNKNOWN, mob)
    if option >= OPTION_MAKE:
        return _make(view, paths, option)
    if option >= OPTION_PLACE:
        return _place(view, paths, option)
    return _do_to(view, paths, material_of(option), 0)


@compiled
def material_of(option: int) -> int:
    """The kind of block that an option collects or drinks."""
    if option == COLLECT_WOOD:
        return TREE
    if option == COLLECT_STONE:
        return STONE
    return WATER if option == DRINK else COAL + option - COLLECT_STONE - 1


@compiled
def _do_to(view: Any, paths: Any, kind: int, mob: int) -> int:
    """Go to the nearest block of a kind, or creature, face it, and do."""
    nearest, target, place = FAR, -1, -1
    for cell in range(_CELLS):
        wanted = paths.mobs[cell] == mob if mob else view[MAP + cell] == kind
        if wanted:
            distance, beside = beside_distance(paths, cell)
            if distance < nearest:
                nearest, target, place = distance, cell, beside
    return CANNOT if target < 0 else _use(view, paths, place, target)


@compiled
def _use(view: Any, paths: Any, place: int, target: int) -> int:
    """Go to a place, face the target beside it, and do."""
    start = int(view[ROW]) * COLUMNS + int(view[COLUMN])
    if place != start:
        return _step(view, paths, start, place)
    for d in range(1, 5):
        if neighbor(start, d) == target:
            return DO if view[FACING] == d else d
    return CANNOT


@compiled
def _step(view: Any, paths: Any, start: int, place: int) -> int:
    """One step towards a place that can be reached; stone in the way is faced, then dug."""
    d = first_step(paths, start, place)
    digs = view[MAP + neighbor(start, d)] == STONE and view[FACING] == d
    return DO if digs else d


@compiled
def _eat_plant(view: Any, paths: Any) -> int:
    """Go to a ripe plant and eat it; without one, go to the own plant, or another, and wait."""
    action = _do_to(view, paths, RIPE_PLANT, 0)
    if action != CANNOT:
        return action
    if view[PLANT_ROW] != NO_PLANT:
        cell = int(view[PLANT_ROW]) * COLUMNS + int(view[PLANT_COLUMN])
        distance, place = beside_distance(paths, cell)
        action = _use(view, paths, place, cell) if distance < FAR else CANNOT
    else:
        action = _do_to(view, paths, PLANT, 0)
    return CANNOT if action == DO and _ahead(view) == PLANT else action


@compiled
def _ahead(view: Any) -> int:
    """Kind of the block that the player faces."""
    cell = neighbor(int(view[ROW]) * COLUMNS + int(view[COLUMN]), int(view[FACING]))
    return int(view[MAP + cell]) if cell >= 0 else UNKNOWN


@compiled
def _fits(view: Any, paths: Any, cell: int, option: int) -> bool:
    """Whether what an option places, or looks for, may be in this cell."""
    if cell < 0 or paths.mobs[cell]:
        return False
    kind = view[MAP + cell]
    if option == COLLECT_SAPLING or option == OPTION_PLACE + PLACE_PLANT - PLACE_STONE:
        return bool(kind == GRASS)
    if option == OPTION_PLACE and kind in (WATER, LAVA):
        return True
    return is_floor(kind)


@compiled
def _face(view: Any, paths: Any, option: int, table: int) -> int:
    """Take the shortest way to face a fitting cell; then act.

    Args:
        view: uint8 (VIEW,).
        paths: with the creatures.
        option: whose action it is.
        table: a cell to stay in reach of, or -1.
    """
    poses = np.empty(4 * _FEW, np.int64)
    first = np.empty(4 * _FEW, np.int64)
    seen = np.zeros(4 * _CELLS, np.bool_)
    poses[0] = (int(view[ROW]) * COLUMNS + int(view[COLUMN])) * 4 + int(view[FACING]) - 1
    seen[poses[0]], first[0] = True, 0
    head, tail = 0, 1
    while head < tail and head < _FEW:
        cell, facing = poses[head] // 4, poses[head] % 4 + 1
        stays = table < 0 or in_reach(cell, table)
        if stays and _fits(view, paths, neighbor(cell, facing), option):
            if head:
                return int(first[head])
            return DO if option == COLLECT_SAPLING else PLACE_STONE + option - OPTION_PLACE
        for d in range(1, 5):
            ahead = neighbor(cell, d)
            if ahead >= 0 and view[MAP + ahead] != LAVA and view[MAP + ahead] != UNKNOWN:
                is_free = is_floor(view[MAP + ahead]) and (
                    not paths.mobs[ahead] or paths.mobs[ahead] == ARROW
                )
                pose = (ahead if is_free else cell) * 4 + d - 1
                if not seen[pose]:
                    seen[pose] = True
                    poses[tail], first[tail] = pose, first[head] if head else d
                    tail += 1
        head += 1
    return CANNOT


@compiled
def in_reach(cell: int, block: int) -> bool:
    """Whether a table or furnace can be used from a cell."""
    rows = abs(cell // COLUMNS - block // COLUMNS)
    columns = abs(cell % COLUMNS - block % COLUMNS)
    return max(rows, columns) <= _IN_REACH


@compiled
def nearest_user(view: Any, paths: Any, both: bool) -> tuple[int, int]:
    """Nearest cell in reach of a table, or of a table and a furnace, and its distance.

    Returns:
        The cell, or -1, and its distance.
    """
    nearest, place = FAR, -1
    for block in range(_CELLS):
        if view[MAP + block] == TABLE:
            for cell in range(max(0, block - COLUMNS - 1), min(_CELLS, block + COLUMNS + 2)):
                is_nearer = paths.distances[cell] < nearest and in_reach(cell, block)
                if is_nearer and (not both or _reaches(view, cell, FURNACE)):
                    nearest, place = paths.distances[cell], cell
    return place, nearest


@compiled
def _reaches(view: Any, cell: int, kind: int) -> bool:
    r, c = cell // COLUMNS, cell % COLUMNS
    for row in range(max(0, r - 1), min(ROWS, r + 2)):
        for column in range(max(0, c - 1), min(COLUMNS, c + 2)):
            if view[MAP + row * COLUMNS + column] == kind:
                return True
    return False


@compiled
def _make(view: Any, paths: Any, option: int) -> int:
    """Go to a table, of iron tools to one beside a furnace if there is one, and make it."""
    start = int(view[ROW]) * COLUMNS + int(view[COLUMN])
    place = -1
    if option in (_IRON_PICKAXE, _IRON_SWORD):
        place, _ = nearest_user(view, paths, True)
    if place < 0:
        place, _ = nearest_user(view, paths, False)
    if place < 0:
        return CANNOT
    return MAKE + option - OPTION_MAKE if place == start else _step(view, paths, start, place)


@compiled
def _place(view: Any, paths: Any, option: int) -> int:
    """Face a cell that has room, and place it there; a furnace beside a table if there is one."""
    if option != OPTION_PLACE + PLACE_FURNACE - PLACE_STONE:
        return _face(view, paths, option, -1)
    start = int(view[ROW]) * COLUMNS + int(view[COLUMN])
    place, _ = nearest_user(view, paths, False)
    if place < 0:
        return _face(view, paths, option, -1)
    if place != start:
        return _step(view, paths, start, place)
    for table in range(max(0, start - COLUMNS - 1), min(_CELLS, start + COLUMNS + 2)):
        if view[MAP + table] == TABLE and in_reach(start, table):
            action = _face(view, paths, option, table)
            if action != CANNOT:
                return action
    if view[HELD + MATERIALS]:  # walled in: dig a niche
        if _ahead(view) == STONE:
            return DO
        for d in range(1, 5):
            cell = neighbor(start, d)
            if cell >= 0 and view[MAP + cell] == STONE:
                return d
    return _face(view, paths, option, -1)


@compiled
def _explore(view: Any, paths: Any) -> int:
    """Go to the edge of what was seen, rather ahead than back."""
    start = int(view[ROW]) * COLUMNS + int(view[COLUMN])
    heading_row = float(view[HEADING_ROW]) - NOWHERE
    heading_column = float(view[HEADING_COLUMN]) - NOWHERE
    length = np.sqrt(heading_row**2 + heading_column**2) + 1e-6
    best, place = 1e9, -1
    for cell in range(_CELLS):
        distance = paths.distances[cell]
        if 0 < distance < FAR and _is_frontier(view, cell):
            down, right = cell // COLUMNS - start // COLUMNS, cell % COLUMNS - start % COLUMNS
            along = down * heading_row + right * heading_column
            cosine = along / length / np.sqrt(float(down * down + right * right))
            if distance - _AHEAD * cosine < best:
                best, place = distance - _AHEAD * cosine, cell
    return _step(view, paths, start, place) if place >= 0 else WANDER


@compiled
def _is_frontier(view: Any, cell: int) -> bool:
    for d in range(1, 5):
        beside = neighbor(cell, d)
        if beside >= 0 and view[MAP + beside] == UNKNOWN:
            return True
    return False
