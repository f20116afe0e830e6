"""A depth camera by ray casting over boxes that stand on a floor."""

from __future__ import annotations

import math

import numpy as np

from llm4teach.envs.habitat.worker.boxes import Array, Boxes, directions
from llm4teach.envs.habitat.worker.layout import DEPTH_COLUMNS, DEPTH_ROWS, MAX_DEPTH_M

CAMERA_HEIGHT_M = 1.1
HORIZONTAL_VIEW = math.radians(90)
PITCH = math.radians(-15)  # it looks down a little, where the furniture is

_side = math.tan(HORIZONTAL_VIEW / 2) * (1 - 2 * (np.arange(DEPTH_COLUMNS) + 0.5) / DEPTH_COLUMNS)
_AZIMUTHS = np.arctan(_side)  # of the columns, from left to right
_up = (1 - 2 * (np.arange(DEPTH_ROWS - 1) + 0.5) / (DEPTH_ROWS - 1)) * DEPTH_ROWS / DEPTH_COLUMNS
_SLOPES = np.tan(np.arctan(_up) + PITCH)[:, None] * np.cos(_AZIMUTHS)  # rise a metre of floor


def depth_image(boxes: Boxes, x: float, y: float, heading: float) -> Array:
    """Horizontal distance to what each pixel shows, float (DEPTH_ROWS - 1, DEPTH_COLUMNS).

    In metres, at most `MAX_DEPTH_M`; the top row first. Things end at the boxes' heights, and the
    floor is seen below them; tops are not drawn.
    """
    found = boxes.distances(x, y, directions(heading + _AZIMUTHS)).T  # (columns, B)
    order = np.argsort(found, 1)[:, :6]  # hardly a ray meets more boxes within sight
    near = np.take_along_axis(found, order, 1)  # (columns, 6)
    heights = boxes.heights[order]
    hit = CAMERA_HEIGHT_M + _SLOPES[:, :, None] * np.minimum(near, 1e3)  # (rows, columns, 6)
    seen = np.where((hit >= 0) & (hit <= heights), near, np.inf).min(2)
    floor = np.where(_SLOPES < 0, -CAMERA_HEIGHT_M / np.minimum(_SLOPES, -1e-9), np.inf)
    depth: Array = np.minimum(np.minimum(seen, floor), MAX_DEPTH_M)
    return depth
