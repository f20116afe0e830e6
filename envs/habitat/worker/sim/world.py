"""The kinematic world with habitat-sim's motion, rays, ways and things."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from llm4teach.envs.habitat.worker.kinematic.apartment import Apartment
from llm4teach.envs.habitat.worker.kinematic.world import NOTHING, TARGET, World
from llm4teach.envs.habitat.worker.layout import MAX_RANGE_M, RANGES, REACH_M, Array
from llm4teach.envs.habitat.worker.sim.backend import ApartmentSim

_ANGLES = np.arange(RANGES) * (2 * math.pi / RANGES)
_REACHES_M = (REACH_M - 0.25, REACH_M - 0.05)  # from the object
_TOUCH_M = 0.01  # how far from a box a ray's hit may be and still be one of this box


class SimWorld(World):
    """One robot in one apartment of habitat-sim.

    What the robot knows (rooms, the planners' map) and its arm are the kinematic world's.

    Args:
        sim: has entered the apartment.
        scene: the apartment.
        x: where the robot starts, as ``y``, in meters; the navmesh's nearest point counts.
        y: see ``x``.
        heading: in radians, counterclockwise from x.
    """

    def __init__(
        self, sim: ApartmentSim, scene: Apartment, x: float, y: float, heading: float
    ) -> None:
        self._sim = sim
        sim.place(x, y, heading)
        self._ends: list[Any] | None = None  # where the arm reaches the object
        super().__init__(scene, *sim.pose())

    def _advance(self) -> bool:
        blocked = self._sim.act("forward")
        self.x, self.y, self.heading = self._sim.pose()
        return blocked

    def _rotate(self, sign: int) -> None:
        self._sim.act("left" if sign > 0 else "right")
        self.x, self.y, self.heading = self._sim.pose()
        self._ranges = None

    def grip(self) -> None:
        before = self.holds
        super().grip()
        if self.holds != before:
            if before != NOTHING:
                self._sim.put_back()
            if self.holds != NOTHING:
                self._sim.hold(self.holds)

    def _cast(self) -> Array:
        angles = self.heading + _ANGLES
        rays = np.stack([np.cos(angles), np.zeros(RANGES), -np.sin(angles)], 1)  # (RANGES, 3)
        return self._sim.rays(self.x, self.y, rays.astype(np.float32), MAX_RANGE_M)

    def _sees(self, x: float, y: float, box: int) -> bool:
        """Whether a ray to the place ends there, or on the box."""
        away = math.hypot(x - self.x, y - self.y)
        angle = math.atan2(y - self.y, x - self.x)
        length = self._sim.ray(self.x, self.y, angle, away)
        if length >= away - _TOUCH_M:
            return True
        if box < 0:
            return False
        x0, y0, x1, y1 = self.scene.boxes.bounds[box].tolist()
        hit_x, hit_y = self.x + length * math.cos(angle), self.y + length * math.sin(angle)
        beside_x = max(x0 - hit_x, hit_x - x1)
        beside_y = max(y0 - hit_y, hit_y - y1)
        return max(beside_x, beside_y) <= _TOUCH_M

    def distance_to_goal(self) -> float:
        """Length of the navmesh's shortest way to where the arm reaches the object, in meters."""
        return self.way_to_goal()[0]

    def way_to_goal(self) -> tuple[float, list[Any]]:
        """Length of this way in meters, and its points in habitat's axes."""
        if self._ends is None:
            self._ends = _places_in_reach(self._sim, self.scene)
        return self._sim.way(self.x, self.y, self._ends)

    def depth(self) -> Array:
        """The depth camera's image, float (DEPTH_ROWS - 1, DEPTH_COLUMNS), in meters."""
        return self._sim.depth_image()

    def target_position(self) -> tuple[float, float, float]:
        """Where habitat-sim has the object: x, y and height, in meters."""
        return self._sim.thing_position(TARGET)


_in_reach: dict[str, list[Any]] = {}  # by apartment


def _places_in_reach(sim: ApartmentSim, scene: Apartment) -> list[Any]:
    """Places of the navmesh from which the arm reaches the object, in habitat's axes."""
    if scene.name not in _in_reach:
        thing = scene.things[TARGET]
        places = [
            (thing.x + away * math.cos(angle), thing.y + away * math.sin(angle))
            for away in _REACHES_M
            for angle in _ANGLES[::2].tolist()
        ]
        free = [place for place in places if sim.is_navigable(*place)]
        open_places = [p for p in free if scene.boxes.reaches(*p, thing.x, thing.y)]
        _in_reach[scene.name] = [
            sim.snap(*place) for place in open_places or scene.area.goals().tolist()
        ]
    return _in_reach[scene.name]
