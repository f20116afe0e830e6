"""The floor's coordinates and headings in habitat's: y is up, and a robot looks along -z.

The floor's (x, y) is habitat's (x, ·, -y); a heading is an angle in radians, anticlockwise from x.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def position_of(x: float, y: float, height: float = 0.0) -> list[float]:
    """Habitat's position of a place on the floor, in metres."""
    return [float(x), float(height), -float(y)]


def place_of(position: Sequence[float]) -> tuple[float, float]:
    """The place on the floor below habitat's position."""
    return float(position[0]), -float(position[2])


def rotation_list(heading: float) -> list[float]:
    """Habitat's rotation of a heading, a unit quaternion with its real part last."""
    half = (heading - math.pi / 2) / 2
    return [0.0, math.sin(half), 0.0, math.cos(half)]


def heading_of(rotation: Sequence[float]) -> float:
    """The heading of a rotation about the vertical, real part last; from -pi to pi."""
    angle = 2 * math.atan2(rotation[1], rotation[3]) + math.pi / 2
    return math.remainder(angle, 2 * math.pi)
