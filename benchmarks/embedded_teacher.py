"""What the embedded teacher takes: memory, seconds to load, states a second.

    python benchmarks/embedded_teacher.py [--teacher embedded] [--task SimpleDoorKey] [--threads N]

In a fresh process, and without what trains students: what labeling alone would take. Loading ends
with the model in memory, its worked examples not read yet; these are part of the first answer.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from contextlib import closing
from typing import TypeVar

from llm4teach.envs.registry import get_task
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.elicitation.token_counts import tokens_of
from llm4teach.teacher_labeling.factory import make_teacher

_T = TypeVar("_T")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--teacher", default="embedded")
    parser.add_argument("--task", default="SimpleDoorKey")
    parser.add_argument("--threads", type=int, help="CPU threads (default: one fewer than cores)")
    parser.add_argument("--rounds", type=int, default=10, help="of three states each")
    arguments = parser.parse_args()
    task = get_task(arguments.task)
    family, states = task.family, list(task.example_states())
    config = TeacherConfig(teacher=arguments.teacher, threads=arguments.threads)
    print(f"imports: {peak_mib():,.0f} MiB")
    with closing(make_teacher(config, family)) as teacher:
        wall_s, cpu_s, _ = timed(lambda: tokens_of(teacher, states))  # counting needs the model
        print(f"load: {wall_s:.2f} s, {cpu_s:.2f} CPU-s; peak {peak_mib():,.0f} MiB")
        wall_s, cpu_s, _ = timed(lambda: list(teacher.advise(states[:1])))
        print(f"first state, with the examples: {wall_s:.2f} s, {cpu_s:.2f} CPU-s")
        asked = states * arguments.rounds
        wall_s, cpu_s, _ = timed(lambda: list(teacher.advise(asked)))
    print(
        f"{len(asked)} states: {len(asked) / wall_s:.2f} a second, {cpu_s / len(asked):.2f} CPU-s "
        f"each; peak {peak_mib():,.0f} MiB"
    )


def timed(work: Callable[[], _T]) -> tuple[float, float, _T]:
    """Wall seconds, CPU seconds of all threads, and what came of it."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return time.perf_counter() - wall, time.process_time() - cpu, result


def peak_mib() -> float:
    """Largest resident set of this process so far (Linux counts KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
