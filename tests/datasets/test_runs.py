"""Runs: several stages write one run in turn; the manifest makes it complete."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from llm4teach.datasets import metrics
from llm4teach.datasets.metrics import METRICS, PARTS, metrics_paths, read_metrics
from llm4teach.datasets.runs import Run, read_config, read_manifest
from llm4teach.datasets.storage.parquet import remove_folder, write_parquet
from llm4teach.datasets.storage.paths import StoragePath, names_in
from llm4teach.datasets.workspace import Workspace, new_run_id
from llm4teach.errors import DatasetError


def test_stages_share_a_run(folder: StoragePath) -> None:
    workspace = Workspace(folder)
    owner = Run(workspace, "teach-1", "teach")
    owner.start({"task": "T"})
    with pytest.raises(DatasetError, match="unfinished"):
        read_manifest(owner.folder)
    for _ in range(2):
        stage = Run(workspace, "teach-1", "teach")
        stage.count(questions=3)
        stage.note(task="T")
        stage.log("finetune", 64, {"kl": 0.5, "entropy": 1})
        stage.flush()
    owner.finish()
    manifest = read_manifest(owner.folder)
    assert manifest["results"] == {"questions": 6, "task": "T"}
    assert manifest["config"] == read_config(owner.folder) == {"task": "T"}
    assert manifest["versions"]["torch"]
    assert read_metrics(owner.folder).num_rows == 4
    assert not (owner.folder / PARTS).exists()


def test_forgetting_what_came_after_a_checkpoint(folder: StoragePath) -> None:
    run = Run(Workspace(folder), "r", "finetune")
    run.start({})
    for step in (10, 20, 30):
        run.log("finetune", step, {"kl": 0})
        run.log("collect", step, {"kl": 0})
    run.flush()
    run.forget_after("finetune", 20)
    table = read_metrics(run.folder).to_pylist()
    steps = [(row["stage"], row["step"]) for row in table]
    assert ("finetune", 30) not in steps and ("finetune", 20) in steps and ("collect", 30) in steps


def test_a_run_that_failed_at_once_leaves_nothing(folder: StoragePath) -> None:
    workspace = Workspace(folder)
    label, finetune = new_run_id("label"), new_run_id("finetune")
    for name in (label, finetune):
        Run(workspace, name, "x").start({})
    measured = Run(workspace, finetune, "x")
    measured.log("finetune", 1, {"kl": 0})
    measured.flush()  # it has something to keep
    for name in (label, finetune):
        Run(workspace, name, "x").discard_if_empty()
    assert workspace.run_ids() == [finetune]


def test_a_run_that_was_killed_at_once_is_not_the_newest(folder: StoragePath) -> None:
    workspace = Workspace(folder)
    assert workspace.newest_run() is None
    run = Run(workspace, new_run_id("teach"), "teach")
    run.start({})
    run.log("collect", 1, {"kl": 0})
    run.flush()
    killed = Run(workspace, new_run_id("teach"), "teach")
    killed.start({})
    killed.note(task="T")
    assert workspace.run_ids() == [run.run_id, killed.run_id]
    assert workspace.newest_run() == run.run_id


STRAY = ["@eaDir", "lost+found", ".ipynb_checkpoints", "__MACOSX", "backup", "Neuer Ordner"]
RUN = "teach-20261129-080004-000001-ffff"
COPIES = [f"{RUN} (1)", f"Copy of {RUN}", f"{RUN}.sync-conflict-20261129-080010-ABCDEFG"]


def test_other_folders_beside_runs_are_no_runs(folder: StoragePath) -> None:
    """Even with all that a run has in it; nor is an empty folder with a run's name a run."""
    workspace = Workspace(folder)
    for name in (RUN, *STRAY, *COPIES):
        run = Run(workspace, name, "teach")
        run.start({})
        logged(run, 1)
        run.write_agreement([])
    later = workspace.run("teach-20261129-080005-000001-ffff")
    later.mkdir(parents=True, exist_ok=True)
    assert workspace.run_ids() == [RUN] and workspace.newest_run() == RUN
    assert [path.parent.parent.name for path in metrics_paths(workspace.root / "runs")] == [RUN]
    for name in (*STRAY[:3], *COPIES, "..", ".", ""):
        with pytest.raises(DatasetError, match=f"the newest runs: {RUN}"):
            workspace.existing_run(name)
    assert workspace.existing_run(RUN) == workspace.run(RUN)


def logged(run: Run, *steps: int) -> None:
    for step in steps:
        run.log("finetune", step, {"kl": 0})
        run.flush()


def steps_of(run: Run) -> list[int]:
    return [row["step"] for row in read_metrics(run.folder).to_pylist()]


def test_a_flush_does_not_touch_what_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cost of a flush is that of its own rows, however many there are before them."""
    run = Run(Workspace(tmp_path), "r", "finetune")
    run.start({})
    run.flush()  # without measurements nothing is written
    assert not (run.folder / PARTS).exists()
    logged(run, *range(50))
    before = {path: path.stat() for path in (run.folder / PARTS).iterdir()}
    reads: list[object] = []
    monkeypatch.setattr(pq, "ParquetFile", lambda *a, **k: reads.append(a))
    monkeypatch.setattr(pq, "read_table", lambda *a, **k: reads.append(a))
    logged(run, 50)
    monkeypatch.undo()
    assert not reads
    after = {path: path.stat() for path in (run.folder / PARTS).iterdir()}
    assert {path: after[path] for path in before} == before
    [new] = after.keys() - before.keys()
    assert pq.read_metadata(new).num_rows == 1
    assert after[new].st_size <= max(stat.st_size for stat in before.values()) + 16
    assert steps_of(run) == list(range(51))


def test_metrics_of_an_earlier_release_are_continued(folder: StoragePath) -> None:
    """Its runs have one file of all that was flushed, finished or not."""
    run = Run(Workspace(folder), RUN, "finetune")
    run.start({})
    logged(run, 10, 20, 30)
    write_parquet(run.folder / METRICS, read_metrics(run.folder))  # without a list of parts
    remove_folder(run.folder / PARTS)
    assert steps_of(run) == [10, 20, 30]
    resumed = Run(Workspace(folder), RUN, "finetune")
    resumed.forget_after("finetune", 20)
    logged(resumed, 31, 41)
    assert steps_of(resumed) == [10, 20, 31, 41]
    assert len(list(metrics_paths(folder / "runs"))) == 3
    resumed.finish()
    assert steps_of(resumed) == [10, 20, 31, 41]
    assert [p.name for p in metrics_paths(folder / "runs")] == [METRICS]


def test_a_crash_while_metrics_are_merged_counts_nothing_twice(
    folder: StoragePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(Workspace(folder), "r", "finetune")
    run.start({})
    logged(run, 1, 2)

    def crash(folder: StoragePath) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(metrics, "remove_folder", crash)
        with pytest.raises(KeyboardInterrupt):
            run.finish()
    assert len(names_in(run.folder / PARTS)) == 2
    assert steps_of(run) == [1, 2]
    monkeypatch.setattr("time.time_ns", lambda: 0)  # the clock of another machine is behind
    logged(run, 3)
    assert sorted(steps_of(run)) == [1, 2, 3]
    run.finish()
    assert sorted(steps_of(run)) == [1, 2, 3]


def test_the_newest_run_is_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of runs that start in the same second, and beside ids of earlier releases."""
    now = datetime(2026, 11, 29, 8, 0, 5, tzinfo=UTC)

    class Clock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return now

    monkeypatch.setattr("llm4teach.datasets.workspace.datetime", Clock)
    workspace = Workspace(tmp_path)
    names = ["teach-20261129-080004-ffff"]
    for _ in range(20):
        now += timedelta(milliseconds=7)
        names.append(new_run_id("teach"))
    names.append("collect-20261129-080006-0000")
    for name in names:
        Run(workspace, name, "teach").start({})
    assert workspace.run_ids() == names
