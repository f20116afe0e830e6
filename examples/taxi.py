"""Gymnasium's Taxi as a task: the teacher says where to go, the student learns to drive.

llm4teach teach --task taxi:task --teacher none
"""

from functools import cache, partial

import gymnasium as gym

from llm4teach.envs.custom.gym_task import GymTask

PLACES = ("red", "green", "yellow", "blue", "taxi")
TAXI = gym.make("Taxi-v3").unwrapped
SOUTH, NORTH, EAST, WEST, PICK_UP, DROP = range(6)


def describe(observation: int) -> str:
    """Return what the teacher reads."""
    row, column, passenger, destination = TAXI.decode(observation)
    here = [PLACES[i] for i, at in enumerate(TAXI.locs) if at == (row, column)]
    where = "in the taxi" if passenger == 4 else f"at the {PLACES[passenger]} place"
    return (
        f"The taxi is {f'at the {here[0]} place' if here else 'on the road'}. "
        f"The passenger is {where} and wants to go to the {PLACES[destination]} place."
    )


@cache
def drive(place: int, observation: int) -> int | None:
    """The first step of a shortest path, by breadth-first search over the known moves."""
    paths = [(observation, None)]
    for state, first in paths:
        if tuple(TAXI.decode(state))[:2] == TAXI.locs[place]:
            return first
        for move in (SOUTH, NORTH, EAST, WEST):
            _, following, _, _ = TAXI.P[state][move][0]
            if following not in [seen for seen, _ in paths]:
                paths.append((following, move if first is None else first))
    return None


OPTIONS = {f"go to {name}": partial(drive, i) for i, name in enumerate(PLACES[:4])}
OPTIONS |= {"pick up passenger": lambda _: PICK_UP, "drop passenger": lambda _: DROP}
ACTIONS = ("south", "north", "east", "west", "pick up", "drop")
task = GymTask("Taxi-v3", describe, OPTIONS, success="terminated", action_names=ACTIONS)
