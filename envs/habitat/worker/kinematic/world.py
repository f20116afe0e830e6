"""The kinematic world: a round robot with an arm in an apartment. No physics, and no randomness.

It moves by given lengths and angles, slides along what it touches, and takes what its arm reaches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from llm4teach.envs.habitat.worker.kinematic.apartment import ROBOT_RADIUS_M, Apartment, Pickable
from llm4teach.envs.habitat.worker.kinematic.boxes import directions
from llm4teach.envs.habitat.worker.layout import (
    FIELD_OF_VIEW,
    FORWARD_M,
    MAX_RANGE_M,
    RANGES,
    REACH_DEGREES,
    REACH_M,
    TARGETS,
    TURN_DEGREES,
    Array,
)

NOTHING, TARGET = -1, 0  # what is held: nothing, or the number of a thing
_ROOM_KNOWN_M = 1.2  # a room counts as visited within this distance of its middle
_RAYS = np.arange(RANGES) * (2 * np.pi / RANGES)
_SLIDES = 5  # small steps of one that touches something
_LONGEST_M = 1.1 * FORWARD_M / _SLIDES  # around a corner the way is a little longer
_RAYS_A_TURN = RANGES * TURN_DEGREES // 360


@lru_cache(maxsize=4096)  # of twelve headings, and what rounding makes of them
def _rays(heading: float) -> Array:
    """Unit vectors all round, float (2, RANGES)."""
    return directions(heading + _RAYS)


class World:
    """One robot in one apartment; lengths in meters, angles in radians, counterclockwise from x."""

    def __init__(self, scene: Apartment, x: float, y: float, heading: float) -> None:
        self.scene, self.x, self.y, self.heading = scene, x, y, heading
        self.arm_out = self.blocked = self.table_seen = False
        self.holds = NOTHING
        self._table: tuple[float, float] = scene.table_middle
        self._rooms: list[tuple[float, float]] = [(x, y) for x, y in scene.room_middles.tolist()]
        self._known = [False] * len(self._rooms)
        self._exploring = -1  # the room that is being gone to
        self._ranges: Array | None = None
        self._look()
        self._note_rooms()

    # ---- what the robot does

    def forward(self) -> None:
        """Move ahead with the arm in; slide along what is in the way, which is a collision."""
        self.arm_out = False
        self._ranges = None
        self.blocked = self._advance()
        self._look()
        self._note_rooms()

    def _advance(self) -> bool:
        """Move by `FORWARD_M`, or slide; return whether something was in the way."""
        dx, dy = FORWARD_M * math.cos(self.heading), FORWARD_M * math.sin(self.heading)
        blocked = not self.scene.boxes.is_free(self.x + dx, self.y + dy, ROBOT_RADIUS_M)
        if not blocked:
            self.x, self.y = self.x + dx, self.y + dy
        else:
            self._slide(dx / _SLIDES, dy / _SLIDES)
        return blocked

    def _slide(self, dx: float, dy: float) -> None:
        """Move on in small steps, out of whatever they lead into, as far as that leads on."""
        for _ in range(_SLIDES):
            moved = self.scene.boxes.push_out(self.x + dx, self.y + dy, ROBOT_RADIUS_M)
            if moved is None or math.hypot(moved[0] - self.x, moved[1] - self.y) > _LONGEST_M:
                return
            if moved == (self.x, self.y):  # and so would all others be
                return
            self.x, self.y = moved

    def turn(self, sign: int) -> None:
        """Turn on the spot with the arm in; 1 is to the left."""
        self.arm_out = self.blocked = False
        self._rotate(sign)
        self._look()

    def _rotate(self, sign: int) -> None:
        turned = self.heading + sign * math.radians(TURN_DEGREES)
        self.heading = math.remainder(turned, 2 * math.pi)
        if self._ranges is not None:  # from the same place: every ray looks where another did
            first = sign * _RAYS_A_TURN
            self._ranges = np.concatenate((self._ranges[first:], self._ranges[:first]))

    def reach(self) -> None:
        """Stretch the arm out, or draw it in."""
        self.blocked = False
        self.arm_out = not self.arm_out

    def grip(self) -> None:
        """With the arm out: take the nearest thing in reach, or put back what is held."""
        self.blocked = False
        if self.arm_out and self.holds != NOTHING:
            self.holds = NOTHING
        elif self.arm_out:
            things = enumerate(self.scene.things)
            near = [(self._away(thing), n) for n, thing in things if self._in_reach(thing)]
            self.holds = min(near)[1] if near else NOTHING

    # ---- what it knows and senses

    def _look(self) -> None:
        """See whether the table is in view."""
        if self.table_seen:
            return
        target = self.scene.things[TARGET]
        for x, y in (self._table, (target.x, target.y)):
            near = self._distance(x, y) <= 5.0
            in_view = near and abs(self.bearing(x, y)) <= FIELD_OF_VIEW / 2
            if in_view and self._sees(x, y, self.scene.table):
                self.table_seen = True
                return

    def _sees(self, x: float, y: float, box: int) -> bool:
        """Whether nothing but this box, or any if it is -1, is between the robot and a place."""
        return self.scene.boxes.sees(self.x, self.y, x, y, box)

    def _note_rooms(self) -> None:
        """Note which rooms have been looked at."""
        near = [self._distance(x, y) < _ROOM_KNOWN_M for x, y in self._rooms]
        self._known = [a or b for a, b in zip(self._known, near)]
        if all(self._known):  # and still no table: look at all of them again
            self._known = near

    def bearing(self, x: float, y: float) -> float:
        """Where a place is, relative to the heading, from -pi to pi."""
        angle = math.atan2(y - self.y, x - self.x) - self.heading
        return math.remainder(angle, 2 * math.pi)

    def ranges(self) -> Array:
        """Distances to the nearest box all round, float (RANGES,), at most `MAX_RANGE_M`."""
        if self._ranges is None:
            self._ranges = self._cast()
        return self._ranges

    def _cast(self) -> Array:
        return self.scene.boxes.ranges(self.x, self.y, _rays(self.heading), MAX_RANGE_M)

    def distance_to_goal(self) -> float:
        """Length of the shortest way to where the arm reaches the object, in meters."""
        return self.scene.area.distance_to_goal(self.x, self.y)

    def flags(self) -> tuple[bool, ...]:
        """The values of `layout.FLAGS`."""
        other = self.holds not in (NOTHING, TARGET)
        return self.table_seen, self.arm_out, self.holds == TARGET, other, self.blocked

    def targets(self) -> Array:
        """For each of `layout.TARGETS`: present, sine, cosine, distance (m); float (4, 4)."""
        target = self.scene.things[TARGET]
        places: list[tuple[float, float] | None] = [None] * len(TARGETS)
        places[1] = self._explore_waypoint()
        if self.table_seen:
            places[0] = self._table_waypoint()
            places[2], places[3] = self._table, (target.x, target.y)
        return np.array([self._target(place) for place in places])

    def room(self) -> tuple[float, float, float, float]:
        """The room that is explored next, as a row of `targets`, which comes first."""
        known = self._exploring < 0 or self._known[self._exploring]
        return self._target(None if known else self._rooms[self._exploring])

    def _target(self, place: tuple[float, float] | None) -> tuple[float, float, float, float]:
        if place is None:
            return 0.0, 0.0, 0.0, 0.0
        bearing = self.bearing(*place)
        return 1.0, math.sin(bearing), math.cos(bearing), self._distance(*place)

    def _table_waypoint(self) -> tuple[float, float] | None:
        """The next place on the way to the object; None where the arm reaches it."""
        target = self.scene.things[TARGET]
        if self._away(target) <= REACH_M:
            return None
        routes = self.scene.routes
        return routes.next_place(routes.to_goal, self.x, self.y) or (target.x, target.y)

    def _explore_waypoint(self) -> tuple[float, float] | None:
        """The next place on the way to the room that is gone to next."""
        routes = self.scene.routes
        cell = routes.flat_cell(self.x, self.y)
        if self._exploring < 0 or self._known[self._exploring]:
            rooms = [
                (ways.steps[cell] if ways.steps[cell] >= 0 else 1 << 30, n)
                for n, ways in enumerate(routes.to_middle)
                if not self._known[n]
            ]
            if not rooms:
                return None
            self._exploring = min(rooms)[1]
        return routes.to_middle[self._exploring].places[cell] or self._rooms[self._exploring]

    def _distance(self, x: float, y: float) -> float:
        return math.hypot(x - self.x, y - self.y)

    def _away(self, thing: Pickable) -> float:
        return self._distance(thing.x, thing.y)

    def _in_reach(self, thing: Pickable) -> bool:
        ahead = abs(self.bearing(thing.x, thing.y)) <= math.radians(REACH_DEGREES)
        near = ahead and self._away(thing) <= REACH_M
        return near and self._sees(thing.x, thing.y, thing.box)  # arms go through no wall


# ---- the floor in habitat's coordinates, where y is up and a robot looks along -z: the floor's
# (x, y) is habitat's (x, ·, -y); a heading is an angle in radians, counterclockwise from x


def position_of(x: float, y: float, height: float = 0.0) -> list[float]:
    """Habitat's position of a place on the floor, in meters."""
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
