"""A task outside this project: the example and a new package, with all that runs on tasks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from llm4teach.analysis.sql.query import run_sql
from llm4teach.datasets.workspace import Workspace

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SMALL = (
    *("--collect.steps", "640", "--collect.rounds", "2", "--collect.n-envs", "8"),
    *("--pretrain.epochs", "2", "--finetune.steps", "1024", "--finetune.n-envs", "8"),
    *("--finetune.rollout-length", "32", "--evaluate.episodes", "4"),
)


def llm4teach(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    mine = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "LLM4TEACH_"))}
    command = [sys.executable, "-m", "llm4teach", *words]
    environment = mine | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=500, env=environment
    )


def done(folder: Path, *words: str) -> str:
    result = llm4teach(folder, *words)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_a_new_package_keeps_the_contract(tmp_path: Path) -> None:
    done(tmp_path, "new-task", "corridor")
    folder = tmp_path / "corridor"
    assert "keeps the contract" in done(folder, "tasks", "check", "corridor:task")
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert tested.returncode == 0, tested.stdout
    again = llm4teach(tmp_path, "new-task", "corridor")
    assert again.returncode == 2 and "exists and is not empty" in again.stderr
    wrong = llm4teach(tmp_path, "new-task", "My World")
    assert wrong.returncode == 2 and "NAME must be a module's name" in wrong.stderr


def test_a_task_that_breaks_the_contract_is_described(tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text(
        "from counter_task import counter\n"
        "task = counter()\n"
        "task.ground = lambda seen, mixtures, which: seen[:, :2] * 0.3\n"
    )
    support = Path(__file__).parents[1] / "support"
    (tmp_path / "counter_task.py").write_text((support / "counter_task.py").read_text())
    result = llm4teach(tmp_path, "tasks", "check", "wrong:task")
    assert result.returncode == 2 and "wrong:task breaks the contract of a task:" in result.stderr
    assert "  ground: must return float32" in result.stderr


OWN_ENCODER = """
import re
import torch
from signs_task import signs
from llm4teach import FunctionTeacher

class Letters(torch.nn.Module):
    def __init__(self, size):
        super().__init__()
        self.embedding = torch.nn.Embedding(256, 16)
        self.layer = torch.nn.Linear(16 * size, 64)

    def forward(self, text):  # uint8 (N, size)
        return torch.relu(self.layer(self.embedding(text.long()).flatten(1)))

task = signs(encoder=lambda shape: Letters(*shape))
teacher = FunctionTeacher(
    lambda text, options: "take " + re.search("take the (.*) one", text.lower())[1], "reader", "1"
)
"""


@pytest.mark.extended
def test_a_student_with_an_encoder_of_its_task(tmp_path: Path) -> None:
    support = Path(__file__).parents[1] / "support"
    (tmp_path / "signs_task.py").write_text((support / "signs_task.py").read_text())
    (tmp_path / "town.py").write_text(OWN_ENCODER)
    here = ("--workspace", "ws", "--task", "town:task", "--teacher", "town:teacher")
    assert "keeps the contract" in done(tmp_path, "tasks", "check", "town:task")
    done(tmp_path, "teach", *here, *SMALL, "--quiet")
    played = done(tmp_path, "play", *here, "--agent", "student", "--episodes", "4")
    assert " of 4 solved by student" in played
    (tmp_path / "town.py").rename(tmp_path / "city.py")
    code = "import llm4teach as lt; lt.load_student(workspace='ws')"
    lost = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert "has the encoder of its task town:task, which cannot be loaded: there is no module" in (
        lost.stderr
    )


@pytest.mark.extended
def test_everything_works_with_taxi(tmp_path: Path) -> None:
    """It is at most 50 lines long, and none of them are in this package."""
    for name in ("taxi.py", "rules_teacher.py"):
        source = (EXAMPLES / name).read_text()
        assert len(source.splitlines()) <= 50
        (tmp_path / name).write_text(source)
    here = ("--workspace", "ws", "--task", "taxi:task", "--teacher", "rules_teacher:teacher")
    assert "keeps the contract" in done(tmp_path, "tasks", "check", "taxi:task")
    taught = done(tmp_path, "teach", *here, *SMALL, "--quiet")
    assert "report: " in taught
    assert "1 of 1 solved by teacher" in done(tmp_path, "play", *here, "--agent", "teacher")
    assert "episodes" in done(tmp_path, "evaluate", *here, "--evaluate.episodes", "2", "--quiet")
    words = ("export", "--task", "taxi:task", "--workspace", "ws", "--format", "onnx")
    (exported, *_) = done(tmp_path, *words).splitlines()
    assert exported.endswith(".onnx")
    compared = done(
        tmp_path, "compare", *here, *SMALL, "--seeds", "1", "--methods", "pretrain", "--quiet"
    )
    assert "pretraining only" in compared
    processes = ("--scale.shards", "2", "--scale.runner", "processes")
    done(tmp_path, "collect", *here, "--collect.steps", "320", *processes, "--quiet")
    workspace = Workspace(tmp_path / "ws")
    query = "SELECT DISTINCT task, octet_length(observation) AS bytes FROM trajectories"
    (row,) = run_sql(workspace, query).to_pylist()
    assert row == {"task": "taxi:task", "bytes": 19 + 8}
    result = next((tmp_path / "ws/runs").glob("teach-*/manifest.json"))
    assert json.loads(result.read_text())["config"]["task"] == "taxi:task"


@pytest.mark.slow
@pytest.mark.parametrize("runner", ["dask", "ray"])
def test_taxi_on_a_cluster_of_this_machine(runner: str, tmp_path: Path) -> None:
    """Other processes, which no fork has made, import the user's module, too."""
    pytest.importorskip(f"prefect_{runner}")
    for name in ("taxi.py", "rules_teacher.py"):
        (tmp_path / name).write_text((EXAMPLES / name).read_text())
    here = ("--workspace", "ws", "--task", "taxi:task", "--teacher", "rules_teacher:teacher")
    cluster = ("--scale.shards", "2", "--scale.workers", "2", "--scale.runner", runner)
    done(tmp_path, "collect", *here, "--collect.steps", "320", *cluster, "--quiet")
    (row,) = run_sql(
        Workspace(tmp_path / "ws"), "SELECT count(*) AS n FROM trajectories"
    ).to_pylist()
    assert row == {"n": 320}
