"""What the bytes of an observation mean; shared by the worker, which writes them, and the core.

An observation is uint8, so that it is stored, compared and sent as it is. The state vector has one
byte a number:

    ranges   distance to the nearest obstacle, all round, anticlockwise from straight ahead
    flags    0 or 255, see `FLAGS`
    targets  for each of `TARGETS`: present, sine and cosine of its bearing, its distance

Bearings are relative to the heading, anticlockwise; what is not present is all zeros.
"""

from __future__ import annotations

RANGES = 24  # rays
MAX_RANGE_M = 5.0  # ranges beyond are told as this
MAX_DISTANCE_M = 10.0  # so are distances of targets

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

HELD_OUT_START = 1 << 30  # episodes with seeds from here on are in apartments nobody trained in
SCENES = 128  # apartments of either kind
