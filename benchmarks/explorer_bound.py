"""How often a room can be solved in its time by someone who explores it well, as a table.

    python benchmarks/explorer_bound.py --task DivergedDoorKey --episodes 500

The explorer sees what a student sees, and not the map. Its options are optimal (shortest paths with
turns), and it knows what the teacher cannot: how large the room is, where in it keys can lie, and
that doors stand in walls. It walks to the nearest place not seen yet where the next thing that it
needs can be. That is no proof of an optimum: it bounds from below what the best student can reach.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

from llm4teach.analysis.statistics import wilson_interval
from llm4teach.envs.door_key.rooms import ROOMS, Room
from llm4teach.envs.grid.options import GridView, OptionStatus, open_, pick_up
from llm4teach.envs.registry import get_task
from llm4teach.envs.task import Observations
from llm4teach.student.config import EvaluateConfig
from llm4teach.student.evaluation.evaluate import evaluate_policy

UNSEEN, EMPTY = 0, 1


class Explorer:
    """A policy that searches where it can pay; for rooms of one size, with one key and no lava."""

    def __init__(self, room: Room, n_actions: int) -> None:
        if room.min_size != room.max_size or room.keys != 1 or room.lava:
            raise SystemExit("the explorer knows only rooms of one size, with one key and no lava")
        self._n_actions, size = n_actions, room.grid_size
        self._inside = np.zeros((size, size), np.bool_)
        self._inside[1:-1, 1:-1] = True
        self._keys = self._inside.copy()
        if room.central_key:
            middle = slice(size // 2 - 1, size // 2 + 1)
            self._keys[:] = False
            self._keys[middle, middle] = True

    def __call__(self, observations: Observations) -> NDArray[np.float32]:
        """Action probabilities, float32 (N, n_actions): all of it on one action."""
        probs = np.zeros((len(observations), self._n_actions), np.float32)
        for row, observation in zip(probs, observations, strict=True):
            row[self._act(observation)] = 1
        return probs

    def _act(self, observation: NDArray[np.uint8]) -> int:
        unseen = observation[..., 0] == UNSEEN
        believed = observation.copy()
        believed[unseen & self._inside, 0] = EMPTY  # no obstacle but a key
        view = GridView(believed)
        decision = open_(view, "door") if view.holds("key") else pick_up(view, "key")
        if decision is OptionStatus.CANNOT:
            where = ~self._inside if view.holds("key") else self._keys
            decision = view.approach(unseen & where, then=OptionStatus.DONE)
        if isinstance(decision, OptionStatus):
            raise RuntimeError("nothing is left to explore")
        return decision[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", nargs="+", default=["DivergedDoorKey"])
    parser.add_argument("--episodes", type=int, default=500)
    arguments = parser.parse_args()
    print("| task | success [95%] | mean steps | longest |\n| --- | --- | --- | --- |")
    for name in arguments.task:
        task = get_task(name)
        policy = Explorer(ROOMS[name], len(task.action_names))
        config = EvaluateConfig(episodes=arguments.episodes)
        played = evaluate_policy(task, policy, "sampled", config, seed=0)
        won = [episode["length"] for episode in played if episode["success"]]
        low, high = wilson_interval(len(won), len(played))
        share = len(won) / len(played)
        print(f"| {name} | {share:.1%} [{low:.1%}, {high:.1%}] | {np.mean(won):.1f} | {max(won)} |")


if __name__ == "__main__":
    main()
