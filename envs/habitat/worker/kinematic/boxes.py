"""Boxes on a floor: clearance, contact, ray casting and lines of sight."""

from __future__ import annotations

import math

import numpy as np

from llm4teach.envs.habitat.worker.layout import Array

MOST_RADIUS_M = 0.25  # of a disc
_SQUARE_M = 0.5  # side of the squares whose near boxes are kept
_TOUCHES = 4  # boxes that a disc can be pressed against at once, and more
_ROUNDING_M = 1e-6  # much more than what rounding can do to a length


class Boxes:
    """Axis-aligned boxes, each standing on the floor.

    What is asked at every step of an episode looks at few boxes, number by number: for fewer than
    some hundred of them numpy's calls cost more than what they do.

    Args:
        bounds: float (B, 4): lowest x and y, highest x and y, in meters.
        heights: float (B,), in meters.
    """

    def __init__(self, bounds: Array, heights: Array) -> None:
        self.bounds = np.asarray(bounds, float).reshape(-1, 4)
        self.heights = np.asarray(heights, float)
        x0, y0, x1, y1 = self.bounds.T  # each (B,)
        self._middle_x, self._half_x = (x0 + x1) / 2, (x1 - x0) / 2
        self._middle_y, self._half_y = (y0 + y1) / 2, (y1 - y0) / 2
        parts = self._middle_x, self._half_x, self._middle_y, self._half_y, x0, y0, x1, y1
        self._parts = list(zip(*(part.tolist() for part in parts)))  # of each box
        self._edges = np.array([[x0, y0], [x1, y1]])[:, :, :, None]  # (2, 2, B, 1)
        self._rows = [box[4:] for box in self._parts]
        self._near: dict[tuple[float, float], list[tuple[float, ...]]] = {}  # by square

    def clearance(self, x: Array, y: Array) -> Array:
        """Distance from points (N,) to the nearest box, 0 inside one; float (N,)."""
        squared: Array = self._squared(np.asarray(x)[:, None], np.asarray(y)[:, None])  # (N, B)
        return np.sqrt(squared.min(1))

    def _squared(self, x: Array, y: Array) -> Array:
        """Squared distance to each box."""
        gap_x = np.maximum(np.abs(self._middle_x - x) - self._half_x, 0)
        gap_y = np.maximum(np.abs(self._middle_y - y) - self._half_y, 0)
        return gap_x * gap_x + gap_y * gap_y

    def _nearest(self, x: float, y: float) -> tuple[float, tuple[float, ...]]:
        """The nearest box and its squared distance; more than `MOST_RADIUS_M` squared for none.

        Of the box: middle and half width, middle and half depth, then its bounds.
        """
        cell = x // _SQUARE_M, y // _SQUARE_M
        if cell not in self._near:
            self._near[cell] = self._beside(*cell)
        best = math.inf
        nearest: tuple[float, ...] = ()
        for box in self._near[cell]:
            gap_x, gap_y = abs(box[0] - x) - box[1], abs(box[2] - y) - box[3]
            squared = (gap_x * gap_x if gap_x > 0 else 0.0) + (gap_y * gap_y if gap_y > 0 else 0.0)
            if squared < best:
                best, nearest = squared, box
        return best, nearest

    def _beside(self, i: float, j: float) -> list[tuple[float, ...]]:
        """All boxes within `MOST_RADIUS_M` of a square, and perhaps some more."""
        most = MOST_RADIUS_M + 0.71 * _SQUARE_M  # half the square's diagonal
        squared = self._squared((i + 0.5) * _SQUARE_M, (j + 0.5) * _SQUARE_M)
        return [self._parts[n] for n in np.flatnonzero(squared <= most * most)]

    def is_free(self, x: float, y: float, radius: float) -> bool:
        """Whether a disc of at most `MOST_RADIUS_M` touches no box."""
        return self._nearest(x, y)[0] >= radius * radius

    def push_out(self, x: float, y: float, radius: float) -> tuple[float, float] | None:
        """Move a disc out of the boxes that it touches, each time straight away from the nearest.

        Returns:
            Where it ends; None if it is stuck between boxes, or its middle is in one.
        """
        for _ in range(_TOUCHES):
            squared, box = self._nearest(x, y)
            distance = math.sqrt(squared)
            if distance >= radius:
                return x, y
            if distance == 0:
                return None
            push = (radius + 1e-9) / distance
            x0, y0, x1, y1 = box[4:]
            from_x, from_y = min(max(x, x0), x1), min(max(y, y0), y1)  # the box's nearest point
            x, y = from_x + (x - from_x) * push, from_y + (y - from_y) * push
        return None

    def distances(self, x: float, y: float, rays: Array) -> Array:
        """How far rays go from a point until they enter each box; inf where they miss it.

        Args:
            x: of the point, as ``y``, in meters; not inside a box.
            y: see ``x``.
            rays: unit vectors, float (2, R), no component exactly 0; see `directions`.

        Returns:
            float (B, R), in meters.
        """
        return self.crossings(x, y, rays)[0]

    def crossings(self, x: float, y: float, rays: Array) -> tuple[Array, Array]:
        """How far rays go until they enter each box, as `distances`, and until they leave it.

        Returns:
            Each float (B, R), in meters. Where a ray misses a box the second has no meaning.
        """
        edges = (self._edges - np.array([[[x]], [[y]]])) * (1.0 / rays)[:, None]  # (2, 2, B, R)
        first, last = np.minimum(*edges), np.maximum(*edges)  # each (2, B, R)
        enter, leave = np.maximum(*first), np.minimum(*last)  # each (B, R)
        np.maximum(enter, 0, out=enter)  # it is never entered behind the point: so a box
        np.copyto(enter, np.inf, where=enter > leave)  # that is left there counts as missed, too
        return enter, leave

    def ranges(self, x: float, y: float, rays: Array, most: float) -> Array:
        """How far each ray goes until it meets any box, at most ``most``; float (R,), meters."""
        return np.minimum.reduce(self.distances(x, y, rays), 0, initial=most)

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
        ray_x, ray_y = _not_zero((to_x - x) / length), _not_zero((to_y - y) / length)
        inverse_x, inverse_y = 1.0 / ray_x, 1.0 / ray_y
        low_x, high_x = min(x, to_x) - _ROUNDING_M, max(x, to_x) + _ROUNDING_M
        low_y, high_y = min(y, to_y) - _ROUNDING_M, max(y, to_y) + _ROUNDING_M
        for n, (x0, y0, x1, y1) in enumerate(self._rows):
            if x1 < low_x or x0 > high_x or y1 < low_y or y0 > high_y or n == through:
                continue  # most of them; the others as in `distances`
            x_0, x_1 = (x0 - x) * inverse_x, (x1 - x) * inverse_x
            y_0, y_1 = (y0 - y) * inverse_y, (y1 - y) * inverse_y
            enter = max(min(x_0, x_1), min(y_0, y_1), 0.0)
            if enter < length and enter <= min(max(x_0, x_1), max(y_0, y_1)):
                return False
        return True


def directions(angles: Array) -> Array:
    """Unit vectors, float (2, N), of angles in radians; no component is exactly 0."""
    vectors = np.array([np.cos(angles), np.sin(angles)])
    vectors[np.abs(vectors) < 1e-9] = 1e-9
    return vectors


def _not_zero(component: float) -> float:
    return 1e-9 if abs(component) < 1e-9 else component
