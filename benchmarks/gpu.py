"""Fine-tuning on a GPU: the same numbers as on the CPU, and steps per second.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --task DivergedDoorKey --n-envs 256 1024 4096

First the student's answers and gradients on the device are compared with the CPU's. Then rollouts
of thousands of rooms from the engine are trained on, the batch staying on the device. --device cpu
runs all of it without a GPU, where it compares the compiled kernels with plain torch.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import torch

TOLERANCE = 1e-4  # of logits and values; of gradients, relative to the largest


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", nargs="+", default=["SimpleDoorKey", "DivergedDoorKey"])
    parser.add_argument("--n-envs", type=int, nargs="+", default=[256, 1024, 4096])
    parser.add_argument("--updates", type=int, default=4, help="measured, after one to warm up")
    parser.add_argument("--device", default="cuda")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no GPU here; --device cpu runs the same without one")
    for task in arguments.task:
        difference = compare(task, arguments.device)
        print(f"{task}: largest difference from the CPU {difference:.1e}")
    print("\n| task | environments | steps per second | per CPU-second |\n|" + " --- |" * 4)
    for task in arguments.task:
        for n_envs in arguments.n_envs:
            print(measure(task, n_envs, arguments.updates, arguments.device), flush=True)


def compare(task_name: str, device: str) -> float:
    """Return the largest difference of answers and gradients between a device and the CPU."""
    from llm4teach.envs.registry import get_task
    from llm4teach.student.model.cells import largest_features_slowly
    from llm4teach.student.model.network import Student

    task, n = get_task(task_name), 256
    env = task.make_vector_env(n)
    env.reset(seed=list(range(n)), options={"reset_mask": np.ones(n, bool)})  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    for _ in range(40):
        seen, *_ = env.step(rng.integers(0, len(task.action_names), n))
    torch.manual_seed(0)
    here: Any = Student(task.observation_shape, len(task.action_names))
    for parameter in here.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    there: Any = Student(task.observation_shape, len(task.action_names)).to(device)
    there.load_state_dict(here.state_dict())
    answers = []
    for student in (here, there):
        output = student(torch.from_numpy(seen).to(student.device))
        (output.logits.logsumexp(1).sum() + output.values.sum()).backward()
        answers.append(output)
    pairs = list(zip(answers[0], answers[1], strict=True))
    pairs += [
        (a.grad / a.grad.abs().max(), b.grad / b.grad.abs().max())
        for a, b in zip(here.parameters(), there.parameters(), strict=True)
    ]
    inputs, tables = here.encode(torch.from_numpy(seen)), here.encoder._tables()
    pairs.append(
        (
            here.encoder.norm(largest_features_slowly(inputs, *tables)),
            here.encoder(inputs)[:, : tables[0].shape[1]],
        )
    )
    worst = max(float((a.detach() - b.detach().cpu()).abs().max()) for a, b in pairs)
    if not worst <= TOLERANCE:
        raise SystemExit(f"{task_name}: {device} differs from the CPU by {worst:.1e}")
    return worst


def measure(task_name: str, n_envs: int, updates: int, device: str) -> str:
    """Return a row of the table: fine-tuning without a teacher."""
    from llm4teach.envs.registry import get_task
    from llm4teach.student.config import FinetuneConfig
    from llm4teach.student.model.network import Student
    from llm4teach.student.training.finetune import Finetuner

    task, length = get_task(task_name), 32
    student = Student(task.observation_shape, len(task.action_names)).to(device)
    config = FinetuneConfig(
        steps=(updates + 1) * n_envs * length, n_envs=n_envs, rollout_length=length, kl_coef=0
    )
    began = cpu = 0.0
    tuner = Finetuner(task, student, None, config, seed=0)

    def log(step: int, values: Any) -> None:
        nonlocal began, cpu
        if tuner.update == 1:
            began, cpu = time.perf_counter(), time.process_time()

    tuner.run(log)
    if device == "cuda":
        torch.cuda.synchronize()
    steps = updates * n_envs * length
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    return f"| {task_name} | {n_envs:,} | {steps / wall:,.0f} | {steps / cpu:,.0f} |"


if __name__ == "__main__":
    main()
