"""Pictures of the kinematic world: the depth camera, and the view from above for films."""

from __future__ import annotations

import math

import numpy as np

from llm4teach.envs.habitat.worker.kinematic.apartment import ROBOT_RADIUS_M
from llm4teach.envs.habitat.worker.kinematic.boxes import Boxes, directions
from llm4teach.envs.habitat.worker.kinematic.world import TARGET, World
from llm4teach.envs.habitat.worker.layout import (
    DEPTH_COLUMNS,
    DEPTH_ROWS,
    MAX_DEPTH_M,
    REACH_M,
    Array,
)

PIXELS_PER_METER = 32
_FLOOR, _WALL, _FURNITURE = (236, 233, 226), (72, 72, 80), (171, 164, 152)
_TABLE, _ROBOT, _NOSE, _ARM = (150, 104, 62), (44, 110, 187), (255, 255, 255), (220, 140, 30)
_THING, _OTHER, _TOUCH = (205, 44, 44), (120, 160, 90), (214, 60, 160)
_WALL_HEIGHT_M = 2.0  # furniture is lower

CAMERA_HEIGHT_M = 1.1
HORIZONTAL_VIEW = math.radians(90)
PITCH = math.radians(-15)  # it looks down a little, where the furniture is

_side = math.tan(HORIZONTAL_VIEW / 2) * (1 - 2 * (np.arange(DEPTH_COLUMNS) + 0.5) / DEPTH_COLUMNS)
_AZIMUTHS = np.arctan(_side)  # of the columns, from left to right
_up = (1 - 2 * (np.arange(DEPTH_ROWS - 1) + 0.5) / (DEPTH_ROWS - 1)) * DEPTH_ROWS / DEPTH_COLUMNS
_SLOPES = np.tan(np.arctan(_up) + PITCH)[:, None] * np.cos(_AZIMUTHS)  # rise a meter of floor


def depth_image(boxes: Boxes, x: float, y: float, heading: float) -> Array:
    """Horizontal distance to what each pixel shows, float (DEPTH_ROWS - 1, DEPTH_COLUMNS).

    In meters, at most `MAX_DEPTH_M`; the top row first. It shows the fronts and tops of boxes, and
    the floor.
    """
    rays = directions(heading + _AZIMUTHS)
    enter, leave = (crossed.T for crossed in boxes.crossings(x, y, rays))  # each (columns, B)
    order = np.argsort(enter, 1)[:, :6]  # hardly a ray meets more boxes within sight
    near = np.take_along_axis(enter, order, 1)  # (columns, 6)
    far = np.take_along_axis(leave, order, 1)
    heights = boxes.heights[order]
    slopes = _SLOPES[:, :, None]  # (rows, columns, 1)
    hit = CAMERA_HEIGHT_M + slopes * np.minimum(near, 1e3)  # (rows, columns, 6)
    front = (hit >= 0) & (hit <= heights)
    top = (heights - CAMERA_HEIGHT_M) / np.minimum(slopes, -1e-9)  # where a ray is down at the top
    on_top = (slopes < 0) & (top >= near) & (top <= far)
    seen = np.where(front, near, np.where(on_top, top, np.inf)).min(2)
    floor = np.where(_SLOPES < 0, -CAMERA_HEIGHT_M / np.minimum(_SLOPES, -1e-9), np.inf)
    depth: Array = np.minimum(np.minimum(seen, floor), MAX_DEPTH_M)
    return depth


def draw(world: World) -> Array:
    """Return a picture, uint8 (height, width, 3) RGB, north up."""
    scene = world.scene
    columns = round(scene.width * PIXELS_PER_METER)
    rows = round(scene.depth * PIXELS_PER_METER)
    x = (np.arange(columns) + 0.5) / PIXELS_PER_METER  # (columns,)
    y = scene.depth - (np.arange(rows)[:, None] + 0.5) / PIXELS_PER_METER  # (rows, 1)
    image = np.full((rows, columns, 3), _FLOOR, np.uint8)
    for n, (x0, y0, x1, y1) in enumerate(scene.boxes.bounds):
        furniture = _TABLE if n == scene.table else _FURNITURE
        color = _WALL if scene.boxes.heights[n] > _WALL_HEIGHT_M else furniture
        image[(x >= x0) & (x < x1) & (y >= y0) & (y < y1)] = color

    def dot(at_x: float, at_y: float, radius: float, color: tuple[int, int, int]) -> None:
        image[(x - at_x) ** 2 + (y - at_y) ** 2 <= radius * radius] = color

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
