"""Observations for tests: the first steps of random episodes."""

from __future__ import annotations

import numpy as np

from llm4teach.envs.registry import get_task
from llm4teach.envs.task import Observations


def observed(name: str, episodes: int, steps: int) -> Observations:
    """Play at most so many steps of each episode of a grid task, and return what was seen."""
    task, rows = get_task(name), []
    env, rng = task.make_env(), np.random.default_rng(0)
    for seed in range(episodes):
        observation, _ = env.reset(seed=seed)
        for _ in range(steps):
            rows.append(observation)
            observation, _, ended, cut, _ = env.step(int(rng.integers(6)))
            if ended or cut:
                break
    return np.stack(rows)
