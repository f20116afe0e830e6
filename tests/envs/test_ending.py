"""Episodes played again end as they ended, and differences are noticed."""

from __future__ import annotations

import numpy as np
import pytest
from counter_task import Memory, counter, describe_memory

from llm4teach.envs.registry import get_task
from llm4teach.envs.task import Task
from llm4teach.envs.vector.ending import Played, Replayer

TASKS = {
    "SimpleDoorKey": lambda: get_task("SimpleDoorKey"),
    "MiniGrid": lambda: get_task("MiniGrid-Empty-5x5-v0"),
    "own": lambda: counter(view=Memory, describe=describe_memory),
}


def played(task: Task, seed: int, steps: int) -> tuple[Played, np.ndarray]:
    env, rng = task.make_env(), np.random.default_rng(seed)
    seen, _ = env.reset(seed=seed)
    actions, observations = [], []
    for _ in range(steps):
        observations.append(seen)
        actions.append(int(rng.integers(len(task.action_names))))
        seen, _, terminated, truncated, _ = env.step(actions[-1])
        if terminated or truncated:
            break
    return Played(seed, np.array(actions), np.stack(observations)), seen


@pytest.mark.parametrize("name", TASKS)
def test_final_observations_are_those_of_the_environment(name: str) -> None:
    task = TASKS[name]()
    replayer = Replayer(task, 4)
    for seeds in (range(4), range(4, 6)):  # the same environments twice, some of them idle
        episodes, finals = zip(*(played(task, s, 3 + 20 * (s % 2)) for s in seeds), strict=True)
        found = replayer.final_observations(episodes)
        for theirs, ours in zip(finals, found, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    wrong = episodes[0].observations.copy()
    wrong[1] ^= 1
    found = replayer.final_observations([episodes[0]._replace(observations=wrong), episodes[1]])
    assert found[0] is None and found[1] is not None
    replayer.close()
