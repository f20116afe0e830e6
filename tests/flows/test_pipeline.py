"""The pipeline end to end through the command line: real Prefect, real datasets, real faults."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from llm4teach.analysis.sql.query import run_sql
from llm4teach.datasets.runs import CHECKPOINT, read_films, read_manifest
from llm4teach.datasets.workspace import Workspace
from llm4teach.student.model.checkpoint import load_tensors

RECORDED = ("--teacher", "recorded/vicuna-33b")
SMALL = (
    *("--collect.steps", "640", "--collect.rounds", "2", "--pretrain.epochs", "3"),
    *("--finetune.steps", "1024", "--finetune.n-envs", "8", "--evaluate.episodes", "12"),
    *("--finetune.rollout-length", "32"),
)


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "llm4teach", *words]


def environment() -> dict[str, str]:
    mine = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "LLM4TEACH_"))}
    return mine | {"OMP_NUM_THREADS": "1", "COLUMNS": "120"}


def llm4teach(*words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command(*words), capture_output=True, text=True, timeout=240, env=environment()
    )
    assert done.returncode == status, f"{words}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, str]:
    """A workspace in which one `teach` ran, and what it printed."""
    folder = tmp_path_factory.mktemp("taught") / "workspace"
    done = llm4teach("teach", *RECORDED, *SMALL, "--workspace", str(folder))
    for stage in ("collect", "label", "pretrain", "finetune", "evaluate"):
        assert stage in done.stderr, "a line of progress for every stage"
    first, _, others = done.stderr.partition("\n")
    assert first == "teach, SimpleDoorKey: starting a temporary Prefect server"
    assert "prefect" not in others.lower()
    return Workspace(folder), done.stdout


def test_teach_leaves_a_complete_run(taught: tuple[Workspace, str]) -> None:
    workspace, printed = taught
    (run_id,) = workspace.run_ids()
    manifest = read_manifest(workspace.run(run_id))
    results, config = manifest["results"], manifest["config"]
    films = read_films(workspace.run(run_id), {})
    assert "films" not in results and len(films) == 3 and films[0]["actions"]
    assert results["collect_steps"] == 640 and results["finetune_steps"] == 1024
    assert results["questions"] == results["distinct_states"] == 6
    assert config["teacher"]["teacher"] == "recorded/vicuna-33b" and config["seed"] == 0
    assert config["finetune"]["n_envs"] == 8
    report = workspace.run(run_id) / "report.html"
    assert f"report: {report}" in printed and "1,664 env steps" in printed
    assert report.read_text().count("<h2") >= 5
    rows = [line.split()[:2] for line in printed.splitlines()[1:5]]
    assert rows == [["student", "sampled"], ["student", "greedy"]] + [
        [policy, "sampled"] for policy in ("teacher", "random")
    ]
    assert "pretrained" in report.read_text() and "pretrained" not in printed
    assert (workspace.run(run_id) / CHECKPOINT).stat().st_size < 1_000_000
    assert list((workspace.run(run_id) / "tensorboard").iterdir())
    assert not list(workspace.root.rglob("*.tmp"))


def test_every_view_answers(taught: tuple[Workspace, str]) -> None:
    workspace, _ = taught

    def ask(sql: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = run_sql(workspace, sql).to_pylist()
        return rows

    (steps,) = ask("SELECT count(*) AS n FROM trajectories")
    led_by = {row["behaviour"] for row in ask("SELECT DISTINCT behaviour FROM trajectories")}
    assert steps["n"] == 640 and led_by >= {"student", "noise", "option: explore"}
    (reweighted,) = ask("SELECT count(*) AS n, min(reweighted) AS low FROM reweighting")
    assert reweighted["n"] >= 6 and reweighted["low"] >= 0
    assert ask("SELECT count(*) AS n FROM states") == [{"n": 6}]
    twice = "SELECT state_key FROM advice GROUP BY ALL HAVING count(*) > 1"
    assert ask(twice) == []
    (run,) = ask("SELECT kind, status FROM runs")
    assert run == {"kind": "teach", "status": "complete"}
    names = {row["name"] for row in ask("SELECT DISTINCT name FROM metrics")}
    assert names >= {"kl_coef", "live_questions", "success_rate", "loss", "steps_per_s"}
    (teacher,) = ask(
        "SELECT avg(success::int) AS rate FROM evaluations "
        "WHERE policy = 'teacher' AND mode = 'sampled'"
    )
    assert teacher["rate"] == 1.0


def test_labelling_again_asks_nothing_and_says_so(taught: tuple[Workspace, str]) -> None:
    workspace, _ = taught
    parts = sorted((workspace.root / "advice").rglob("*.parquet"))
    done = llm4teach("label", *RECORDED, "--workspace", str(workspace.root))
    assert "6 known: nothing to ask" in done.stderr
    assert "0 questions" in done.stdout
    assert sorted((workspace.root / "advice").rglob("*.parquet")) == parts


def killed_when(
    due: Callable[[], bool], newest: Callable[[], str], workspace: Workspace, *words: str
) -> str:
    """Run a command and kill it once ``due``, before it completes; return the run's id.

    On a busy machine it may be complete before the kill: then it is run once more.
    """
    while True:
        process = subprocess.Popen(
            command(*words),
            env=environment(),
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        while process.poll() is None and not due():
            time.sleep(0.02)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert due(), "it ended too early"
        if not (workspace.run(newest()) / "manifest.json").exists():
            return newest()


@pytest.mark.extended
def test_killed_while_fine_tuning_it_resumes_to_the_same_student(
    taught: tuple[Workspace, str],
) -> None:
    workspace, _ = taught
    (start,) = [run_id for run_id in workspace.run_ids() if run_id.startswith("teach")]
    sizes = ("--finetune.n-envs", "8", "--finetune.rollout-length", "32")
    steps = ("--finetune.steps", "4096", *sizes, "--seed", "5")
    where = ("--workspace", str(workspace.root))
    flags = (*RECORDED, *where, *steps, "--finetune.checkpoint-every", "2", "--from-run", start)

    def newest() -> str:
        return [run_id for run_id in workspace.run_ids() if run_id.startswith("finetune")][-1]

    llm4teach("finetune", *flags)
    whole = newest()
    again = killed_when(
        lambda: newest() != whole and (workspace.run(newest()) / "resume.safetensors").exists(),
        newest,
        workspace,
        "finetune",
        *flags,
    )
    assert again != whole

    llm4teach("finetune", "--resume", again, *where)
    first, _ = load_tensors(workspace.run(whole) / CHECKPOINT)
    second, _ = load_tensors(workspace.run(again) / CHECKPOINT)
    assert all(torch.equal(first[name], second[name]) for name in first)
    metrics = [
        pq.read_table(workspace.run(r) / "metrics.parquet").to_pylist() for r in (whole, again)
    ]
    kept = [
        [(m["step"], m["name"], m["value"]) for m in rows if m["name"] != "steps_per_s"]
        for rows in metrics
    ]
    assert kept[0] == kept[1]
    done = llm4teach("finetune", "--resume", again, *where, status=1)
    assert "is complete; there is nothing to resume" in done.stderr


@pytest.mark.extended
def test_a_teach_run_is_taken_up_where_it_stopped(tmp_path: Path) -> None:
    where = ("--workspace", str(tmp_path / "w"))
    process = subprocess.Popen(
        command("teach", *RECORDED, *SMALL, *where),
        env=environment(),
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    workspace = Workspace(tmp_path / "w")
    while process.poll() is None:
        if workspace.run_ids():
            progress = workspace.run(workspace.run_ids()[0]) / "progress.json"
            if progress.exists() and "rounds_done" in json.loads(progress.read_text()):
                break
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (run_id,) = workspace.run_ids()
    done = llm4teach("teach", "--resume", run_id, *where)
    assert "report:" in done.stdout
    results = read_manifest(workspace.run(run_id))["results"]
    assert results["collect_steps"] == 640 and results["questions"] == 6
    (row,) = run_sql(workspace, "SELECT count(*) AS n FROM trajectories").to_pylist()
    assert row["n"] == 640, "no step twice"


@pytest.mark.extended
def test_faults_are_told_in_one_sentence_and_leave_nothing(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    new = tmp_path / "new"
    cases: list[tuple[tuple[str, ...], int, str]] = [
        (("teach", "--workspace", str(file)), 1, "is a file; give a folder"),
        (("teach", "--task", "Doom", "--workspace", str(new)), 2, "unknown task 'Doom'"),
        (("teach", "--teacher", "gpt-9", "--workspace", str(new)), 1, "no teacher 'gpt-9'"),
        (("label", *RECORDED, "--workspace", str(new)), 1, "no trajectories"),
        (("evaluate", *RECORDED, "--workspace", str(new)), 1, "no student for SimpleDoorKey"),
        (
            (
                "teach",
                "--teacher",
                "openai",
                "--teacher.base-url",
                "http://127.0.0.1:1/v1",
                "--teacher.max-retries",
                "0",
                "--workspace",
                str(new),
            ),
            1,
            "http://127.0.0.1:1/v1",
        ),
    ]
    for words, status, message in cases:
        done = llm4teach(*words, status=status)
        assert message in done.stderr and done.stderr.count("\n") == 1, done.stderr
        assert not list(new.rglob("*.parquet")) and not (new / "runs").exists()


def test_a_truncated_part_is_named(taught: tuple[Workspace, str], tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(taught[0].root, copy, ignore=shutil.ignore_patterns(".prefect"))
    part = next((copy / "trajectories").rglob("part-*.parquet"))
    part.write_bytes(part.read_bytes()[:1000])
    for words in (("label", *RECORDED), ("pretrain", *RECORDED)):
        done = llm4teach(*words, "--workspace", str(copy), status=1)
        assert f"{part.name} is not a readable Parquet file" in done.stderr
    done = llm4teach("sql", "SELECT count(*) FROM trajectories", "--workspace", str(copy), status=1)
    assert part.name in done.stderr
