"""The kinematic world from above, for films of episodes."""

from __future__ import annotations

import math

import numpy as np

from llm4teach.envs.habitat.worker.apartment import ROBOT_RADIUS_M
from llm4teach.envs.habitat.worker.boxes import Array
from llm4teach.envs.habitat.worker.layout import REACH_M
from llm4teach.envs.habitat.worker.world import TARGET, World

PIXELS_A_METRE = 32
_FLOOR, _WALL, _FURNITURE = (236, 233, 226), (72, 72, 80), (171, 164, 152)
_TABLE, _ROBOT, _NOSE, _ARM = (150, 104, 62), (44, 110, 187), (255, 255, 255), (220, 140, 30)
_THING, _OTHER, _TOUCH = (205, 44, 44), (120, 160, 90), (214, 60, 160)
_WALL_HEIGHT_M = 2.0  # furniture is lower


def draw(world: World) -> Array:
    """Return a picture, uint8 (height, width, 3) RGB, north up."""
    scene = world.scene
    columns = round(scene.width * PIXELS_A_METRE)
    rows = round(scene.depth * PIXELS_A_METRE)
    x = (np.arange(columns) + 0.5) / PIXELS_A_METRE  # (columns,)
    y = scene.depth - (np.arange(rows)[:, None] + 0.5) / PIXELS_A_METRE  # (rows, 1)
    image = np.full((rows, columns, 3), _FLOOR, np.uint8)
    for n, (x0, y0, x1, y1) in enumerate(scene.boxes.bounds):
        furniture = _TABLE if n == scene.table else _FURNITURE
        colour = _WALL if scene.boxes.heights[n] > _WALL_HEIGHT_M else furniture
        image[(x >= x0) & (x < x1) & (y >= y0) & (y < y1)] = colour

    def dot(at_x: float, at_y: float, radius: float, colour: tuple[int, int, int]) -> None:
        image[(x - at_x) ** 2 + (y - at_y) ** 2 <= radius * radius] = colour

    ahead, aside = math.cos(world.heading), math.sin(world.heading)
    for step in np.linspace(0, REACH_M, 24) if world.arm_out else ():
        dot(world.x + step * ahead, world.y + step * aside, 0.05, _ARM)
    dot(world.x, world.y, ROBOT_RADIUS_M, _TOUCH if world.blocked else _ROBOT)
    dot(world.x + 0.1 * ahead, world.y + 0.1 * aside, 0.06, _NOSE)
    for n, thing in enumerate(scene.things):
        place = thing.x, thing.y
        if n == world.holds:
            place = world.x + REACH_M * ahead, world.y + REACH_M * aside
        dot(*place, 0.09, _THING if n == TARGET else _OTHER)
    return image
