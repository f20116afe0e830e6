"""What Nav & Pick is on every simulator: actions, the bytes of an observation, measures, reward.

Shared by the worker, which writes observations, and the core, which reads them.

An observation is uint8, so that it is stored, compared and sent as it is. The state vector has one
byte a number:

    ranges   distance to the nearest obstacle, all round, counterclockwise from straight ahead
    flags    0 or 255, see `FLAGS`
    targets  for each of `TARGETS`: present, sine and cosine of its bearing, its distance

Bearings are relative to the heading, counterclockwise; what is not present is all zeros.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

Array = Any  # numpy's own types cannot be written for Python 3.9 and numpy 1.26 alike

RANGES = 24  # rays
MAX_RANGE_M = 5.0  # longer ranges are reported as this
MAX_DISTANCE_M = 10.0  # and longer distances of targets as this

FLAGS = ("table_seen", "arm_out", "holds_target", "holds_other", "blocked")
# Where the planners would go next to reach the table and the unexplored, the table and the object.
TARGETS = ("table_waypoint", "explore_waypoint", "table", "object")
TARGET_BYTES = 4  # present, sine, cosine, distance

FLAGS_AT = RANGES
TARGETS_AT = FLAGS_AT + len(FLAGS)
STATE_BYTES = TARGETS_AT + len(TARGETS) * TARGET_BYTES

# A depth observation is an image whose last row is the state, padded with zeros.
DEPTH_ROWS, DEPTH_COLUMNS = 25, 48
MAX_DEPTH_M = 5.0

ACTIONS = ("forward", "left", "right", "reach", "grip")
FORWARD_M, TURN_DEGREES = 0.25, 30
REACH_M, REACH_DEGREES = 0.75, 25  # of the arm: from the robot's middle, to either side
MAX_STEPS = 200  # of an episode

MEASURES = ("success", "collisions", "spl", "distance_to_goal", "path_length", "pick_held")

HELD_OUT_START = (
    1 << 30
)  # episodes with seeds from here on are in apartments that training never uses
SCENES = 128  # apartments of either kind

FIELD_OF_VIEW = math.radians(110)  # in which the table is recognized

VECTOR_SHAPE = (STATE_BYTES,)
DEPTH_SHAPE = (DEPTH_ROWS, DEPTH_COLUMNS)
# A camera observation has one row more above the state: all that its student sees beside the image.
# It has flags, the table, the object and the room to explore next, each by bearing and distance. It
# has neither ranges nor waypoints, so that walls, doorways and furniture are in the image alone.
CAMERA_SHAPE = (DEPTH_ROWS + 1, DEPTH_COLUMNS)
CAMERA_STUDENT_SHAPE = (DEPTH_ROWS, DEPTH_COLUMNS)
_SEEN_AT = TARGETS_AT + TARGETS.index("table") * TARGET_BYTES  # table and object, up to the end
_ROOM_AT = len(FLAGS) + STATE_BYTES - _SEEN_AT

_ABSENT = (0,) * TARGET_BYTES


def encode_state(ranges: Array, flags: Any, targets: Array, out: Array) -> None:
    """Write a state into uint8 (STATE_BYTES,); see `layout` for the arguments' order."""
    out[:FLAGS_AT] = ranges * (255 / MAX_RANGE_M) + 0.5
    rest = [255 if flag else 0 for flag in flags]
    for there, sine, cosine, distance in targets.tolist():
        rest += _target_bytes(there, sine, cosine, distance)
    out[FLAGS_AT:] = rest


def _target_bytes(there: float, sine: float, cosine: float, distance: float) -> tuple[int, ...]:
    if not there:
        return _ABSENT
    away = min(distance * (255 / MAX_DISTANCE_M) + 0.5, 255)
    return 255, int(sine * 127 + 128 + 0.5), int(cosine * 127 + 128 + 0.5), int(away)


def encode(observations: Mapping[str, Any], out: Array) -> None:
    """Write habitat-lab's observations into uint8 of one of the shapes above.

    For `CAMERA_SHAPE` they have the ``room`` to explore next, as one of the targets.
    """
    state = out
    if out.ndim == 2:
        out[: DEPTH_ROWS - 1] = observations["depth"] * (255 / MAX_DEPTH_M) + 0.5
        out[-1, STATE_BYTES:] = 0
        state = out[-1, :STATE_BYTES]
    encode_state(observations["ranges"], observations["flags"], observations["targets"], state)
    if out.shape == CAMERA_SHAPE:
        out[-2, : len(FLAGS)] = state[FLAGS_AT:TARGETS_AT]
        out[-2, len(FLAGS) : _ROOM_AT] = state[_SEEN_AT:]
        out[-2, _ROOM_AT:] = 0
        out[-2, _ROOM_AT : _ROOM_AT + TARGET_BYTES] = _target_bytes(*observations["room"])


def shape_of(settings: Mapping[str, Any]) -> tuple[int, ...]:
    """Shape of an observation with these settings: ``depth`` and ``camera``, both optional."""
    if settings.get("camera"):
        return CAMERA_SHAPE
    return DEPTH_SHAPE if settings.get("depth") else VECTOR_SHAPE


# Success is worth 1, less for the time it took; touching things costs less than that in all.
TIME_COST, COLLISION_COST, MOST_COLLISION_COST = 0.4, 0.05, 0.5


def nav_pick_reward(
    blocked: bool, success: bool, steps: int, touched: float
) -> tuple[float, float]:
    """The reward of one step; an episode's sum is positive if, and only if, it succeeds.

    Args:
        blocked: the step touched something.
        success: the step took the object.
        steps: of the episode so far, this one included.
        touched: what touching things has cost in the episode before.

    Returns:
        The reward, and what touching things has cost by now.
    """
    cost = min(COLLISION_COST, MOST_COLLISION_COST - touched) if blocked else 0.0
    won = 1 - TIME_COST * steps / MAX_STEPS if success else 0.0
    return won - cost, touched + cost
