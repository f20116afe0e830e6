"""`llm4teach watch`: what a run's files say while it is written, and that it ends with the run."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from llm4teach.datasets.metrics import read_metrics
from llm4teach.datasets.runs import Run
from llm4teach.datasets.workspace import Workspace
from llm4teach.flows.cli.main import main
from llm4teach.flows.cli.watch import page
from llm4teach.flows.cli.watch_core import CURVES, Snapshot, snapshot

RUN = "finetune-20261121-120000-ab12"


def log(run: Run, step: int) -> None:
    run.log(
        "finetune",
        step,
        {
            "success_rate": step / 4000,
            "kl_coef": 1 - step / 4000,
            "live_questions": 2.0 if step < 2000 else 3.0,
            "steps_per_s": 800.0,
        },
    )
    run.flush()


def test_what_the_files_say(tmp_path: Path) -> None:
    run = Run(Workspace(tmp_path), RUN, "finetune")
    run.start({})
    assert snapshot(run.folder) == Snapshot(False, "", 0, {})
    run.log("pretrain", 90, {"loss": 1.0})
    run.flush()
    assert snapshot(run.folder).line == "pretrain 90 gradient steps"
    for step in (1000, 2000, 3000):
        log(run, step)
    now = snapshot(run.folder)
    assert not now.complete and (now.stage, now.step) == ("finetune", 3000)
    assert now.curves["ask_rate"] == ([1000, 2000, 3000], [2.0, 1.0, 0.0]), "a thousand steps"
    assert now.curves["success_rate"][1] == [0.25, 0.5, 0.75]
    assert "success while training 75.0%" in now.line and "kl_coef 0.25" in now.line
    run.finish()
    assert snapshot(run.folder).complete


def test_stages_that_open_the_run_anew(tmp_path: Path) -> None:
    """Each has an object of its own; the last to measure is the one that is shown."""
    first = Run(Workspace(tmp_path), RUN, "teach")
    first.start({})
    time.sleep(0.2)
    first.log("pretrain", 90, {"loss": 1.0})
    first.flush()
    second = Run(Workspace(tmp_path), RUN, "teach")
    log(second, 1000)
    second.log("validate", 1000, {"success_rate": 0.5})
    second.flush()
    assert snapshot(second.folder).line.startswith(
        "validate 1,000 env steps, success while training"
    )
    rows = read_metrics(second.folder).to_pylist()
    assert [row["wall_s"] for row in rows] == sorted(row["wall_s"] for row in rows)
    assert rows[0]["wall_s"] >= 0.2


def test_a_run_taken_up_again_has_no_negative_rate(tmp_path: Path) -> None:
    run = Run(Workspace(tmp_path), RUN, "finetune")
    run.start({})
    for step, asked in ((1000, 5), (2000, 8), (3000, 2)):
        run.log("finetune", step, {"live_questions": asked})
    run.flush()
    assert snapshot(run.folder).curves["ask_rate"][1] == [5.0, 3.0, 2.0]


def test_curves_fit_into_the_terminal(tmp_path: Path) -> None:
    run = Run(Workspace(tmp_path), RUN, "finetune")
    run.start({})
    for step in range(500, 4000, 500):
        log(run, step)
    for width in (60, 100):
        console = Console(width=width, file=io.StringIO())
        console.print(page(RUN, snapshot(run.folder), width, 40))
        drawn = console.file.getvalue()  # type: ignore[attr-defined]
        assert all(title in drawn for title in CURVES.values())
        assert max(len(line) for line in drawn.splitlines()) <= width
        assert len(drawn.splitlines()) <= 40 and "finetune 3,500 env steps" in drawn
    console.print(page(RUN, Snapshot(False, "collect", 10, {}), 80, 40))


def test_without_a_terminal_it_tells_lines_and_ends_with_the_run(tmp_path: Path) -> None:
    run = Run(Workspace(tmp_path), RUN, "finetune")
    run.start({})
    log(run, 1000)
    watching = subprocess.Popen(
        [sys.executable, "-m", "llm4teach", "watch", "--workspace", str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert watching.stdout is not None
    assert "finetune 1,000 env steps" in watching.stdout.readline()
    log(run, 2000)
    assert "finetune 2,000 env steps" in watching.stdout.readline()
    run.finish()
    assert watching.stdout.read() == f"{RUN}: complete\n"
    assert watching.wait(timeout=60) == 0


def test_once_and_misuse(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", "--workspace", str(tmp_path)]) == 1
    assert "there are no runs" in capsys.readouterr().err
    run = Run(Workspace(tmp_path), RUN, "finetune")
    run.start({})
    assert main(["watch", "--once", "--workspace", str(tmp_path)]) == 0
    assert capsys.readouterr().out.endswith(f"{RUN}: not complete\n")
    assert main(["watch", "nothing", "--workspace", str(tmp_path)]) == 1
    assert "no run 'nothing'" in capsys.readouterr().err
