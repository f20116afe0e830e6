"""Atomic parts: whole or not there, whatever dies; damage is told in one sentence."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llm4teach.datasets import schema
from llm4teach.datasets.storage.parquet import (
    part_paths,
    read_json,
    read_parquet,
    read_parts,
    replacing,
    write_json,
    write_part,
)
from llm4teach.datasets.workspace import Workspace, new_run_id
from llm4teach.errors import DatasetError

ROW = {"run_id": "r", "stage": "s", "step": 1, "name": "n", "value": 1.0, "wall_s": 0.0}
TABLE = pa.Table.from_pylist([ROW], schema=schema.METRICS)


def test_parts_come_back(tmp_path: Path) -> None:
    assert read_parts(tmp_path / "nothing", schema.METRICS).num_rows == 0
    for _ in range(3):
        write_part(tmp_path / "a", TABLE)
    assert read_parts(tmp_path, schema.METRICS).to_pylist() == [ROW] * 3
    assert read_parts(tmp_path, schema.METRICS, ["value"]).column_names == ["value"]


def test_every_schema_has_a_version_and_units() -> None:
    tables = [schema.trajectories((10, 10, 4)), schema.ADVICE, schema.METRICS, schema.EVALUATIONS]
    for table in tables:
        assert int(table.metadata[b"schema_version"]) >= schema.VERSION
        assert all(b"unit" in field.metadata for field in table)
    assert schema.ADVICE.field("latency_s").metadata[b"unit"] == b"seconds"


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert read_json(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_truncated_part_is_named(tmp_path: Path, keep: int) -> None:
    path = write_part(tmp_path, TABLE)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DatasetError, match=rf"{path.name} is not a readable Parquet file"):
        read_parts(tmp_path, schema.METRICS)


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "part-x.parquet"
    pq.write_table(TABLE.replace_schema_metadata({"schema_version": "99"}), path)
    with pytest.raises(DatasetError, match="schema version 99; this release reads up to 1"):
        read_parquet(path, schema.METRICS)


def test_missing_and_damaged_json(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is missing"):
        read_json(tmp_path / "no.json")
    (tmp_path / "bad.json").write_text('{"a": ')
    with pytest.raises(DatasetError, match="not valid JSON"):
        read_json(tmp_path / "bad.json")


WRITER = """
import sys
from pathlib import Path
import pyarrow as pa
from llm4teach.datasets import schema as schema
from llm4teach.datasets.storage.parquet import write_part
row = {"run_id": "r", "stage": "s", "step": 1, "name": "n", "value": 1.0, "wall_s": 0.0}
table = pa.Table.from_pylist([row] * 1000, schema=schema.METRICS)
print("ready", flush=True)
while True:
    write_part(Path(sys.argv[1]), table)
"""


@pytest.mark.extended
def test_killed_at_any_moment_every_part_is_whole(tmp_path: Path) -> None:
    for attempt in range(4):
        command = [sys.executable, "-c", WRITER, str(tmp_path)]
        writer = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        before = len(part_paths(tmp_path))
        while len(part_paths(tmp_path)) == before:
            time.sleep(0.001)
        time.sleep(0.037 * attempt)  # at whatever moment
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
    assert part_paths(tmp_path)
    for path in part_paths(tmp_path):
        assert read_parquet(path, schema.METRICS).num_rows == 1000


def test_a_workspace_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match="is a file; give a folder"):
        Workspace(tmp_path / "file")
    with pytest.raises(DatasetError, match="only folders and s3://"):
        Workspace("ftp://host/x")
    assert not (tmp_path / "new").exists() and Workspace(tmp_path / "new").run_ids() == []
    with pytest.raises(DatasetError, match=r"no run 'x'.*none"):
        Workspace(tmp_path).existing_run("x")


def test_run_ids_sort_by_time_whatever_their_kind(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    names = ["teach-20260101-000000-aaaa", "collect-20260102-000000-aaaa"]
    for name in names:
        write_json(workspace.run(name) / "config.json", {})
    assert workspace.run_ids() == names
    assert len({new_run_id("x") for _ in range(20)}) == 20
