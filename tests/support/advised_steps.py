"""Trajectories in many small parts, and a teacher's advice on some of their states."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.datasets.trajectories import Trajectories, read_steps
from llm4teach.datasets.workspace import Workspace
from llm4teach.envs.seeds import training_seeds
from llm4teach.envs.task import Task
from llm4teach.student.collection import collect
from llm4teach.student.collection.behavior import OptionBehavior, PolicyBehavior
from llm4teach.student.collection.states import states_of
from llm4teach.teacher_labeling.backends.function import FunctionTeacher
from llm4teach.teacher_labeling.labeling.run import label_states

RUNS = ("collect-20261101-000000-000000-0000", "collect-20261102-000000-000000-0001")


def weights(text: str, options: tuple[str, ...]) -> dict[str, float]:
    """Weights that differ from state to state and are no round numbers."""
    rng = np.random.default_rng(zlib.crc32(text.encode()))
    return dict(zip(options, rng.random(len(options)).tolist(), strict=True))


teacher = FunctionTeacher(weights, "weights", "1")  # found as advised_steps:teacher


def store_steps(
    workspace: Workspace, task: Task, run_id: str, steps: int = 256, part: int = 64, seed: int = 0
) -> Trajectories:
    """Collect steps of plans and of a random student, in parts of so many steps."""
    rng = np.random.default_rng(seed)

    def uniform(observations: Any) -> Any:
        n = len(task.action_names)
        return np.full((len(observations), n), 1 / n, np.float32)

    behaviors = [
        (OptionBehavior(task, lambda states: [()] * len(states), 1.0, rng), 0.5),
        (PolicyBehavior("student", uniform), 0.5),
    ]
    folder = workspace.trajectories(task.name, run_id)
    seeds = training_seeds(seed, "collect")
    before, collect.WRITE_EVERY = collect.WRITE_EVERY, part
    try:
        collector = collect.Collector(
            task, folder, run_id, n_envs=8, action_epsilon=0.1, seeds=seeds, rng=rng
        )
        collector.collect(steps, behaviors)
        collector.close()
    finally:
        collect.WRITE_EVERY = before
    return read_steps(folder, task.observation_shape)


def store_advice(workspace: Workspace, task: Task, steps: Trajectories) -> AdviceStore:
    """Label every second state."""
    info = teacher.info
    folder = workspace.advice(task.family, info.slug)
    store = AdviceStore(folder, info.teacher_id, info.prompt_version)
    label_states(teacher, store, states_of(task, steps)[::2])
    return store


def by_episode(steps: Trajectories) -> Iterator[np.ndarray]:
    """Rows of each episode of one run, in the order of the episodes' ids."""
    ids = steps.column("episode_id")
    for episode in np.unique(ids):
        yield np.flatnonzero(ids == episode)
