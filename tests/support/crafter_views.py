"""Hand-made views of Crafter, and the readable versions of what its kernels compute."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from llm4teach.envs.crafter import symbols as s

CHARACTERS = {
    **{" ": s.UNKNOWN, ".": s.GRASS, "@": s.GRASS, "~": s.WATER, "#": s.STONE, "T": s.TREE},
    **{"_": s.PATH, "c": s.COAL, "i": s.IRON, "d": s.DIAMOND, "t": s.TABLE, "f": s.FURNACE},
    **{"s": s.SAND, "!": s.LAVA, "p": s.PLANT, "P": s.RIPE_PLANT},
}
TOP, LEFT = 20, 20  # where hand-made maps lie in the world
LEFT_, RIGHT, UP, DOWN = 1, 2, 3, 4


def record(
    rows: Sequence[str],
    facing: int = UP,
    held: Mapping[str, int] | None = None,
    mobs: Mapping[tuple[int, int], int] | None = None,
    vitals: Sequence[int] = (9, 9, 9, 9),
) -> NDArray[np.uint8]:
    """Return a record of a map drawn with `CHARACTERS`, the player on its ``@``.

    ``mobs`` are creatures by row and column from the player.
    """
    made = np.zeros(s.RECORD, np.uint8)
    view = made[s.PIXELS :]
    for r, row in enumerate(rows):
        for c, character in enumerate(row):
            view[s.MAP + (TOP + r) * s.COLUMNS + LEFT + c] = CHARACTERS[character]
            if character == "@":
                view[s.ROW], view[s.COLUMN] = TOP + r, LEFT + c
    view[s.FACING], view[s.LIGHT] = facing, 100
    view[s.HEALTH : s.HEALTH + 4] = vitals
    for name, count in (held or {}).items():
        view[s.HELD + s.ITEMS.index(name)] = count
    for (r, c), mob in (mobs or {}).items():
        view[s.MOBS + (r + s.SEEN_ROWS // 2) * s.SEEN_COLUMNS + c + s.SEEN_COLUMNS // 2] = mob
    view[s.HEADING_ROW] = view[s.HEADING_COLUMN] = s.NOWHERE
    view[s.PLANT_ROW] = s.NO_PLANT
    return made


def distances(view: NDArray[np.uint8]) -> dict[tuple[int, int], int]:
    """Costs of the cheapest ways from the player, by cell (Dijkstra, with a heap)."""
    cells = view[s.MAP : s.MOBS].reshape(s.ROWS, s.COLUMNS)
    player = int(view[s.ROW]), int(view[s.COLUMN])
    blocked = set()
    for k, mob in enumerate(view[s.MOBS : s.STATUS]):
        if mob not in (0, s.ARROW):
            down, right = divmod(k, s.SEEN_COLUMNS)
            blocked.add((player[0] + down - 3, player[1] + right - 4))

    def around(cell: tuple[int, int]) -> list[tuple[int, int]]:
        near = [(cell[0] + a, cell[1] + b) for a, b in ((0, -1), (0, 1), (-1, 0), (1, 0))]
        return [(r, c) for r, c in near if 0 <= r < s.ROWS and 0 <= c < s.COLUMNS]

    def cost(cell: tuple[int, int]) -> int:
        kind = cells[cell]
        base = 1 if kind in (s.GRASS, s.SAND, s.PATH) else 0
        if kind == s.STONE and view[s.HELD + s.ITEMS.index("wood pickaxe")]:
            base = 3
        if not base or cell in blocked:
            return 0
        return base + 2 * any(cells[other] == s.LAVA for other in around(cell))

    found: dict[tuple[int, int], int] = {}
    queue = [(0, player)]
    while queue:
        distance, cell = heapq.heappop(queue)
        if cell not in found:
            found[cell] = distance
            for other in around(cell):
                if cost(other) and other not in found:
                    heapq.heappush(queue, (distance + cost(other), other))
    return found


def remembered(
    before: NDArray[np.uint8], shown: NDArray[np.uint8], action: int
) -> NDArray[np.uint8]:
    """Return the view, uint8 (VIEW,), after an action that led to these symbols."""
    n_local = s.SEEN_ROWS * s.SEEN_COLUMNS
    view = before.copy()
    view[s.STATUS : s.MEMORY] = shown[2 * n_local :]
    view[s.MOBS : s.STATUS] = shown[n_local : 2 * n_local]
    cells = view[s.MAP : s.MOBS].reshape(s.ROWS, s.COLUMNS)
    old = cells.copy()
    for k in range(n_local):
        r = int(view[s.ROW]) - 3 + k // s.SEEN_COLUMNS
        c = int(view[s.COLUMN]) - 4 + k % s.SEEN_COLUMNS
        if 0 <= r < s.ROWS and 0 <= c < s.COLUMNS and shown[k] > s.OUTSIDE:
            cells[r, c] = shown[k]

    def items(v: NDArray[np.uint8]) -> list[int]:
        return v[s.HELD : s.HELD + len(s.ITEMS)].tolist()

    def unlocked(v: NDArray[np.uint8]) -> int:
        return int(v[s.DONE : s.DONE + len(s.ACHIEVEMENTS)].sum())

    rose = {
        name: view[place] > before[place]
        for name, place in (("food", s.FOOD), ("drink", s.DRINK_LEVEL))
    }
    changed = items(view) != items(before)
    news = bool(((old == 0) & (cells > 0)).any()) or changed or unlocked(view) > unlocked(before)
    news = news or rose["food"] or rose["drink"] or bool(view[s.ASLEEP])
    view[s.IDLE] = 0 if news else min(255, int(before[s.IDLE]) + 1)

    row, column, facing = (int(before[k]) for k in (s.ROW, s.COLUMN, s.FACING))
    ahead = row + s.ROW_STEP[facing], column + s.COLUMN_STEP[facing]
    inside = 0 <= ahead[0] < s.ROWS and 0 <= ahead[1] < s.COLUMNS
    kind = int(old[ahead]) if inside else 0
    middle = (3 + s.ROW_STEP[facing]) * s.SEEN_COLUMNS + 4 + s.COLUMN_STEP[facing]
    is_mob = inside and before[s.MOBS + middle] > 0
    tried = None
    if not before[s.ASLEEP]:
        name = s.ACTIONS[action]
        on_block = {
            **{s.TREE: "collect wood", s.STONE: "collect stone", s.COAL: "collect coal"},
            **{s.IRON: "collect iron", s.DIAMOND: "collect diamond", s.GRASS: "collect sapling"},
            **{s.WATER: "drink water", s.PLANT: "eat plant", s.RIPE_PLANT: "eat plant"},
        }
        tried = name if name in s.OPTIONS else None
        if name == "do" and not is_mob:
            tried = on_block.get(kind)
    vain = view[s.VAIN : s.VAIN + len(s.OPTIONS)]
    if changed:
        vain[:] = 0
    if view[s.DRINK_LEVEL] < before[s.DRINK_LEVEL]:
        vain[s.DRINK] = 0
    if view[s.ENERGY] < before[s.ENERGY]:
        vain[s.SLEEP_OPTION] = 0
    if tried is not None:
        works = changed or {
            "drink water": rose["drink"],
            "eat plant": rose["food"],
            "sleep": bool(view[s.ASLEEP]),
        }.get(tried, False)
        k = s.OPTIONS.index(tried)
        vain[k] = 0 if works else min(255, int(vain[k]) + 1)

    moved = int(view[s.ROW]) - row, int(view[s.COLUMN]) - column
    if any(moved):
        for place, step in ((s.HEADING_ROW, moved[0]), (s.HEADING_COLUMN, moved[1])):
            heading = int(before[place]) - s.NOWHERE
            view[place] = s.NOWHERE + heading + (100 * step - heading) // 8

    if before[s.PLANT_ROW] == s.NO_PLANT:
        sapling = s.HELD + s.ITEMS.index("sapling")
        if action == s.PLACE_PLANT and view[sapling] < before[sapling]:
            view[s.PLANT_ROW], view[s.PLANT_COLUMN] = ahead
            view[s.PLANT_AGE : s.PLANT_AGE + 2] = 0
    else:
        place = int(before[s.PLANT_ROW]), int(before[s.PLANT_COLUMN])
        if cells[place] not in (s.PLANT, s.RIPE_PLANT):
            view[s.PLANT_ROW] = s.NO_PLANT
            view[s.PLANT_COLUMN : s.PLANT_AGE + 2] = 0
        else:
            age = int(before[s.PLANT_AGE]) * 256 + int(before[s.PLANT_AGE + 1]) + 1
            was_eaten = kind == s.RIPE_PLANT and cells[place] == s.PLANT
            if ahead == place and s.ACTIONS[action] == "do" and was_eaten:
                age = 0
            view[s.PLANT_AGE], view[s.PLANT_AGE + 1] = divmod(min(age, 65535), 256)
    return view
