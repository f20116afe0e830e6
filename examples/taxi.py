"""Gymnasium's Taxi as a task: the teacher says where to go, the student learns to drive.

llm4teach teach --task taxi:task --teacher rules_teacher:teacher
"""

from functools import cache, partial

import gymnasium as gym

from llm4teach.envs.custom.gym_task import GymTask
from llm4teach.envs.custom.spaces import student_bytes

PLACES = ("red", "green", "yellow", "blue")
TAXI = gym.make("Taxi-v3").unwrapped
SOUTH, NORTH, EAST, WEST, PICK_UP, DROP = range(6)
PARTS = gym.spaces.MultiDiscrete([5, 5, 5, 4])  # row, column, passenger, destination


def describe(observation: int) -> str:
    """Return what the teacher reads."""
    row, column, passenger, destination = TAXI.decode(observation)
    here = [name for name, at in zip(PLACES, TAXI.locs, strict=True) if at == (row, column)]
    where = "in the taxi" if passenger == 4 else f"at the {PLACES[passenger]} place"
    return (
        f"The taxi is {f'at the {here[0]} place' if here else 'on the road'}. "
        f"The passenger is {where} and wants to go to the {PLACES[destination]} place."
    )


@cache
def drive(place: int, observation: int) -> int | None:
    """Return the first step of a shortest path, or None on arrival."""
    paths, seen = [(observation, None)], {observation}
    for state, first in paths:  # grows while it is searched, breadth first
        if tuple(TAXI.decode(state))[:2] == TAXI.locs[place]:
            return first
        nexts = {TAXI.P[state][move][0][1]: move for move in (SOUTH, NORTH, EAST, WEST)}
        paths += [(s, m if first is None else first) for s, m in nexts.items() if s not in seen]
        seen |= nexts.keys()
    return None


OPTIONS = {f"go to {name}": partial(drive, i) for i, name in enumerate(PLACES)}
OPTIONS |= {"pick up passenger": lambda _: PICK_UP, "drop passenger": lambda _: DROP}
ACTIONS = ("south", "north", "east", "west", "pick up", "drop")
SEEN = {"encode": lambda seen: student_bytes(PARTS, [*TAXI.decode(seen)]), "action_names": ACTIONS}
task = GymTask("Taxi-v3", describe, OPTIONS, success="terminated", **SEEN)
