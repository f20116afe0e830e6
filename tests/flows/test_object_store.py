"""The pipeline on a workspace in an object store, through the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from s3_server import BUCKET, SECRET

from llm4teach.datasets.champions import ChampionRegistry
from llm4teach.datasets.runs import CHECKPOINT, read_manifest
from llm4teach.datasets.trajectories import read_steps, write_steps
from llm4teach.datasets.workspace import Workspace
from llm4teach.flows.cli.main import main

SMALL = (
    *("--teacher", "recorded/vicuna-33b", "--collect.steps", "320", "--pretrain.epochs", "2"),
    *("--finetune.steps", "256", "--finetune.n-envs", "4", "--evaluate.episodes", "4"),
)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


def llm4teach(state: Path, *words: str, status: int = 0) -> tuple[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "LLM4TEACH_"))}
    mine = {"OMP_NUM_THREADS": "1", "COLUMNS": "120", "XDG_STATE_HOME": str(state)}
    done = subprocess.run(
        [sys.executable, "-m", "llm4teach", *words],
        capture_output=True,
        text=True,
        timeout=400,
        env=kept | mine,
        cwd=state,
    )
    assert done.returncode == status, f"{words}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr and SECRET not in done.stdout + done.stderr
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def taught(s3: dict[str, str], state: Path) -> Iterator[tuple[Workspace, str]]:
    url = f"s3://{BUCKET}/{uuid.uuid4().hex}"
    printed, _ = llm4teach(state, "teach", *SMALL, "--workspace", url)
    yield Workspace(url), printed


@pytest.mark.slow
def test_teach_leaves_a_complete_run(taught: tuple[Workspace, str], state: Path) -> None:
    workspace, printed = taught
    (run_id,) = workspace.run_ids()
    folder = workspace.run(run_id)
    results = read_manifest(folder)["results"]
    assert results["collect_steps"] == 320 and results["finetune_steps"] == 256
    assert results["questions"] == results["distinct_states"] > 0
    assert f"report: {folder / 'report.html'}" in printed
    assert (folder / "report.html").read_text(encoding="utf-8").count("<h2") >= 5
    assert (folder / CHECKPOINT).stat().st_size < 1_000_000
    assert list((folder / "tensorboard").iterdir())
    assert {path.name for path in state.iterdir()} == {"llm4teach"}, "nothing else on this disk"


@pytest.mark.slow
def test_label_report_export(taught: tuple[Workspace, str], state: Path) -> None:
    workspace, _ = taught
    where = ("--workspace", str(workspace.root))
    (run_id,) = workspace.run_ids()
    llm4teach(state, "report", run_id, *where)
    llm4teach(state, "export", run_id, "--format", "torchscript", *where)
    assert (workspace.run(run_id) / "student.pt").is_file()
    assert "champion" in llm4teach(state, "models", "promote", run_id, *where)[0]
    assert len(ChampionRegistry(workspace.registry("SimpleDoorKey")).events()) == 1


@pytest.mark.slow
def test_no_secret_is_written(taught: tuple[Workspace, str], state: Path) -> None:
    workspace, _ = taught
    fs = workspace.root.fs  # type: ignore[union-attr]
    objects = fs.find(workspace.root.path)  # type: ignore[union-attr]
    files = [path for path in state.rglob("*") if path.is_file()]
    assert len(objects) > 10 and [path for path in files if path.suffix == ".db"]
    assert not [name for name in objects if SECRET.encode() in fs.cat_file(name)]
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]


@pytest.mark.extended
def test_stages_and_sql(
    s3: object, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process; `teach`, which starts Prefect and takes longer, is among the slow tests."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    url = f"s3://{BUCKET}/{uuid.uuid4().hex}"
    where = ("--workspace", url)

    def ask(*words: str) -> Any:
        capsys.readouterr()
        assert main(["sql", *words, "--format", "json", *where]) == 0
        return json.loads(capsys.readouterr().out)

    recorded = ("--teacher", "recorded/vicuna-33b", "--quiet", *where)
    assert main(["collect", "--collect.steps", "320", *recorded]) == 0
    assert main(["label", *recorded]) == 0
    assert main(["pretrain", "--pretrain.epochs", "1", *recorded]) == 0
    (counted,) = ask("SELECT count(*) AS n, count(DISTINCT state_key) AS states FROM trajectories")
    assert counted["n"] == 320
    assert ask("SELECT count(*) AS n FROM advice") == [{"n": counted["states"]}]
    assert ask("--query", "asked-twice") == []
    assert [row["status"] for row in ask("SELECT status FROM runs")] == ["complete"] * 3
    for i in range(3):  # parts that compaction makes one of
        folder = Workspace(url).trajectories("SimpleDoorKey", "made")
        steps = read_steps(Workspace(url).trajectories("SimpleDoorKey"), (10, 10, 4))
        write_steps(folder, steps.table.slice(i, 1).to_pydict(), steps.observations[i : i + 1])
    assert main(["compact", "--grace", "0", *where]) == 0
    assert "3 parts, now 1" in capsys.readouterr().out
    assert ask("SELECT count(*) AS n FROM trajectories") == [{"n": 323}]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (f"s3://{BUCKET}:{SECRET}@host/x", "without credentials"),
        ("s3://no-such-bucket/x", "there is no bucket 'no-such-bucket'"),
        ("gs://bucket/x", "only folders and s3://"),
    ],
)
def test_one_clear_message(
    s3: object, url: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["label", "--workspace", url]) == 1
    shown = capsys.readouterr().err
    assert told in shown and len(shown.splitlines()) == 1 and SECRET not in shown


@pytest.mark.extended
def test_a_store_that_is_not_there(
    s3: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    where = ("--workspace", f"s3://{BUCKET}/{uuid.uuid4().hex}")
    _, shown = llm4teach(tmp_path, "sql", "FROM runs", *where, status=1)
    assert "cannot reach" in shown and "AWS_ENDPOINT_URL" in shown
    assert len(shown.splitlines()) == 1
