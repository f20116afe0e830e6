"""Compaction: many small parts rewritten into few, while others read and append.

At no moment does a reader see a row twice or not at all, and a process that dies half-way leaves
nothing but a file that no reader looks at, which the next compaction removes.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from llm4teach.datasets import schema
from llm4teach.datasets.storage.append import last_numbered
from llm4teach.datasets.storage.locks import LockedError, locked
from llm4teach.datasets.storage.parquet import (
    COMPRESSED,
    parquet_file,
    read_parquet,
    replacing,
    write_json,
)
from llm4teach.datasets.storage.part_index import COMPACTED, current_parts, read_records
from llm4teach.datasets.storage.paths import StoragePath, names_in, walk
from llm4teach.datasets.trajectories import state_in
from llm4teach.datasets.workspace import Workspace
from llm4teach.errors import DatasetError

GRACE_S = 3600.0  # how long a reader may still need the files that it found
MAX_ROWS = 1 << 20  # of a compacted part; one with half as many is left as it is
ROW_GROUP = 1 << 17  # rows
_ORDER = {"trajectories": ("episode_id", "t"), "advice": ("created_at", "state_key")}
_SCHEMAS = {"trajectories": schema.trajectories((0,)), "advice": schema.ADVICE}


@dataclass(frozen=True)
class Compaction:
    """What was done in one folder."""

    folder: StoragePath
    parts_before: int  # that count
    parts_after: int
    bytes_before: int
    bytes_after: int
    deleted: int  # files of earlier compactions


def compact_workspace(
    workspace: Workspace, grace_s: float = GRACE_S, max_rows: int = MAX_ROWS
) -> Iterator[Compaction]:
    """Compact each folder of trajectories and advice; yield what was done, where it was anything.

    Raises:
        DatasetError: a part is damaged, or another process is compacting.
    """
    for kind in ("trajectories", "advice"):
        for place, names in walk(workspace.root / kind):
            if any(name.endswith(".parquet") for name in names):
                done = compact_folder(place, kind, grace_s, max_rows)
                if done.deleted or done.parts_before != done.parts_after:
                    yield done


def compact_folder(
    folder: StoragePath, kind: str, grace_s: float = GRACE_S, max_rows: int = MAX_ROWS
) -> Compaction:
    """Rewrite the small parts of one folder, its sub-folders not.

    Args:
        folder: that holds parts itself.
        kind: "trajectories" or "advice"; decides on the order of the rows.
        grace_s: seconds for which replaced files are kept, for those who found them before.
        max_rows: of a new part.

    Raises:
        DatasetError: a part is damaged, or another process is compacting this folder.
    """
    try:
        with locked(folder / ".compact.lock", wait=False):
            deleted = _clean(folder, grace_s)
            before = _parts_here(folder)
            _rewrite(folder, before, kind, max_rows)
            after = _parts_here(folder)
            sizes = [sum(p.stat().st_size for p in parts) for parts in (before, after)]
            if grace_s <= 0:
                deleted += _clean(folder, 0)
    except LockedError:
        raise DatasetError(f"another process is compacting {folder}; wait for it") from None
    return Compaction(folder, len(before), len(after), sizes[0], sizes[1], deleted)


def _parts_here(folder: StoragePath) -> list[StoragePath]:
    return [path for path in current_parts(folder) if path.parent == folder]


def _rewrite(folder: StoragePath, parts: list[StoragePath], kind: str, max_rows: int) -> None:
    """Write new files, and then the record that makes them count."""
    new: list[str] = []
    replaced: list[str] = []
    last = last_numbered(path.name for path in parts)  # its number says what comes next
    parts = [path for path in parts if path.name != last]
    for group in _groups(parts, kind, max_rows):
        tables = [read_parquet(path, _SCHEMAS[kind]) for path in group]
        newest = max(tables, key=_progress).schema.metadata
        table = pa.concat_tables(tables, promote_options="default")
        table = table.replace_schema_metadata(newest)
        table = table.sort_by([(column, "ascending") for column in _ORDER[kind]])
        path = folder / f"compacted-{uuid.uuid4().hex}.parquet"
        write_compacted(path, table)
        if parquet_file(path).metadata.num_rows != sum(map(len, tables)):
            raise DatasetError(f"{path} lacks rows of its parts; nothing was replaced")
        new.append(path.name)
        replaced += (old.name for old in group)
    if not new:
        return
    # A reader that finds an earlier record gone must not take what it had replaced for parts.
    there = names_in(folder)
    for record in read_records(folder, there):
        replaced += record.replaces & set(there)
    record_path = folder / f"compaction-{uuid.uuid4().hex}.json"
    write_json(record_path, {"parts": new, "replaces": sorted(set(replaced))})


def _progress(table: pa.Table) -> tuple[int, int]:
    """The schema's version, and how far a collection had come: it resumes from its last part."""
    version = int((table.schema.metadata or {}).get(b"schema_version", b"0"))
    return version, state_in(table.schema).get("stored", 0)


def _groups(parts: list[StoragePath], kind: str, max_rows: int) -> Iterator[list[StoragePath]]:
    """Small parts to make one of, with columns that fit, each group of at most ``max_rows``."""
    groups: dict[pa.DataType | None, list[StoragePath]] = {}
    rows: dict[pa.DataType | None, int] = {}
    for path in parts:
        try:
            file = parquet_file(path)
            count, file_schema = file.metadata.num_rows, file.schema_arrow
        except (pa.ArrowInvalid, OSError):
            read_parquet(path, _SCHEMAS[kind])  # says what is wrong
            raise
        if 2 * count >= max_rows:
            continue
        of = file_schema.field("observation").type if "observation" in file_schema.names else None
        if rows.get(of, 0) + count > max_rows:
            if len(groups[of]) > 1:
                yield groups[of]
            groups[of], rows[of] = [], 0
        groups.setdefault(of, []).append(path)
        rows[of] = rows.get(of, 0) + count
    yield from (group for group in groups.values() if len(group) > 1)


def write_compacted(path: StoragePath, table: pa.Table, row_group: int = ROW_GROUP) -> None:
    """Write a compacted part atomically.

    Measured by benchmarks/sql.py: trajectories in the order of their episodes are a quarter of the
    size that they have as collected, since zstd finds each map in the one before; dictionaries
    serve every column; row groups of this size cost no more than larger ones.
    """
    with replacing(path) as temporary:
        pq.write_table(table, temporary, **COMPRESSED, row_group_size=row_group)


def _clean(folder: StoragePath, grace_s: float) -> int:
    """Delete what no reader can need any more; return how many files. Needs the lock."""
    names = names_in(folder)
    records = read_records(folder, names)
    named = frozenset().union(*(record.parts for record in records))
    for name in names:
        if COMPACTED.fullmatch(name) and name not in named:  # of one that was killed
            (folder / name).unlink()
    deleted = 0
    for record in sorted(records, key=lambda r: (folder / r.name).stat().st_mtime):
        if time.time() - (folder / record.name).stat().st_mtime < grace_s:
            continue
        for name in record.replaces & set(names):
            if (folder / name).exists():
                (folder / name).unlink()
                deleted += 1
    for record in records:  # one that names nothing that was still there says nothing any more
        if not (record.parts | record.replaces) & set(names):
            (folder / record.name).unlink()
    return deleted
