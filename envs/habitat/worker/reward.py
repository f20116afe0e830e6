"""The reward of Nav & Pick, the same on every simulator."""

from __future__ import annotations

from llm4teach.envs.habitat.worker.layout import MAX_STEPS

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
