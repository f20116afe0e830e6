"""Labeled environment steps per CPU-second: an observation, a state and teacher_probs for each.

    python benchmarks/env_throughput.py

Rows are MiniGrid's own DoorKey-8x8 (nothing but its steps), the tasks as MiniGrid environments, and
the engine with 1, 64 and 4,096 environments. The advice is the recorded Vicuna-33B's, looked up and
grounded by the teacher that training uses. With the teacher's own actions episodes are short and
resets count. The figures are the least and the most of several repetitions after one to warm up.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import gymnasium as gym
import minigrid  # noqa: F401  # registers its environments
import numpy as np

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.envs.door_key.rooms import ROOMS
from llm4teach.envs.door_key.task import DoorKeyTask
from llm4teach.envs.seeds import training_seeds
from llm4teach.envs.vector.episodes import EpisodeVector
from llm4teach.student.policies import sample
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.factory import make_teacher
from llm4teach.teacher_labeling.live import LiveTeacher

Run = Callable[[int], float]  # env steps to do -> CPU seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of CPU, about, a repetition")
    arguments = parser.parse_args()
    table = [("MiniGrid-DoorKey-8x8-v0, not labeled", [minigrid_steps(), None])]
    for name in ROOMS:
        table.append((f"{name}, MiniGrid", runs(name, engine=False, n_envs=1)))
    for name in ROOMS:
        for n_envs in (1, 64, 4096):
            table.append((f"{name}, engine, {n_envs:,}", runs(name, engine=True, n_envs=n_envs)))
    print("| environment | random actions | the teacher's actions |\n| --- | --- | --- |")
    for label, row in table:
        cells = [
            "" if run is None else measured(run, arguments.repetitions, arguments.seconds)
            for run in row
        ]
        print(f"| {label} | {' | '.join(cells)} |", flush=True)


def measured(run: Run, repetitions: int, seconds: float) -> str:
    """The least and the most steps per CPU-second, to three digits."""
    steps = 1
    while (used := run(steps)) < seconds / 4:  # also compiles and warms up
        steps *= 4
    steps = int(steps * seconds / used)
    rates = sorted(steps / run(steps) for _ in range(repetitions))
    return " – ".join(f"{float(f'{rate:.3g}'):,.0f}" for rate in (rates[0], rates[-1]))


def minigrid_steps() -> Run:
    """MiniGrid's own environment with random actions, reset when an episode ends."""
    env = gym.make("MiniGrid-DoorKey-8x8-v0", disable_env_checker=True)
    env.reset(seed=0)

    def run(steps: int) -> float:
        actions = np.random.default_rng(0).integers(0, 7, steps).tolist()
        began = time.process_time()
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()
        return time.process_time() - began

    return run


def runs(name: str, *, engine: bool, n_envs: int) -> list[Run | None]:
    """Labeled steps of a task, with random and with the teacher's actions."""
    task = DoorKeyTask(name, name, engine=engine)
    envs = EpisodeVector(task, n_envs, training_seeds(0, "benchmark"))
    teacher = make_teacher(TeacherConfig(teacher="recorded/vicuna-33b"), task.family)
    with TemporaryDirectory() as folder:
        info = teacher.info
        store = AdviceStore(Path(folder), info.teacher_id, info.prompt_version)
        live = LiveTeacher(task, store, teacher)
        # Every state there is, so that no question falls into the measuring.
        live.places(np.arange(64), np.zeros((64, *task.observation_shape), np.uint8))
    rng = np.random.default_rng(0)

    def at_random(steps: int) -> float:
        chosen = rng.integers(0, 7, (-(-steps // n_envs), n_envs))
        began = time.process_time()
        for actions in chosen:
            live.teacher_probs(envs.observations)
            envs.step(actions)
        return (time.process_time() - began) * steps / chosen.size

    def as_taught(steps: int) -> float:
        rounds = -(-steps // n_envs)
        began = time.process_time()
        for _ in range(rounds):
            envs.step(sample(live.teacher_probs(envs.observations), rng))
        return (time.process_time() - began) * steps / (rounds * n_envs)

    return [at_random, as_taught]


if __name__ == "__main__":
    main()
