"""Generated apartments: rooms with doorways, furniture, one table and the objects to pick up."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from llm4teach.envs.habitat.worker.kinematic.boxes import Boxes
from llm4teach.envs.habitat.worker.kinematic.navigable import NavigableArea, RouteMap
from llm4teach.envs.habitat.worker.layout import HELD_OUT_START, SCENES, Array

ROBOT_RADIUS_M = 0.18
_WALL_M, _WALL_HEIGHT_M, _DOOR_M = 0.1, 2.5, 1.0
_TABLE_HEIGHT_M = 0.75
_ATTEMPTS = 200


@dataclass(frozen=True)
class Pickable:
    """Something that can be picked up, and the box that it lies on."""

    x: float
    y: float
    z: float
    box: int


@dataclass(frozen=True)
class Apartment:
    """One scene; lengths in meters, the origin in a corner, y to the left of x."""

    name: str
    width: float
    depth: float
    boxes: Boxes
    table: int  # its number among the boxes
    things: tuple[Pickable, ...]  # the first is the one to pick up, on the table
    room_middles: Array  # float (n_rooms, 2): free places
    area: NavigableArea
    routes: RouteMap

    @property
    def table_middle(self) -> tuple[float, float]:
        """Where the table stands."""
        x0, y0, x1, y1 = self.boxes.bounds[self.table]
        return float(x0 + x1) / 2, float(y0 + y1) / 2


def scene_name(seed: int) -> str:
    """The apartment of the episode with this seed; held-out seeds have apartments of their own."""
    number = seed % SCENES + (SCENES if seed >= HELD_OUT_START else 0)
    return f"apartment-{number:04d}"


@lru_cache(maxsize=2 * SCENES)
def apartment(name: str) -> Apartment:
    """Return the apartment of this name; the name determines it."""
    number = int(name.rpartition("-")[2])
    for attempt in range(_ATTEMPTS):
        scene = _generate(name, np.random.default_rng((number, attempt)))
        if scene is not None:
            return scene
    raise RuntimeError(f"no apartment can be scene for {name!r}")


def _generate(name: str, rng: np.random.Generator) -> Apartment | None:
    columns, rows = int(rng.integers(2, 4)), 2
    xs = np.append(0, np.cumsum(rng.integers(6, 9, columns))) * 0.5  # walls, (columns + 1,)
    ys = np.append(0, np.cumsum(rng.integers(6, 9, rows))) * 0.5
    walls, doors = _walls(xs, ys, rng)
    bounds, heights = list(walls), [_WALL_HEIGHT_M] * len(walls)

    rooms = [(i, j) for i in range(columns) for j in range(rows)]
    table_room = rooms[int(rng.integers(len(rooms)))]
    table = len(bounds)
    for room in sorted(rooms, key=lambda r: r != table_room):  # the table before other furniture
        i, j = room
        inside = (xs[i] + _WALL_M, ys[j] + _WALL_M, xs[i + 1] - _WALL_M, ys[j + 1] - _WALL_M)
        for piece in range(int(rng.integers(2, 5)) + (room == table_room)):
            is_table = room == table_room and piece == 0
            size = (1.2, 0.7) if is_table else tuple(rng.uniform(0.4, 1.2, 2))
            box = _place(inside, size, bounds[len(walls) :], doors, rng)
            if box is not None:
                bounds.append(box)
                heights.append(_TABLE_HEIGHT_M if is_table else float(rng.uniform(0.4, 1.8)))
            elif is_table:
                return None
    boxes = Boxes(np.array(bounds), np.array(heights))
    things = _things(boxes, table, len(walls), rng)
    area = NavigableArea(boxes, float(xs[-1]), float(ys[-1]), ROBOT_RADIUS_M)
    if not area.connect(things[0].x, things[0].y):
        return None
    routes = RouteMap(boxes, float(xs[-1]), float(ys[-1]), ROBOT_RADIUS_M)
    middles = np.array(
        [[(xs[i] + xs[i + 1]) / 2, (ys[j] + ys[j + 1]) / 2] for i, j in rooms]
    )  # (n_rooms, 2)
    free = np.array([routes.nearest_free(x, y) for x, y in middles])
    if not routes.connect(things[0].x, things[0].y, free):
        return None
    return Apartment(name, float(xs[-1]), float(ys[-1]), boxes, table, things, free, area, routes)


def _walls(xs: Array, ys: Array, rng: np.random.Generator) -> tuple[list[Array], list[Array]]:
    """Walls around every room, and the middles of the doorways in them."""
    half = _WALL_M / 2
    walls: list[Array] = []
    doors: list[Array] = []
    for vertical, lines, others in ((True, xs, ys), (False, ys, xs)):
        for n, line in enumerate(lines):
            for low, high in zip(others[:-1], others[1:]):
                spans = [(low - half, high + half)]
                if 0 < n < len(lines) - 1:
                    at = low + 0.5 * rng.integers(2, round((high - low) / 0.5) - 1)
                    spans = [(low - half, at - _DOOR_M / 2), (at + _DOOR_M / 2, high + half)]
                    doors.append(np.array([line, at] if vertical else [at, line]))
                for a, b in spans:
                    span = (line - half, a, line + half, b)
                    walls.append(np.array(span if vertical else (a, line - half, b, line + half)))
    return walls, doors


def _place(
    inside: tuple[float, ...],
    size: tuple[float, ...],
    others: list[Array],
    doors: list[Array],
    rng: np.random.Generator,
) -> Array | None:
    """A box in a room that leaves doorways free and stands apart from others, or None."""
    x0, y0, x1, y1 = inside
    away = [(door[0], door[1], door[0], door[1]) for door in doors]
    obstacles = np.array([(*other,) for other in others] + away)  # (others + doors, 4)
    margins = np.array([0.45] * len(others) + [0.6] * len(doors))
    for _ in range(20):
        w, d = size if rng.random() < 0.5 else size[::-1]
        if x1 - x0 <= w or y1 - y0 <= d:
            continue
        x, y = rng.uniform(x0, x1 - w), rng.uniform(y0, y1 - d)
        beside_x = (x - margins >= obstacles[:, 2]) | (x + w + margins <= obstacles[:, 0])
        beside_y = (y - margins >= obstacles[:, 3]) | (y + d + margins <= obstacles[:, 1])
        if (beside_x | beside_y).all():
            return np.array([x, y, x + w, y + d])
    return None


def _things(boxes: Boxes, table: int, walls: int, rng: np.random.Generator) -> tuple[Pickable, ...]:
    """The object to pick up, near an edge of the table, and others on other furniture."""
    furniture = [n for n in range(walls, len(boxes.bounds)) if n != table]
    places = [table, *(int(n) for n in rng.permutation(furniture)[:2])]
    things = []
    for n in places:
        x0, y0, x1, y1 = boxes.bounds[n]
        edge, along = rng.integers(4), rng.uniform(0.25, 0.75)
        inset = 0.15
        x = (x0 + inset, x1 - inset, x0 + along * (x1 - x0), x0 + along * (x1 - x0))[edge]
        y = (y0 + along * (y1 - y0), y0 + along * (y1 - y0), y0 + inset, y1 - inset)[edge]
        things.append(Pickable(float(x), float(y), float(boxes.heights[n]), n))
    return tuple(things)
