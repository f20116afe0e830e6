"""Nav & Pick's skills, grounded: navigate, explore and pick as policies over the robot's actions.

They are as good as such skills usually are. Navigate and explore head for the next place that the
planner names and look at nothing on the way, so that they bump into what stands out; pick turns to
the object, stretches the arm out and closes the hand, whether the object is in reach or not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from llm4teach.envs.habitat.state import flag, in_reach, state_bytes, target
from llm4teach.envs.habitat.worker.layout import ACTIONS
from llm4teach.envs.plan import Option, Plan
from llm4teach.envs.task import Observations

FORWARD, LEFT, RIGHT, REACH, GRIP = range(len(ACTIONS))
CANNOT, DONE = -1, -2  # instead of an action
# Above half a turn, or a skill would turn to and fro for ever.
_HEAD_FOR = np.deg2rad(17)
_FACE = np.deg2rad(20)


def plan_actions(observations: Observations, plan: Plan) -> NDArray[np.int64]:
    """The action of a plan's first option that is not done, int64 (N,); `CANNOT` or `DONE`.

    Args:
        observations: uint8 (N, *observation_shape).
        plan: to follow.
    """
    states = state_bytes(observations)
    actions = np.full(len(states), DONE, np.int64)
    for option in plan.options:
        actions = np.where(actions == DONE, _option_actions(states, option), actions)
    return actions


def _option_actions(states: Observations, option: Option) -> NDArray[np.int64]:
    seen, other = flag(states, "table_seen"), flag(states, "holds_other")
    everywhere = np.full(len(states), CANNOT)
    hand = np.where(flag(states, "arm_out"), GRIP, REACH)  # what taking and putting back need
    if option.verb == "explore":
        there, bearing, _ = target(states, "explore_waypoint")
        return np.where(there, _towards(bearing, _HEAD_FOR, FORWARD), CANNOT)
    if option == Option("go to", "table"):
        _, bearing, _ = target(states, "table_waypoint")
        going = np.where(seen, _towards(bearing, _HEAD_FOR, FORWARD), CANNOT)
        return np.where(in_reach(states), DONE, going)
    if option == Option("pick up", "object"):
        _, bearing, _ = target(states, "object")
        return np.where(seen & ~other, _towards(bearing, _FACE, hand), CANNOT)
    if option == Option("drop", "other object"):
        return np.where(other, hand, CANNOT)
    return everywhere


def _towards(
    bearing: NDArray[np.float64], tolerance: float, there: NDArray[np.int64] | int
) -> NDArray[np.int64]:
    """Turn to a bearing, or do ``there`` if it is ahead."""
    turn = np.where(bearing > 0, LEFT, RIGHT)
    actions: NDArray[np.int64] = np.where(np.abs(bearing) > tolerance, turn, there)
    return actions
