"""Distil and improve a student on made-up data, in as many processes as torchrun starts.

    torchrun --nproc-per-node 2 crew_training.py FILE

The first process writes weights and losses to FILE (JSON). Fails if threads of the processes'
connection are left at the end: they abort a process that is ending.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from llm4teach.flows.cli.together import run_together
from llm4teach.student.config import FinetuneConfig, PretrainConfig
from llm4teach.student.model.network import Student
from llm4teach.student.training.distill import Steps, distil
from llm4teach.student.training.distributed import crew
from llm4teach.student.training.ppo import Batch
from llm4teach.student.training.update import Improver

SHAPE, ACTIONS, N = (7, 7, 4), 5, 131  # odd: shares differ, and the last minibatch is small


def made_up(rng: np.random.Generator) -> Steps:
    observations = rng.integers(0, 3, (N, *SHAPE), dtype=np.uint8)
    observations[..., 3] = 4
    observations[:, 3, 3, 3] = rng.integers(0, 4, N)
    probs = rng.dirichlet(np.ones(ACTIONS), N).astype(np.float32)
    probs[::7] = 0  # no advice
    ends = np.arange(N) % 10 == 9
    ends[-1] = True
    return Steps(observations, probs, rng.random(N, np.float32), ends.copy(), ends)


def train() -> dict[str, Any]:
    """Train; return losses and the sum of all weights' absolute values, by layer."""
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    student, steps = Student(SHAPE, ACTIONS).to(crew().device), made_up(rng)
    losses: list[dict[str, float]] = []
    config = PretrainConfig(epochs=3, batch_size=26)  # 131 = 5 * 26 + 1: one share is empty
    distil(student, steps, config, 3, lambda step, values: losses.append(values))
    finetuning = FinetuneConfig(minibatches=4, epochs=2)
    optimizer = torch.optim.Adam(student.parameters(), 1e-3, eps=1e-5)
    improver = Improver(student, optimizer, finetuning, torch.Generator().manual_seed(1))
    for _ in range(2):
        columns = [torch.from_numpy(rng.normal(size=N).astype(np.float32)) for _ in range(3)]
        batch = Batch(
            torch.from_numpy(steps.observations),
            torch.from_numpy(rng.integers(0, ACTIONS, N)),
            columns[0] - 2,
            columns[1],
            columns[2],
            torch.from_numpy(steps.teacher_probs),
        )
        moved = Batch(*(column.to(crew().device) for column in batch))
        losses.append(improver.improve(moved, 0.5, 1e-3))
    weights = {k: v.double().flatten()[:50].tolist() for k, v in student.state_dict().items()}
    return {"size": crew().size, "losses": losses, "weights": weights}


def main() -> int:
    Path(sys.argv[1]).write_text(json.dumps(train()))
    return 0


def connection_threads() -> list[str]:
    """Names of the native threads that connect this process with the others; none on macOS."""
    names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    return [name for name in names if "gloo" in name]


if __name__ == "__main__":
    status = run_together(main)
    sys.exit(f"left behind: {left}" if (left := connection_threads()) else status)
