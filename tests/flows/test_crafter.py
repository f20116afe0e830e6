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


EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "crafter.py"
pytestmark = [
    pytest.mark.extended,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        importlib.util.find_spec("craftax") is None,
        reason="craftax is not installed: pip install 'llm4teach[crafter]'",
    ),
]


def done(folder: Path, *words: str) -> str:
    """Run Python with these arguments and return what it prints."""
    mine = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "LLM4TEACH_"))}
    result = subprocess.run(
        [sys.executable, *words], cwd=folder, capture_output=True, text=True, timeout=1700,
        env=mine | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("teacher", ["none", "expert"])
def test_a_student_is_taught(teacher: str, tmp_path: Path) -> None:
    words = ("teach", "--task", "Crafter", "--teacher", teacher, "--workspace", "ws", *SMALL)
    done(tmp_path, "-m", "llm4teach", *words)
    rows = run_query(Workspace(tmp_path / "ws"), "achievements", {}).to_pylist()
    assert {row["achievement"] for row in rows} >= {"collect wood", "wake up"}
    assert {row["policy"] for row in rows} >= {"student", "teacher"}
    (page,) = (tmp_path / "ws").rglob("report.html")
    assert "What the environment measures" in page.read_text() and "wake up" in page.read_text()


@pytest.mark.slow  # besides extended: the game is compiled twice
def test_the_example_prints_what_each_student_unlocks(tmp_path: Path) -> None:
    small = ("--collect", "256", "--finetune", "4096", "--episodes", "2")
    lines = done(tmp_path, str(EXAMPLE), *small).splitlines()
    header = next(i for i, line in enumerate(lines) if line.split()[:1] == ["achievement"])
    assert len(lines[header + 1 :]) == 22 and all("%" in line for line in lines[header + 1 :])
