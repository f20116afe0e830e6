"""Collected steps of Crafter per CPU-second: played, described, grounded and written.

    python benchmarks/crafter/throughput.py

Episodes of 64 environments under the teacher's plans, each followed until the state changes, as
`llm4teach collect` plays them: both teachers without an LLM. The first repetition, which compiles,
does not count; its distinct texts are what an LLM would have to label. The last column is the size
of what was written. First comes the compiled game alone, without views, pixels and texts: it shows
how fast this machine is at the moment.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from asked_once import AskedOnce

from llm4teach.envs.crafter.engine import LANES, Engine
from llm4teach.envs.crafter.symbols import ACTIONS
from llm4teach.envs.registry import get_task
from llm4teach.envs.seeds import training_seeds
from llm4teach.student.collection.behavior import OptionBehavior
from llm4teach.student.collection.collect import Collector
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.factory import make_teacher


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20_480, help="env steps per repetition")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--n-envs", type=int, default=64)
    arguments = parser.parse_args()
    rates = game_alone(arguments.steps // 4, arguments.repetitions)
    print(f"the game alone: {min(rates):,.0f} to {max(rates):,.0f} steps per CPU-second\n")
    print(
        f"| teacher | steps per CPU-second | texts in {arguments.steps:,} steps | bytes per step |"
    )
    print("| --- | --- | --- | --- |", flush=True)
    for name in ("none", "expert"):
        rates, texts, size = measured(
            name, arguments.steps, arguments.repetitions, arguments.n_envs
        )
        rate = f"{min(rates):,.0f} to {max(rates):,.0f}"
        print(f"| {name} | {rate} | {texts:,} | {size:,.0f} |", flush=True)


def game_alone(steps: int, repetitions: int) -> list[float]:
    """Steps of the compiled game per CPU-second, random actions, of each repetition."""
    engine, rng, rates = Engine(), np.random.default_rng(0), []
    for lane in range(LANES):
        engine.start(lane, lane)
    engine.step(np.zeros(LANES, np.int64))
    for _ in range(repetitions):
        began = time.process_time()
        for _ in range(steps // LANES):
            engine.step(rng.integers(0, len(ACTIONS), LANES))
        rates.append(steps // LANES * LANES / (time.process_time() - began))
    return rates


def measured(
    name: str, steps: int, repetitions: int, n_envs: int
) -> tuple[list[float], int, float]:
    """Steps per CPU-second of repetitions after the first, its distinct texts, bytes per step."""
    task, rng = get_task("Crafter"), np.random.default_rng(0)
    advice = AskedOnce(make_teacher(TeacherConfig(teacher=name), task.family))
    rates, texts = [], 0
    with TemporaryDirectory() as folder:
        collector = Collector(
            task, Path(folder), "benchmark", n_envs=n_envs, action_epsilon=0.05,
            seeds=training_seeds(0, "benchmark"), rng=rng,
        )  # fmt: skip
        behavior = OptionBehavior(task, advice, 0.0, rng)
        for repetition in range(1 + repetitions):
            began = time.process_time()
            collector.collect(steps, [(behavior, 1.0)])
            texts = texts if repetition else len(advice.answers)
            if repetition:
                rates.append(steps / (time.process_time() - began))
        collector.close()
        written = sum(path.stat().st_size for path in Path(folder).rglob("part-*.parquet"))
    return rates, texts, written / (steps * (1 + repetitions))


if __name__ == "__main__":
    main()
