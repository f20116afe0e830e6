"""Two processes train as one does: the same losses, the same weights; and the command line too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import crew_training
import pytest
import torch

from llm4teach.datasets.runs import CHECKPOINT
from llm4teach.datasets.workspace import Workspace
from llm4teach.student.model.checkpoint import load_student
from llm4teach.student.training.distributed import Crew


def torchrun(processes: int, *words: str) -> str:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "LLM4TEACH_"))}
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone")
    done = subprocess.run(
        [*launcher, "--nproc-per-node", str(processes), *words],
        capture_output=True,
        text=True,
        timeout=300,
        env=kept | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stderr


def test_shares_are_parts_of_the_whole() -> None:
    rows = torch.arange(7)
    shares = [Crew(rank, 3).share(rows) for rank in range(3)]
    assert sorted(torch.cat([own for own, _ in shares]).tolist()) == rows.tolist()
    x = torch.randn(7)
    mean = sum(weight * x[own].mean() for own, weight in shares) / 3
    assert mean == pytest.approx(x.mean().item(), abs=1e-6)
    own, weight = Crew(2, 3).share(rows[:2])
    assert len(own) == 1 and weight == 0, "no rows left: it computes, and counts for nothing"


def test_losses_and_weights_are_those_of_one_process(tmp_path: Path) -> None:
    alone: dict[str, Any] = json.loads(json.dumps(crew_training.train()))
    file = tmp_path / "two.json"
    torchrun(2, crew_training.__file__, str(file))
    two = json.loads(file.read_text())
    assert (alone["size"], two["size"]) == (1, 2)
    for one, other in zip(alone["losses"], two["losses"], strict=True):
        assert other == pytest.approx(one, abs=1e-4)
    for name, weights in alone["weights"].items():
        assert two["weights"][name] == pytest.approx(weights, abs=2e-4), name


def test_the_command_line_under_torchrun(tmp_path: Path) -> None:
    words = (
        *("-m", "llm4teach", "collect", "--teacher", "recorded/vicuna-33b"),
        *("--collect.steps", "320", "--workspace", str(tmp_path / "w")),
    )
    torchrun(2, *words)  # nothing to share: the first works, the other goes home
    torchrun(2, *words[:2], "label", *words[3:5], "--workspace", str(tmp_path / "w"))
    said = torchrun(2, *words[:2], "pretrain", *words[3:5], "--pretrain.epochs", "2", *words[-2:])
    assert said.count("2 epochs") == 1, "one process speaks"
    workspace = Workspace(tmp_path / "w")
    (run_id,) = (run for run in workspace.run_ids() if run.startswith("pretrain"))
    student, _ = load_student(workspace.run(run_id) / CHECKPOINT)
    assert all(torch.isfinite(weights).all() for weights in student.parameters())
