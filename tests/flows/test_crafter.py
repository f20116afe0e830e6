"""Crafter through the whole pipeline, in small, with a teacher that needs no LLM."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from llm4teach.analysis.sql.query import run_query
from llm4teach.datasets.workspace import Workspace

SMALL = (
    *("--collect.steps", "256", "--collect.rounds", "1", "--collect.n-envs", "8"),
    *("--pretrain.epochs", "1", "--finetune.steps", "256", "--finetune.n-envs", "8"),
    *("--finetune.rollout-length", "16", "--evaluate.episodes", "2"),
)


@pytest.mark.extended
@pytest.mark.timeout(1800)
@pytest.mark.skipif(
    importlib.util.find_spec("craftax") is None,
    reason="craftax is not installed: pip install 'llm4teach[crafter]'",
)
@pytest.mark.parametrize("teacher", ["none", "expert"])
def test_a_student_is_taught(teacher: str, tmp_path: Path) -> None:
    mine = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "LLM4TEACH_"))}
    words = ("teach", "--task", "Crafter", "--teacher", teacher, "--workspace", "ws", *SMALL)
    result = subprocess.run(
        [sys.executable, "-m", "llm4teach", *words], cwd=tmp_path, capture_output=True, text=True,
        timeout=1700, env=mine | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    rows = run_query(Workspace(tmp_path / "ws"), "achievements", {}).to_pylist()
    assert {row["achievement"] for row in rows} >= {"collect wood", "wake up"}
    assert {row["policy"] for row in rows} >= {"student", "teacher"}
    (page,) = (tmp_path / "ws").rglob("report.html")
    assert "What the environment measures" in page.read_text() and "wake up" in page.read_text()
