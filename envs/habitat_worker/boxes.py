"""Boxes on a floor: clearance, contact, ray casting and lines of sight."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = Any  # numpy's own types cannot be written for Python 3.9 and numpy 1.26 alike
_TOUCHES = 4  # boxes that a disc can be pressed against at once, and more


class Boxes:
    """Axis-aligned boxes, each standing on the floor.

    Args:
        bounds: float (B, 4): lowest x and y, highest x and y, in metres.
        heights: float (B,), in metres.
    """

    def __init__(self, bounds: Array, heights: Array) -> None:
        self.bounds = np.asarray(bounds, float).reshape(-1, 4)
        self.heights = np.asarray(heights, float)
        self._x0, self._y0, self._x1, self._y1 = np.ascontiguousarray(self.bounds.T)  # each (B,)
        self._middle_x, self._half_x = (self._x0 + self._x1) / 2, (self._x1 - self._x0) / 2
        self._middle_y, self._half_y = (self._y0 + self._y1) / 2, (self._y1 - self._y0) / 2

    def clearance(self, x: Array, y: Array) -> Array:
        """Distance from points (N,) to the nearest box, 0 inside one; float (N,)."""
        squared: Array = self._squared(np.asarray(x)[:, None], np.asarray(y)[:, None])  # (N, B)
        return np.sqrt(squared.min(1))

    def _squared(self, x: Array, y: Array) -> Array:
        """Squared distance to each box."""
        gap_x = np.maximum(np.abs(self._middle_x - x) - self._half_x, 0)
        gap_y = np.maximum(np.abs(self._middle_y - y) - self._half_y, 0)
        return gap_x * gap_x + gap_y * gap_y

    def is_free(self, x: float, y: float, radius: float) -> bool:
        """Whether a disc touches no box."""
        return bool(self._squared(x, y).min() >= radius * radius)

    def push_out(self, x: float, y: float, radius: float) -> tuple[float, float] | None:
        """Move a disc out of the boxes that it touches, each time straight away from the nearest.

        Returns:
            Where it ends; None if it is stuck between boxes, or its middle is in one.
        """
        for _ in range(_TOUCHES):
            squared = self._squared(x, y)  # (B,)
            n = int(squared.argmin())
            distance = math.sqrt(squared[n])
            if distance >= radius:
                return x, y
            if distance == 0:
                return None
            push = (radius + 1e-9) / distance
            from_x = min(max(x, self._x0[n]), self._x1[n])  # the nearest point of the box
            from_y = min(max(y, self._y0[n]), self._y1[n])
            x, y = float(from_x + (x - from_x) * push), float(from_y + (y - from_y) * push)
        return None

    def within(self, x: float, y: float, distance: float) -> Array:
        """Numbers of the boxes within a distance of a point."""
        return np.flatnonzero(self._squared(x, y) <= distance * distance)

    def distances(self, x: float, y: float, rays: Array, among: Array | None = None) -> Array:
        """How far rays go from a point until they enter each box; inf where they miss it.

        Args:
            x: of the point, as ``y``, in metres; not inside a box.
            y: see ``x``.
            rays: unit vectors, float (2, R), no component exactly 0; see `directions`.
            among: numbers of the boxes to look at, all by default.

        Returns:
            float (R, B), in metres.
        """
        pick = slice(None) if among is None else among
        inverse_x, inverse_y = 1.0 / rays[:, :, None]  # each (R, 1)
        x_0, x_1 = (self._x0[pick] - x) * inverse_x, (self._x1[pick] - x) * inverse_x  # (R, B)
        y_0, y_1 = (self._y0[pick] - y) * inverse_y, (self._y1[pick] - y) * inverse_y
        enter = np.maximum(np.minimum(x_0, x_1), np.minimum(y_0, y_1))
        leave = np.minimum(np.maximum(x_0, x_1), np.maximum(y_0, y_1))
        missed = (enter > leave) | (leave < 0)
        found: Array = np.where(missed, np.inf, np.maximum(enter, 0))
        return found

    def ranges(self, x: float, y: float, rays: Array, most: float) -> Array:
        """How far each ray goes until it meets any box, at most ``most``; float (R,), metres."""
        found = self.distances(x, y, rays, self.within(x, y, most))
        return np.minimum(found.min(1, initial=most), most)

    def at(self, x: float, y: float) -> int:
        """The box on which a place is; -1 for none."""
        x0, y0, x1, y1 = self.bounds.T
        on = np.flatnonzero((x0 <= x) & (x <= x1) & (y0 <= y) & (y <= y1))
        return int(on[0]) if len(on) else -1

    def reaches(self, x: float, y: float, to_x: float, to_y: float) -> bool:
        """Whether nothing but what the place is on stands before it: arms go through no wall."""
        return self.sees(x, y, to_x, to_y, self.at(to_x, to_y))

    def sees(self, x: float, y: float, to_x: float, to_y: float, through: int = -1) -> bool:
        """Whether no box but number ``through`` stands between two points."""
        length = max(math.hypot(to_x - x, to_y - y), 1e-9)
        ray = np.array([[(to_x - x) / length], [(to_y - y) / length]])
        ray[np.abs(ray) < 1e-9] = 1e-9
        found = self.distances(x, y, ray)[0]  # (B,)
        if through >= 0:
            found[through] = np.inf
        return bool(found.min() >= length)


def directions(angles: Array) -> Array:
    """Unit vectors, float (2, N), of angles in radians; no component is exactly 0."""
    vectors = np.array([np.cos(angles), np.sin(angles)])
    vectors[np.abs(vectors) < 1e-9] = 1e-9
    return vectors
