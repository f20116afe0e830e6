"""What a student costs to keep and to run, beside its teacher: size, latency, CPU time.

    python benchmarks/footprint.py --run RUN [--workspace workspace] [--teacher embedded]

CPU-seconds per 1,000 decisions stand in for energy. The teacher is asked live about states of the
task, one at a time, as an agent would have to that acts with it and keeps nothing.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from llm4teach.datasets.runs import CHECKPOINT
from llm4teach.datasets.workspace import Workspace
from llm4teach.envs.registry import get_task
from llm4teach.envs.task import describe
from llm4teach.flows.stages.export import export, played
from llm4teach.student.export.onnx_policy import OnnxStudent
from llm4teach.student.model.checkpoint import load_student
from llm4teach.student.policies import StudentPolicy
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.factory import make_teacher


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", required=True, help="whose student")
    parser.add_argument("--workspace", default="workspace")
    parser.add_argument("--teacher", default="embedded")
    parser.add_argument("--decisions", type=int, default=2_000, help="of a student, a repetition")
    parser.add_argument("--questions", type=int, default=6, help="to the teacher, at most")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    workspace = Workspace(arguments.workspace)
    folder = workspace.existing_run(arguments.run)
    student, facts = load_student(folder / CHECKPOINT)
    task = get_task(facts["task"])
    seen = played(task)
    n_parameters = sum(p.numel() for p in student.parameters())
    print("| | parameters | bytes | ms a decision | CPU-s per 1,000 decisions |")
    print("| --- | ---: | ---: | ---: | ---: |")

    def row(name: str, parameters: str, size: int, ms: str, cpu: float) -> None:
        print(f"| {name} | {parameters} | {size:,} | {ms} | {cpu:.3g} |", flush=True)

    size = (folder / CHECKPOINT).stat().st_size
    policy = StudentPolicy(student)
    row("student, torch", f"{n_parameters:,}", size, *timed(policy, seen, arguments.decisions))
    with TemporaryDirectory() as place:
        path = Path(place) / "student.onnx"
        export(workspace, arguments.run, "onnx", path)
        size, exported = path.stat().st_size, OnnxStudent(path)
        measured = timed(exported.probabilities, seen, arguments.decisions)
        row("student, ONNX", f"{n_parameters:,}", size, *measured)
    states = list({s.key: s for s in describe(task, seen)}.values())[: arguments.questions]
    teacher = make_teacher(TeacherConfig(teacher=arguments.teacher), task.family)
    list(teacher.advise(states[:1]))  # loads it
    walls, began = [], time.process_time()
    for state in states:
        before = time.perf_counter()
        list(teacher.advise([state]))
        walls.append(time.perf_counter() - before)
    cpu = (time.process_time() - began) / len(states) * 1000
    teacher.close()
    print(f"| teacher, {teacher.info.model}, live | | | {quantiles(walls)} | {cpu:,.0f} |")
    print("\nms: median (99th percentile), one observation at a time, one thread.")


def timed(
    policy: Callable[[np.ndarray], np.ndarray], seen: np.ndarray, n: int
) -> tuple[str, float]:
    """Latency of single decisions in ms, and CPU-seconds per 1,000 of them."""
    policy(seen[:1])
    walls, began = [], time.process_time()
    for i in range(n):
        before = time.perf_counter()
        policy(seen[i % len(seen)][None])
        walls.append(time.perf_counter() - before)
    return quantiles(walls), (time.process_time() - began) / n * 1000


def quantiles(seconds: list[float]) -> str:
    """Median and 99th percentile in ms."""
    median, last = np.quantile(seconds, [0.5, 0.99]) * 1000
    return f"{median:.3g} ({last:.3g})"


if __name__ == "__main__":
    main()
