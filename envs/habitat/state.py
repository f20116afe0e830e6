"""The describer of Nav & Pick: a few coarse facts."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from llm4teach.envs.habitat.worker.layout import (
    FLAGS,
    FLAGS_AT,
    MAX_DISTANCE_M,
    STATE_BYTES,
    TARGET_BYTES,
    TARGETS,
    TARGETS_AT,
)
from llm4teach.envs.plan import Option, Plan
from llm4teach.envs.task import Observations, State, state_key

FAMILY = "NavPick"
EXPLORE = Plan((Option("explore"),))
NAVIGATE = Plan((Option("go to", "table"),))
PICK = Plan((Option("pick up", "object"),))
PUT_BACK = Plan((Option("drop", "other object"),))

SIDES = ("ahead", "to the left", "to the right", "behind")
DISTANCES = ("within 1 m", "1 to 3 m away", "more than 3 m away")
_AHEAD, _BEHIND = np.deg2rad(30), np.deg2rad(120)
_NEAR_M, _FAR_M = 1.0, 3.0


def state_bytes(observations: Observations) -> Observations:
    """The state vectors, uint8 (N, STATE_BYTES), of vector or depth observations."""
    if observations.ndim == 3:
        return observations[:, -1, :STATE_BYTES]
    return observations


def flag(states: Observations, name: str) -> NDArray[np.bool_]:
    """One of `layout.FLAGS`, bool (N,)."""
    return states[:, FLAGS_AT + FLAGS.index(name)] > 0


def target(
    states: Observations, name: str
) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]:
    """One of `layout.TARGETS`: whether it is there, its bearing (rad), its distance (m); (N,)."""
    at = TARGETS_AT + TARGETS.index(name) * TARGET_BYTES
    there, sine, cosine, distance = states[:, at : at + TARGET_BYTES].astype(np.float64).T
    bearing = np.arctan2(sine - 128, cosine - 128)
    return there > 0, bearing, distance * (MAX_DISTANCE_M / 255)


def in_reach(states: Observations) -> NDArray[np.bool_]:
    """Whether the arm reaches as far as the object, bool (N,): then there is nowhere to go."""
    return flag(states, "table_seen") & ~target(states, "table_waypoint")[0]


def identify(observations: Observations) -> NDArray[np.int64]:
    """Pack each observation's facts into a number, int64 (N,); see `nav_pick_state`."""
    states = state_bytes(observations)
    seen = flag(states, "table_seen")
    _, bearing, distance = target(states, "table")
    away = np.abs(bearing)
    side = np.where(away <= _AHEAD, 0, np.where(away >= _BEHIND, 3, np.where(bearing > 0, 1, 2)))
    far = (distance > _NEAR_M).astype(np.int64) + (distance > _FAR_M)
    facts = (side * 3 + far) * 2 + in_reach(states)
    view = np.where(seen, 1 + facts, 0)
    holds = flag(states, "holds_other") + 2 * flag(states, "holds_target")
    packed: NDArray[np.int64] = (view * 3 + holds) * 2 + flag(states, "blocked")
    return packed


@cache
def nav_pick_state(packed: int) -> State:
    """Return the text and the admissible plans of packed facts."""
    rest, blocked = divmod(packed, 2)
    view, holds = divmod(rest, 3)
    reach, where, plans = "not seen yet", "<nothing>", [EXPLORE]
    if view:
        place, near = divmod(view - 1, 2)
        side, far = divmod(place, 3)
        reach = "within the arm's reach" if near else "out of the arm's reach"
        where = f"<table> {SIDES[side]} {DISTANCES[far]}"
        plans += [NAVIGATE, PICK]
    if holds:
        plans = [*plans, PUT_BACK] if holds == 1 else plans
    hand = ("<nothing>", "<other object>", "<object>")[holds]
    text = (
        f"Last move: {'blocked' if blocked else 'free'}. Object: {reach}. "
        f"Agent sees {where}, holds {hand}."
    )
    return State(state_key(FAMILY, text), text, tuple(plans))
