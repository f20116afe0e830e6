"""The tables that SQL sees: a workspace's files as Arrow datasets, typed also where empty."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from pyarrow.fs import FSSpecHandler, LocalFileSystem, PyFileSystem

from llm4teach.datasets import schema
from llm4teach.datasets.metrics import metrics_paths
from llm4teach.datasets.runs import (
    AGREEMENT,
    CONFIG,
    EARLIER_REWEIGHTING,
    EVALUATION,
    MANIFEST,
    REWEIGHTING,
)
from llm4teach.datasets.storage.parquet import (
    earlier_names,
    part_paths,
    read_json,
    read_parquet,
)
from llm4teach.datasets.storage.paths import StoragePath, below, files_in_each
from llm4teach.datasets.workspace import DatasetError, Workspace

# Tables in parts that never change, and their columns that come from folders ``key=value``.
FOLDERS = {
    "trajectories": {"task": "task", "run": "run_id"},
    "advice": {"task": "family", "teacher": "teacher"},  # it belongs to a family of tasks
}
RUNS = pa.schema(
    [
        ("run_id", pa.string()),
        ("kind", pa.string()),
        ("status", pa.string()),  # complete, unfinished or damaged
        ("created_at", pa.timestamp("us", tz="UTC")),
        ("wall_s", pa.float64()),  # seconds
        ("config", pa.string()),  # JSON
        ("results", pa.string()),  # JSON
    ]
)


def stored_tables(workspace: Workspace) -> dict[str, tuple[pa.Schema, list[StoragePath]]]:
    """Each stored table by name: its schema with the folders' columns first, and its files."""
    steps = schema.trajectories((0,))
    observation = steps.get_field_index("observation")
    steps = steps.set(observation, pa.field("observation", pa.binary()))  # its size is the task's
    runs = workspace.root / "runs"
    return {
        "trajectories": (
            _both_names(_before(steps, *FOLDERS["trajectories"].values())),
            part_paths(workspace.root / "trajectories"),
        ),
        "advice": (
            _before(schema.ADVICE, *FOLDERS["advice"].values()),
            part_paths(workspace.root / "advice"),
        ),
        "metrics": (schema.METRICS, list(metrics_paths(runs))),
        "reweighting": (_both_names(schema.REWEIGHTING), _reweighting_files(runs)),
        "evaluations": (schema.EVALUATIONS, files_in_each(runs, EVALUATION)),
        "agreement": (schema.AGREEMENT, files_in_each(runs, AGREEMENT)),
    }


def _reweighting_files(runs: StoragePath) -> list[StoragePath]:
    present = files_in_each(runs, REWEIGHTING)
    folders = {path.parent for path in present}
    earlier = files_in_each(runs, EARLIER_REWEIGHTING)
    return [*present, *(path for path in earlier if path.parent not in folders)]


def _both_names(table: pa.Schema) -> pa.Schema:
    """The schema with a column under the earlier name, too, of each column that was renamed."""
    old = [pa.field(name, table.field(new).type) for new, name in earlier_names(table).items()]
    return pa.schema([*table, *old], table.metadata)


def _before(table: pa.Schema, *columns: str) -> pa.Schema:
    new = [pa.field(name, pa.string()) for name in columns if name not in table.names]
    return pa.schema([*new, *table], table.metadata)


class ReadAnew:
    """A table whose files are found and read at every scan, each through one open file.

    Arrow's datasets keep what they know of a file and open it again, which fails where a run has
    put a new one in its place.
    """

    def __init__(self, workspace: Workspace, name: str) -> None:
        self._workspace, self._name = workspace, name
        self._schema = stored_tables(workspace)[name][0]

    def __arrow_c_schema__(self) -> Any:
        return self._schema.remove_metadata().__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        plain = self._schema.remove_metadata()
        return pa.RecordBatchReader.from_batches(plain, self._batches()).__arrow_c_stream__()

    def _batches(self) -> Iterator[pa.RecordBatch]:
        table, paths = stored_tables(self._workspace)[self._name]
        for path in paths:
            try:
                found = read_parquet(path, table)
            except DatasetError:
                if path.exists():
                    raise
                continue  # the run was given up in this moment
            for new, old in earlier_names(table).items():
                if new in found.column_names:
                    found = found.append_column(old, found.column(new))
            if self._name == "evaluations":  # the policy's name until version 0.1
                found = _with_policy_renamed(found, "weighed", "reweighted")
            missing = [f.name for f in table if f.name not in found.column_names]
            for column in missing:  # an earlier schema version
                found = found.append_column(column, pa.nulls(len(found), table.field(column).type))
            yield from found.select(table.names).cast(table).to_batches()


def _with_policy_renamed(episodes: pa.Table, old: str, new: str) -> pa.Table:
    policy = episodes.column("policy")
    renamed = pc.if_else(pc.equal(policy, old), new, policy)
    return episodes.set_column(episodes.schema.get_field_index("policy"), "policy", renamed)


def dataset(workspace: Workspace, table: pa.Schema, paths: list[StoragePath]) -> ds.Dataset:
    """One dataset over files, some of which may be of an earlier schema version.

    The folders ``name=value`` on a file's way become columns; columns that a file lacks are null.
    """
    file_format, root = ds.ParquetFileFormat(), workspace.root
    disk = LocalFileSystem() if isinstance(root, Path) else PyFileSystem(FSSpecHandler(root.fs))
    fragments = []
    for path in paths:
        parts = below(path, root).split("/")[:-1]
        folders = dict(part.split("=", 1) for part in parts if "=" in part)
        if parts[0] == "advice" and "task" in folders:
            folders["family"] = folders.pop("task")  # advice belongs to a family of tasks
        where = ds.scalar(True)
        for name in folders.keys() & set(table.names):
            where = where & (ds.field(name) == folders[name])
        name = str(path) if isinstance(path, Path) else path.path
        fragments.append(file_format.make_fragment(name, disk, partition_expression=where))
    return ds.FileSystemDataset(fragments, table.remove_metadata(), file_format)


def runs_table(workspace: Workspace) -> pa.Table:
    """One row a run, schema `RUNS`."""
    rows = [_run(workspace.run(run_id)) for run_id in workspace.run_ids()]
    return pa.Table.from_pylist(rows, schema=RUNS)


def _run(folder: StoragePath) -> dict[str, Any]:
    row: dict[str, Any] = {"run_id": folder.name}
    complete = (folder / MANIFEST).exists()
    try:
        content = read_json(folder / (MANIFEST if complete else CONFIG))
        created_at, wall_s = content.get("created_at"), content.get("wall_s")
        return row | {
            "kind": content.get("kind"),
            "status": "complete" if complete else "unfinished",
            "created_at": datetime.fromisoformat(created_at) if created_at else None,
            "wall_s": None if wall_s is None else float(wall_s),
            "config": json.dumps(content.get("config")),
            "results": json.dumps(content["results"]) if "results" in content else None,
        }
    except (DatasetError, AttributeError, TypeError, ValueError):
        return row | {"status": "damaged"}  # one broken file must not hide the other runs
