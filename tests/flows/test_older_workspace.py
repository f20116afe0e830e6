"""A workspace of version 0.1 (before the redesign) opens, answers questions, and its runs resume.

tests/data/workspace-0.1 was written by the last version with the old names: a complete `teach`, one
killed while it was fine-tuning, and a trial of `compare` killed likewise. The expected figures are
those with which the old version itself finished the two, on another copy of the folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from llm4teach.analysis.sql.query import run_sql
from llm4teach.datasets.workspace import Workspace

pytestmark = pytest.mark.extended

STORED = Path(__file__).parents[1] / "data" / "workspace-0.1"
TAUGHT, KILLED = "teach-20261129-024716-f402", "teach-20261129-024757-8286"
TRIAL = "compare-20261129-024814-980b"
COMPARE = (
    *("--teacher", "recorded/vicuna-33b", "--collect.steps", "256", "--collect.rounds", "2"),
    *("--collect.n-envs", "8", "--pretrain.epochs", "2", "--finetune.steps", "512"),
    *("--finetune.n-envs", "8", "--finetune.rollout-length", "16", "--finetune.minibatches", "2"),
    *("--finetune.checkpoint-every", "1", "--evaluate.episodes", "20", "--seed", "5"),
    *("--seeds", "1", "--methods", "teach"),
    *("--student.encoder", "convolutions", "--pretrain.weight-decay", "0"),  # as it was then
    *("--validation.episodes", "100", "--evaluate.seeds", "test"),  # likewise
)
AT_THE_END = {  # of fine-tuning, as the old version measured it
    KILLED: {
        "entropy": 1.8040448278188705,
        "policy_loss": -0.0003676398191601038,
        "value_loss": 2.821830250354651e-06,
    },
    TRIAL: {
        "entropy": 1.7523275315761566,
        "policy_loss": -0.001043370459228754,
        "value_loss": 1.6924286043717984e-06,
    },
}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return Path(shutil.copytree(STORED, tmp_path / "workspace"))


def llm4teach(*words: str) -> str:
    line = [sys.executable, "-m", "llm4teach", *words]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "LLM4TEACH_"))}
    done = subprocess.run(
        line, capture_output=True, text=True, env=kept | {"OMP_NUM_THREADS": "1"}, timeout=500
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def last_update(workspace: Path, run_id: str) -> dict[str, float]:
    rows = run_sql(
        Workspace(workspace),
        f"SELECT name, value FROM metrics WHERE run_id = '{run_id}' AND stage = 'finetune' "
        "AND step = 512 AND name IN ('entropy', 'policy_loss', 'value_loss')",
    ).to_pylist()
    return {row["name"]: row["value"] for row in rows}


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("SELECT count(*) FROM trajectories", 768),
        ("SELECT count(*) FROM trajectories WHERE behaviour = 'noise'", None),
        ("SELECT count(*) FROM metrics WHERE stage = 'finetune'", 90),
        ("SELECT count(*) FROM evaluations WHERE policy = 'teacher' AND success", 80),
        ("SELECT count(DISTINCT state_key) FROM states", None),
        ("SELECT count(*) FROM advice WHERE question_key = state_key", None),
        ("SELECT count(*) FROM trajectories WHERE behavior = 'noise'", None),
        ("SELECT count(*) FROM outcomes WHERE weighed > advised", None),
        ("SELECT count(*) FROM reweighting WHERE reweighted > advised", None),
        ("SELECT count(*) FROM evaluations WHERE policy = 'reweighted'", None),
        ("SELECT count(*) FROM advice WHERE status = 'ok'", None),
        ("SELECT count(*) FROM runs", 4),
    ],
)
def test_it_can_be_queried(workspace: Path, question: str, answer: int | None) -> None:
    (row,) = run_sql(Workspace(workspace), question).to_pylist()
    (count,) = row.values()
    assert count > 0 and answer in (None, count)


def test_a_complete_run_has_its_report(workspace: Path) -> None:
    llm4teach("report", TAUGHT, "--workspace", str(workspace))
    page = (workspace / "runs" / TAUGHT / "report.html").read_text(encoding="utf-8")
    assert "film" in page and TAUGHT in page


def test_a_killed_run_resumes_to_the_same_student(workspace: Path) -> None:
    llm4teach("teach", "--resume", KILLED, "--workspace", str(workspace))
    assert (workspace / "runs" / KILLED / "manifest.json").exists()
    assert last_update(workspace, KILLED) == pytest.approx(AT_THE_END[KILLED], rel=1e-3)


def test_a_killed_trial_resumes_in_its_own_run(workspace: Path) -> None:
    before = {run.name for run in (workspace / "runs").iterdir()}
    llm4teach("compare", *COMPARE, "--workspace", str(workspace))
    new = {run.name for run in (workspace / "runs").iterdir() if run.is_dir()} - before
    assert len(new) == 1, "the control without an LLM, which that version did not have"
    assert last_update(workspace, TRIAL) == pytest.approx(AT_THE_END[TRIAL], rel=1e-3)
