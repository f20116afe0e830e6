"""The tables that SQL sees: a workspace's files, typed also where there are none."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

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
    default_columns,
    earlier_names,
    part_paths,
    read_json,
    read_parquet,
)
from llm4teach.datasets.storage.paths import StoragePath, files_in_each
from llm4teach.datasets.workspace import Workspace, is_run_id
from llm4teach.errors import DatasetError

# Tables in parts that never change, and their columns that come from folders ``key=value``.
FOLDERS = {
    "trajectories": {"task": "task", "run": "run_id"},
    "advice": {"task": "family", "teacher": "teacher"},  # it belongs to a family of tasks
}
# A run id ends with its start time, see `datasets.workspace.new_run_id`.
# Grouped by run first: few rows are left for what is slow.
STATES = r"""
    SELECT task, state_key, any_value(state_text) AS state_text, sum(steps)::BIGINT AS steps,
           arg_min(run_id, regexp_extract(run_id, '\d{8}-\d{6}-.*$')) AS first_run,
           arg_max(run_id, regexp_extract(run_id, '\d{8}-\d{6}-.*$')) AS last_run
    FROM (
        SELECT task, run_id, state_key, any_value(state_text) AS state_text, count(*) AS steps
        FROM trajectories GROUP BY task, run_id, state_key
    )
    GROUP BY task, state_key
"""
_EARLIER_POLICIES = {"weighed": "reweighted"}  # names of policies until version 0.1
# SQL expressions of columns whose values were renamed, by table.
RENAMED_VALUES = {
    "evaluations": {
        "policy": "CASE policy "
        + " ".join(f"WHEN '{old}' THEN '{new}'" for old, new in _EARLIER_POLICIES.items())
        + " ELSE policy END"
    }
}
_ATTEMPTS = 5  # of reading while runs replace their files
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
        "evaluations": (schema.EVALUATIONS, _files_of_runs(runs, EVALUATION)),
        "agreement": (schema.AGREEMENT, _files_of_runs(runs, AGREEMENT)),
    }


def _files_of_runs(runs: StoragePath, name: str) -> list[StoragePath]:
    return [path for path in files_in_each(runs, name) if is_run_id(path.parent.name)]


def _reweighting_files(runs: StoragePath) -> list[StoragePath]:
    present = _files_of_runs(runs, REWEIGHTING)
    folders = {path.parent for path in present}
    earlier = _files_of_runs(runs, EARLIER_REWEIGHTING)
    return [*present, *(path for path in earlier if path.parent not in folders)]


def _both_names(table: pa.Schema) -> pa.Schema:
    """The schema with a column under the earlier name, too, of each column that was renamed."""
    old = [pa.field(name, table.field(new).type) for new, name in earlier_names(table).items()]
    return pa.schema([*table, *old], table.metadata)


def _before(table: pa.Schema, *columns: str) -> pa.Schema:
    new = [pa.field(name, pa.string()) for name in columns if name not in table.names]
    return pa.schema([*new, *table], table.metadata)


class ReadAnew:
    """A table of files that runs replace: they are found and read at every scan.

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
        for attempt in range(_ATTEMPTS):
            paths = stored_tables(self._workspace)[self._name][1]
            try:
                tables = [self._read(path) for path in paths]
            except DatasetError:
                if attempt + 1 == _ATTEMPTS or all(path.exists() for path in paths):
                    raise  # else a run has merged, replaced or given up its files meanwhile
            else:
                break
        for table in tables:
            yield from table.to_batches()

    def _read(self, path: StoragePath) -> pa.Table:
        rows = read_parquet(path, self._schema)
        for new, old in earlier_names(self._schema).items():
            if new in rows.column_names:
                rows = rows.append_column(old, rows.column(new))
        if self._name == "evaluations":
            i = rows.schema.get_field_index("policy")
            policy = rows.column(i)
            for old, new in _EARLIER_POLICIES.items():
                policy = pc.if_else(pc.equal(policy, old), new, policy)
            rows = rows.set_column(i, "policy", policy)
        for field in self._schema:  # an earlier schema version has fewer
            if field.name not in rows.column_names:
                rows = rows.append_column(field.name, pa.nulls(len(rows), field.type))
        return rows.select(self._schema.names).cast(self._schema)


class Unreadable:
    """A table with a damaged file: only a query that needs the table fails."""

    def __init__(self, table: pa.Schema, error: Exception) -> None:
        self._schema, self._error = table.remove_metadata(), error

    def __arrow_c_schema__(self) -> Any:
        return self._schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return pa.RecordBatchReader.from_batches(self._schema, self._fail()).__arrow_c_stream__()

    def _fail(self) -> Iterator[pa.RecordBatch]:
        raise DatasetError(str(self._error))
        yield


def select_parts(
    connection: duckdb.DuckDBPyConnection,
    table: pa.Schema,
    urls: Sequence[str],
    folders: Mapping[str, str],
    values: Mapping[str, str] | None = None,
) -> str:
    """Return the SELECT of a table's columns from its Parquet files; typed also without files.

    Columns that a file lacks, because it is of an earlier schema version, are null, or have the
    values of their default column. A renamed column has its values under both names, whichever
    name a file stores.

    Args:
        connection: that can read the files.
        table: the columns.
        urls: of the files, for that connection.
        folders: columns that come from folders ``key=value``, by that key; also where they are
            stored, too: what is one value in a whole file is read faster, and skips files.
        values: SQL expressions of columns that are not read unchanged.

    Raises:
        duckdb.Error: a file is damaged, or is not in such folders.
    """
    connection.register("_empty", table.remove_metadata().empty_table())
    kinds = {row[0]: row[1] for row in connection.sql("DESCRIBE _empty").fetchall()}
    connection.unregister("_empty")
    source, stored = "(SELECT 1) WHERE false", {}
    if urls:
        hive = ", hive_partitioning = true, hive_types_autocast = false" if folders else ""
        files = ", ".join(map(quoted, urls))
        source = f"read_parquet([{files}], union_by_name = true{hive})"
        stored = {row[0]: row[1] for row in connection.sql(f"DESCRIBE FROM {source}").fetchall()}
    keys = {column: key for key, column in folders.items()}
    twins = earlier_names(table)
    twins |= {old: new for new, old in twins.items()}
    defaults = default_columns(table)
    columns = []
    for column, kind in kinds.items():
        names = [keys.get(column, column), twins.get(column, ""), defaults.get(column, "")]
        names = [name for name in names if name in stored]
        exprs = [_name(n) if stored[n] == kind else f"CAST({_name(n)} AS {kind})" for n in names]
        expr = f"coalesce({', '.join(exprs)})" if exprs else f"NULL::{kind}"
        expr = exprs[0] if len(exprs) == 1 else expr
        if values and column in values and stored:
            expr = values[column]
        columns.append(f"{expr} AS {_name(column)}")
    return f"SELECT {', '.join(columns)} FROM {source}"


def quoted(text: str) -> str:
    """Return a text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def _name(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def runs_table(workspace: Workspace) -> pa.Table:
    """One row per run, schema `RUNS`."""
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
