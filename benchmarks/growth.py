"""How the cost of fine-tuning grows with environments and with steps: a CSV and a figure.

    python benchmarks/growth.py --output docs/results/growth
    python benchmarks/growth.py --task DivergedDoorKey --output /tmp/growth --rounds 5

Plain PPO, and PPO with the KL term to a teacher whose states are all known, one thread, 32 steps
per environment between updates, 4 epochs of 8 minibatches. The points take turns, round by round;
the figure shows the median of the rounds, and the least and most.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch

ENVIRONMENTS = (16, 64, 256, 1_024, 4_096)
STEPS = (8_192, 32_768, 131_072, 524_288)
LENGTH, STEPS_AT, ENVIRONMENTS_AT = 32, 262_144, 128  # of the axis that stays
Point = tuple[str, int, int]  # learner, environments, steps


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", default="SimpleDoorKey")
    parser.add_argument("--teacher", default="recorded/vicuna-33b")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, required=True, help="folder of the CSV and figure")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    learners = {"plain PPO": None, "with the KL term": arguments.teacher}
    points: list[Point] = [
        *((name, n, STEPS_AT) for name in learners for n in ENVIRONMENTS),
        *((name, ENVIRONMENTS_AT, steps) for name in learners for steps in STEPS),
    ]
    for name, n_envs, _ in points[:1] + points[len(ENVIRONMENTS) :][:1]:
        train(arguments.task, learners[name], n_envs, n_envs * LENGTH)  # compiles
    seconds: dict[Point, list[tuple[float, float]]] = {point: [] for point in points}
    for _ in range(arguments.rounds):
        for name, n_envs, steps in points:
            spent = train(arguments.task, learners[name], n_envs, steps)
            seconds[name, n_envs, steps].append(spent)
            print(
                f"{name}, {n_envs:,} environments, {steps:,} steps: "
                f"{spent[0]:.2f} s wall, {spent[1]:.2f} s CPU",
                flush=True,
            )
    arguments.output.mkdir(parents=True, exist_ok=True)
    with (arguments.output / "growth.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["learner", "environments", "steps", "round", "wall_s", "cpu_s"])
        for point, rounds in seconds.items():
            for i, (wall, cpu) in enumerate(rounds):
                writer.writerow([*point, i, f"{wall:.3f}", f"{cpu:.3f}"])
    draw(arguments.task, seconds, arguments.output / "growth.svg")


def train(task_name: str, teacher: str | None, n_envs: int, steps: int) -> tuple[float, float]:
    """Fine-tune a new student; return seconds on the clock and of CPU."""
    from llm4teach.datasets.advice_store import AdviceStore
    from llm4teach.envs.registry import get_task
    from llm4teach.student.config import FinetuneConfig
    from llm4teach.student.model.network import Student
    from llm4teach.student.training.finetune import Finetuner
    from llm4teach.teacher_labeling.config import TeacherConfig
    from llm4teach.teacher_labeling.factory import make_teacher
    from llm4teach.teacher_labeling.live import LiveTeacher

    task = get_task(task_name)
    config = FinetuneConfig(
        steps=steps,
        n_envs=n_envs,
        rollout_length=LENGTH,
        kl_coef=1.0 if teacher else 0.0,
        kl_off=1.0,
    )
    student = Student(task.observation_shape, len(task.action_names))
    with tempfile.TemporaryDirectory() as folder:
        live = None
        if teacher:
            backend = make_teacher(TeacherConfig(teacher=teacher), task.family)
            info = backend.info
            store = AdviceStore(Path(folder), info.teacher_id, info.prompt_version)
            live = LiveTeacher(task, store, backend)
        began = time.perf_counter(), time.process_time()
        tuner = Finetuner(task, student, live, config, seed=0)
        tuner.run(lambda step, values: None)
        return time.perf_counter() - began[0], time.process_time() - began[1]


def draw(task: str, seconds: dict[Point, list[tuple[float, float]]], path: Path) -> None:
    """Draw microseconds per step by environments, and seconds by steps."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    panels: tuple[tuple[Any, int, float], ...] = ((left, 1, 1e6), (right, 2, 1.0))
    for axes, axis, scale in panels:
        for name in dict.fromkeys(point[0] for point in seconds):
            chosen = [
                point
                for point in seconds
                if point[0] == name and point[3 - axis] == (STEPS_AT, ENVIRONMENTS_AT)[axis - 1]
            ]
            for kind, style in ((0, "-"), (1, "--")):
                values = [
                    [scale * spent[kind] / (p[2] if axis == 1 else 1) for spent in seconds[p]]
                    for p in chosen
                ]
                middle = [median(v) for v in values]
                reach = [[m - min(v) for m, v in zip(middle, values, strict=True)]]
                reach += [[max(v) - m for m, v in zip(middle, values, strict=True)]]
                label = f"{name}, {('wall', 'CPU')[kind]}"
                axes.errorbar(
                    [p[axis] for p in chosen], middle, reach, fmt=f"o{style}", ms=3, label=label
                )
        axes.set_xscale("log", base=2)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    left.set(xlabel="environments", ylabel="µs per step", ylim=(0, None))
    left.set_title(f"{task}, {STEPS_AT:,} steps", fontsize=9)
    right.set(xlabel="env steps", ylabel="seconds", yscale="log")
    right.set_title(f"{task}, {ENVIRONMENTS_AT} environments", fontsize=9)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
