"""Fine-tuning steps per CPU-second, and where the time goes.

    python benchmarks/train_throughput.py
    python benchmarks/train_throughput.py --task DivergedDoorKey --n-envs 16 256 --variants

The first table splits fine-tuning with a teacher whose states are all known into environment,
grounding (the teacher's overhead), the network's forward passes and the updates. The second,
with --variants, times one gradient step of the network as it is and in other ways to run it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

PARTS = ("environment", "grounding", "forward", "update")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", nargs="+", default=["SimpleDoorKey", "DivergedDoorKey"])
    parser.add_argument("--teacher", default="recorded/vicuna-33b")
    parser.add_argument("--n-envs", type=int, nargs="+", default=[16, 128])
    parser.add_argument("--updates", type=int, default=12, help="measured, after two to warm up")
    parser.add_argument(
        "--variants", action="store_true", help="also other ways to run the network"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    header = ["task", "environments", "steps a second", *PARTS, "rest"]
    print("| " + " | ".join(header) + " |\n|" + " --- |" * len(header))
    for task in arguments.task:
        for n_envs in arguments.n_envs:
            print(_row(task, arguments.teacher, n_envs, arguments.updates), flush=True)
    if arguments.variants:
        print(
            "\n| network, 128 observations | forward, ms | gradient step, ms |\n| --- | --- | --- |"
        )
        for name in ("float32", "channels-last", "bfloat16", "torch.compile"):
            print(_variant(arguments.task[0], name), flush=True)


def _row(task_name: str, teacher: str, n_envs: int, updates: int) -> str:
    """Fine-tune for some updates and say what share each part took."""
    from llm4teach.datasets.advice_store import AdviceStore
    from llm4teach.envs.registry import get_task
    from llm4teach.student.config import FinetuneConfig
    from llm4teach.student.model.network import Student
    from llm4teach.student.training.finetune import Finetuner
    from llm4teach.student.training.update import PPOUpdater
    from llm4teach.teacher_labeling.config import TeacherConfig
    from llm4teach.teacher_labeling.factory import make_teacher
    from llm4teach.teacher_labeling.live import LiveTeacher

    task = get_task(task_name)
    backend = make_teacher(TeacherConfig(teacher=teacher), task.family)
    spent: dict[str, float] = defaultdict(float)

    def timed(part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            began = time.process_time()
            result = call(*args, **kwargs)
            spent[part] += time.process_time() - began
            return result

        return run

    with tempfile.TemporaryDirectory() as folder:
        store = AdviceStore(Path(folder), backend.info.teacher_id, backend.info.prompt_version)
        live = LiveTeacher(task, store, backend)
        student = Student(task.observation_shape, len(task.action_names))
        batch = n_envs * 32
        # All updates are within the share of the steps in which the teacher is asked.
        config = FinetuneConfig(steps=10 * (updates + 2) * batch, n_envs=n_envs, kl_off=1.0)
        tuner = Finetuner(task, student, live, config, seed=0)
        patched: Any = tuner
        updater: Any = PPOUpdater
        updater.update = timed("update", PPOUpdater.update)
        patched.envs.step = timed("environment", tuner.envs.step)
        patched.teacher = type("Timed", (), {})()
        patched.teacher.teacher_probs = timed("grounding", live.teacher_probs)
        forward = student.forward
        began = 0.0

        def log(step: int, values: Any) -> None:
            nonlocal began
            if tuner.update == 2:
                spent.clear()
                began = time.process_time()
            if tuner.update == updates + 2:
                raise StopIteration

        def rollout_forward(observations: torch.Tensor) -> Any:
            return (forward if torch.is_grad_enabled() else timed("forward", forward))(observations)

        student.forward = rollout_forward  # type: ignore[method-assign]
        try:
            tuner.run(log)
        except StopIteration:
            total = time.process_time() - began
    backend.close()
    shares = [spent[part] / total for part in PARTS]
    steps = updates * batch / total
    cells = [task_name, str(n_envs), f"{steps:,.0f}", *(f"{s:.1%}" for s in shares)]
    return "| " + " | ".join([*cells, f"{1 - sum(shares):.1%}"]) + " |"


def _variant(task_name: str, name: str) -> str:
    """Time the network run in one way, the fastest of some repetitions."""
    from llm4teach.envs.registry import get_task
    from llm4teach.student.model.network import Student

    task = get_task(task_name)
    student: Any = Student(task.observation_shape, len(task.action_names))
    env = task.make_vector_env(128)
    seen, _ = env.reset(seed=list(range(128)))
    observations = torch.from_numpy(seen)
    if name == "channels-last":
        student = student.to(memory_format=torch.channels_last)
    run = torch.compile(student) if name == "torch.compile" else student

    def forward() -> Any:
        with torch.autocast("cpu", torch.bfloat16, enabled=name == "bfloat16"):
            return run(observations)

    def gradient_step() -> None:
        output = forward()
        (output.logits.logsumexp(1).mean() + output.values.mean()).backward()

    def no_gradient() -> None:
        with torch.no_grad():
            forward()

    try:
        times = [_fastest(call) for call in (no_gradient, gradient_step)]
    except Exception as error:  # torch.compile needs a C++ compiler
        print(f"{name}: {error}", file=sys.stderr)
        return f"| {name} | – | – |"
    return f"| {name} | " + " | ".join(f"{1e3 * t:.1f}" for t in times) + " |"


def _fastest(call: Callable[[], None], repetitions: int = 8) -> float:
    call()
    call()
    times = []
    for _ in range(repetitions):
        began = time.process_time()
        call()
        times.append(time.process_time() - began)
    return min(times)


if __name__ == "__main__":
    main()
