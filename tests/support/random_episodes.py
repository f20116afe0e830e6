"""Trajectories for tests: uniformly random SimpleDoorKey episodes, written like collected ones."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np

from llm4teach.datasets.trajectories import write_steps
from llm4teach.datasets.workspace import Workspace
from llm4teach.envs.registry import get_task
from llm4teach.envs.seeds import training_seeds
from llm4teach.envs.task import describe


def write_random_episodes(
    workspace: Path, task_name: str = "SimpleDoorKey", steps: int = 600, run_id: str = "random-0"
) -> set[str]:
    """Store steps of random episodes and return the distinct state keys among them."""
    task = get_task(task_name)
    env, rng = task.make_env(), np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    observations = []
    for episode, seed in enumerate(training_seeds(0, "test")):
        observation, _ = env.reset(seed=seed)
        for t in itertools.count():
            action = int(rng.integers(len(task.action_names)))
            observations.append(observation.copy())
            observation, reward, terminated, truncated, _ = env.step(action)
            rows.append(
                {
                    "run_id": run_id,
                    "episode_id": episode,
                    "t": t,
                    "seed": seed,
                    "action": action,
                    "reward": float(reward),
                    "terminated": terminated,
                    "truncated": truncated,
                    "behavior": "noise",
                    "action_logprob": -math.log(len(task.action_names)),
                }
            )
            if terminated or truncated:
                break
        if len(rows) >= steps:
            break
    stacked = np.stack(observations)  # (N, *observation_shape)
    states = describe(task, stacked)
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in rows[0]}
    columns["state_key"] = [state.key for state in states]
    columns["state_text"] = [state.text for state in states]
    write_steps(Workspace(workspace).trajectories(task_name, run_id), columns, stacked)
    return set(columns["state_key"])
