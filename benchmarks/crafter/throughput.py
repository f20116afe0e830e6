"""Collected steps of Crafter per CPU-second: played, described, grounded and written.

    python benchmarks/crafter/throughput.py

Episodes of 64 environments under the teacher's plans, each followed until the state changes, as
`llm4teach collect` plays them: both teachers without an LLM. The first repetition, which compiles,
does not count. The last column is the size of what was written.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from llm4teach.envs.registry import get_task
from llm4teach.envs.seeds import training_seeds
from llm4teach.envs.task import Mixture, State
from llm4teach.student.collection.behavior import OptionBehavior
from llm4teach.student.collection.collect import Collector
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.factory import make_teacher


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=16_384, help="env steps per repetition")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--n-envs", type=int, default=64)
    arguments = parser.parse_args()
    print("| teacher | steps per CPU-second | bytes per step |\n| --- | --- | --- |")
    for name in ("none", "expert"):
        rates, size = measured(name, arguments.steps, arguments.repetitions, arguments.n_envs)
        print(f"| {name} | {min(rates):,.0f} to {max(rates):,.0f} | {size:,.0f} |", flush=True)


def measured(name: str, steps: int, repetitions: int, n_envs: int) -> tuple[list[float], float]:
    """Steps per CPU-second of each repetition after the first, and bytes per step."""
    task, rng = get_task("Crafter"), np.random.default_rng(0)
    teacher = make_teacher(TeacherConfig(teacher=name), task.family)
    asked = dict[str, Mixture]()

    def advice(states: Sequence[State]) -> list[Mixture]:
        for one in teacher.advise([state for state in states if state.key not in asked]):
            asked[one.state.key] = one.plans
        return [asked[state.key] for state in states]

    rates = []
    with TemporaryDirectory() as folder:
        collector = Collector(
            task, Path(folder), "benchmark", n_envs=n_envs, action_epsilon=0.05,
            seeds=training_seeds(0, "benchmark"), rng=rng,
        )  # fmt: skip
        behavior = OptionBehavior(task, advice, 0.0, rng)
        for repetition in range(1 + repetitions):
            began = time.process_time()
            collector.collect(steps, [(behavior, 1.0)])
            if repetition:
                rates.append(steps / (time.process_time() - began))
        collector.close()
        written = sum(path.stat().st_size for path in Path(folder).rglob("part-*.parquet"))
    return rates, written / (steps * (1 + repetitions))


if __name__ == "__main__":
    main()
