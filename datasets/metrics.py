"""A run's measurements: a small part per flush, merged into one file when the run finishes.

The merged file lists the parts that it contains, so that a crash before their removal counts no row
twice. Parts sort by time.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from llm4teach.datasets import schema
from llm4teach.datasets.storage.parquet import (
    COMPRESSED,
    parquet_file,
    read_parquet,
    remove_folder,
    replacing,
    write_parquet,
)
from llm4teach.datasets.storage.part_index import PART
from llm4teach.datasets.storage.paths import StoragePath, below, names_in, walk
from llm4teach.datasets.workspace import is_run_id
from llm4teach.errors import DatasetError

METRICS = "metrics.parquet"  # of a finished run, and of unfinished ones of earlier releases
PARTS = "metrics"  # folder of what was flushed since
_MERGED = b"merged_parts"
_ATTEMPTS = 5  # of reading while the run merges its parts


def append_metrics(run_folder: StoragePath, rows: list[dict[str, Any]]) -> None:
    """Store rows of schema.METRICS; what is stored already is neither read nor written."""
    table = pa.Table.from_pylist(rows, schema=schema.METRICS)
    name = f"part-{time.time_ns():020d}-{uuid.uuid4().hex[:8]}.parquet"
    write_parquet(run_folder / PARTS / name, table)


def read_metrics(run_folder: StoragePath) -> pa.Table:
    """Return a run's measurements in the order in which they were taken; empty without any.

    Raises:
        DatasetError: a file is damaged.
    """
    for attempt in range(_ATTEMPTS):
        paths = _current(run_folder, *_stored(run_folder))
        try:
            return _read(paths)
        except DatasetError:
            if attempt + 1 == _ATTEMPTS or all(path.exists() for path in paths):
                raise  # else the run has merged its parts meanwhile
    raise AssertionError


def merge_metrics(
    run_folder: StoragePath, keep: Callable[[dict[str, Any]], bool] = lambda row: True
) -> None:
    """Rewrite what is stored as one file of the rows to keep.

    Raises:
        DatasetError: a file is damaged.
    """
    has_merged, parts = _stored(run_folder)
    rows = filter(keep, _read(_current(run_folder, has_merged, parts)).to_pylist())
    table = pa.Table.from_pylist(list(rows), schema=schema.METRICS)
    ids = ",".join(map(_part_id, parts))
    table = table.replace_schema_metadata({**table.schema.metadata, _MERGED: ids})
    with replacing(run_folder / METRICS) as temporary:
        pq.write_table(table, temporary, **COMPRESSED)
    if parts:
        remove_folder(run_folder / PARTS)


def metrics_paths(runs: StoragePath) -> Iterable[StoragePath]:
    """Return the files of the measurements of all runs, run by run, in one listing."""
    merged: set[str] = set()
    parts: dict[str, list[str]] = {}
    for folder, names in walk(runs):
        run_id, _, inside = below(folder, runs).partition("/")
        if inside == PARTS:
            parts[run_id] = [name for name in names if PART.fullmatch(name)]
        elif not inside and METRICS in names:
            merged.add(run_id)
    for run_id in sorted(filter(is_run_id, {*merged, *parts})):
        yield from _current(runs / run_id, run_id in merged, parts.get(run_id, []))


def _stored(run_folder: StoragePath) -> tuple[bool, list[str]]:
    """Whether there is a merged file, and the names of all parts."""
    parts = [name for name in names_in(run_folder / PARTS) if PART.fullmatch(name)]
    return (run_folder / METRICS).exists(), sorted(parts)


def _current(run_folder: StoragePath, has_merged: bool, parts: list[str]) -> list[StoragePath]:
    """The files that count: parts that were merged but not removed do not."""
    paths, merged = [], set[str]()
    if has_merged:
        paths.append(run_folder / METRICS)
        merged = _merged_ids(run_folder / METRICS) if parts else merged
    return paths + [run_folder / PARTS / n for n in sorted(parts) if _part_id(n) not in merged]


def _merged_ids(path: StoragePath) -> set[str]:
    try:
        metadata = parquet_file(path).schema_arrow.metadata or {}
    except (pa.ArrowInvalid, OSError):
        return set()  # whoever reads the file says what is wrong with it
    return set(metadata.get(_MERGED, b"").decode().split(","))


def _part_id(name: str) -> str:
    return name.removesuffix(".parquet")[-8:]


def _read(paths: Iterable[StoragePath]) -> pa.Table:
    tables = [read_parquet(path, schema.METRICS) for path in paths]
    if not tables:
        return schema.METRICS.empty_table()
    return pa.concat_tables(tables, promote_options="default")
