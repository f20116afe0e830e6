"""Compaction: nothing is lost, nothing doubled, at any moment and whenever it is killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from busy_workspace import (
    RUN,
    SHAPE,
    STEPS,
    TASK,
    advice_store,
    advise,
    read_all_the_while,
    write_one_episode,
    write_parts,
)

from llm4teach.datasets.compaction import compact_folder, compact_workspace
from llm4teach.datasets.storage.locks import locked
from llm4teach.datasets.storage.parquet import part_paths
from llm4teach.datasets.storage.part_index import current_parts
from llm4teach.datasets.storage.paths import StoragePath
from llm4teach.datasets.trajectories import read_steps
from llm4teach.datasets.workspace import Workspace
from llm4teach.errors import DatasetError
from llm4teach.flows.cli.main import main


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Ten parts of trajectories and of advice."""
    return filled(Workspace(tmp_path / "workspace"))


@pytest.fixture
def anywhere(folder: StoragePath) -> Workspace:
    """The same, on a disk and in an object store."""
    return filled(Workspace(folder))


def filled(workspace: Workspace) -> Workspace:
    for i in range(10):
        write_one_episode(workspace, i)
        advise(advice_store(workspace), 3 * i, 3)
    return workspace


def kept(workspace: Workspace) -> int:
    """In an object store the last part of advice stays: its number says what comes next."""
    return 0 if isinstance(workspace.root, Path) else 1


def contents(workspace: Workspace) -> tuple[object, object]:
    steps = read_steps(workspace.trajectories(TASK), SHAPE)
    rows = advice_store(workspace).rows()
    return steps.table.to_pydict(), sorted(rows, key=lambda row: row["state_key"])


def names(folder: StoragePath) -> list[str]:
    return sorted(p.name.partition("-")[0] for p in folder.iterdir() if p.name[0] != ".")


def test_the_same_rows_in_one_part(anywhere: Workspace) -> None:
    workspace = anywhere
    before = contents(workspace)
    schemas = [read_steps(workspace.trajectories(TASK), SHAPE).table.schema]
    done = list(compact_workspace(workspace))
    assert sorted((d.parts_before, d.parts_after) for d in done) == [
        (10, 1),
        (10, 1 + kept(workspace)),
    ]
    assert contents(workspace) == before
    schemas.append(read_steps(workspace.trajectories(TASK), SHAPE).table.schema)
    assert schemas[0].equals(schemas[1], check_metadata=True)
    assert list(compact_workspace(workspace)) == [], "nothing is left to do"


def test_old_parts_go_after_the_grace_and_only_then(workspace: Workspace) -> None:
    folder, before = workspace.trajectories(TASK, RUN), contents(workspace)
    compact_folder(folder, "trajectories", grace_s=3600)
    assert names(folder).count("part") == 10
    write_one_episode(workspace, 10)
    write_one_episode(workspace, 11)
    compact_folder(folder, "trajectories", grace_s=3600)
    assert names(folder) == ["compacted"] * 2 + ["compaction"] * 2 + ["part"] * 12
    [part] = part_paths(folder)
    assert len(read_steps(folder, SHAPE)) == 12 * STEPS
    for record in folder.glob("compaction-*"):
        os.utime(record, (time.time() - 7200,) * 2)
    assert compact_folder(folder, "trajectories", grace_s=3600).deleted == 13
    assert part_paths(folder) == [part]
    compact_folder(folder, "trajectories", grace_s=3600)
    assert names(folder) == ["compacted", "compaction"], "the first record has had its day"
    assert len(read_steps(folder, SHAPE)) == 12 * STEPS
    assert contents(workspace)[1] == before[1]


def test_no_grace_deletes_at_once(anywhere: Workspace) -> None:
    workspace = anywhere
    before = contents(workspace)
    deleted = [done.deleted for done in compact_workspace(workspace, grace_s=0)]
    assert sorted(deleted) == [10 - kept(workspace), 10]
    assert contents(workspace) == before
    assert names(workspace.trajectories(TASK, RUN)) == ["compacted", "compaction"]


def test_parts_grow_to_a_size_and_are_then_left_alone(workspace: Workspace) -> None:
    folder, before = workspace.trajectories(TASK, RUN), contents(workspace)
    done = compact_folder(folder, "trajectories", max_rows=4 * STEPS)
    assert done.parts_after == 3  # of 4, 4 and 2 episodes
    assert compact_folder(folder, "trajectories", max_rows=4 * STEPS).parts_after == 3
    write_one_episode(workspace, 10)
    before_last = set(part_paths(folder))
    assert compact_folder(folder, "trajectories", max_rows=8 * STEPS).parts_after == 3
    assert len(before_last & set(part_paths(folder))) == 2, "the two large ones were not touched"
    assert contents(workspace)[1] == before[1] and len(read_steps(folder, SHAPE)) == 11 * STEPS


def test_observations_of_several_shapes_stay_apart(workspace: Workspace) -> None:
    import numpy as np

    from llm4teach.datasets.trajectories import write_steps

    folder = workspace.trajectories(TASK, RUN)
    steps = read_steps(folder, SHAPE).table.slice(0, 2).to_pydict()
    for _ in range(2):
        write_steps(folder, steps, np.zeros((2, 5, 5, 4), np.uint8))
    assert compact_folder(folder, "trajectories").parts_after == 2


def test_older_parts_without_a_column_are_filled_with_nulls(workspace: Workspace) -> None:
    import pyarrow.parquet as pq

    folder = advice_store(workspace).folder
    part = part_paths(folder)[0]
    pq.write_table(pq.ParquetFile(part).read().drop(["cost"]), part)
    compact_folder(folder, "advice")
    assert len(advice_store(workspace).rows()) == 30
    assert pq.ParquetFile(part_paths(folder)[0]).schema_arrow.metadata[b"table"] == b"advice"


def test_one_at_a_time_and_damage_is_named(workspace: Workspace) -> None:
    folder = workspace.trajectories(TASK, RUN)
    with (
        locked(folder / ".compact.lock"),
        pytest.raises(DatasetError, match="another process is compacting"),
    ):
        compact_folder(folder, "trajectories")
    broken = part_paths(folder)[3]
    broken.write_bytes(broken.read_bytes()[:50])
    with pytest.raises(DatasetError, match="not a readable Parquet file") as damaged:
        compact_folder(folder, "trajectories")
    assert str(broken) in str(damaged.value)
    assert len(part_paths(folder)) == 10
    (folder / f"compaction-{0:032x}.json").write_text("{}")
    with pytest.raises(DatasetError, match="not a record of a compaction"):
        current_parts(folder)


@pytest.mark.extended
def test_readers_and_writers_all_the_while(workspace: Workspace, tmp_path: Path) -> None:
    advise_gap = advice_store(workspace)
    advise(advise_gap, 30, 1)  # episodes and states are counted alike from here on
    for i in range(10, 31):
        write_one_episode(workspace, i)
    context = multiprocessing.get_context("spawn")
    stop, results = context.Event(), context.Queue()
    written, readings = context.Value("q", 31), context.Value("q", 0)
    arguments = (workspace.root, stop, written)
    writer = context.Process(target=write_parts, args=arguments)
    reader = context.Process(target=read_all_the_while, args=(*arguments, readings, results))
    for process in (writer, reader):
        process.start()
    compactions, until = 0, time.monotonic() + 12
    while time.monotonic() < until or (
        (compactions < 5 or readings.value < 12)
        and reader.is_alive()
        and time.monotonic() < until + 200
    ):
        compactions += len(list(compact_workspace(workspace, grace_s=8, max_rows=40 * STEPS)))
        time.sleep(0.2)
    stop.set()
    wrong = results.get(timeout=300)
    for process in (writer, reader):
        process.join(300)
    assert wrong == "" and readings.value >= 12 and compactions >= 5
    assert written.value > 31 and writer.exitcode == 0


@pytest.mark.extended
def test_killed_at_any_moment(workspace: Workspace) -> None:
    before = contents(workspace)
    code = (
        "import sys; from llm4teach.datasets.compaction import compact_workspace\n"
        "from llm4teach.datasets.workspace import Workspace\n"
        "w = Workspace(sys.argv[1]); print('ready', flush=True)\n"
        "while True: list(compact_workspace(w, grace_s=3600, max_rows=10**6)); break\n"
    )
    killed = 0
    for delay in (0, 0.01, 0.02, 0.03, 0.05, 0.08):
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(workspace.root)], stdout=subprocess.PIPE
        )
        assert process.stdout and process.stdout.readline() == b"ready\n"
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        assert contents(workspace) == before
    assert killed
    orphan = workspace.trajectories(TASK, RUN) / f"compacted-{0:032x}.parquet"
    orphan.write_bytes(b"half")
    assert contents(workspace) == before
    list(compact_workspace(workspace))
    assert contents(workspace) == before and not orphan.exists()


def test_on_the_command_line(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compact", "--workspace", str(workspace.root), "--grace", "0"]) == 0
    out = capsys.readouterr().out
    assert f"trajectories/task={TASK}/run={RUN}" in out
    assert main(["compact", "--workspace", str(workspace.root)]) == 0
    assert main(["compact", "--workspace", str(workspace.root / "no")]) == 1
    shown = capsys.readouterr()
    assert "nothing to compact" in shown.out and "there is no workspace" in shown.err
    assert main(["compact", "--grace", "x"]) == 2
