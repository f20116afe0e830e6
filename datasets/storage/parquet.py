"""Files that a reader sees whole or not at all: written beside, fsynced, renamed.

In an object store they are written to a temporary folder and stored by one PUT, which is atomic.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from llm4teach.datasets.storage.part_index import PART, current_parts, with_compactions
from llm4teach.datasets.storage.paths import StoragePath, names_in
from llm4teach.errors import DatasetError

EARLIER_NAME = b"earlier_name"  # in a renamed column's metadata: its name in older files
DEFAULT_COLUMN = b"default_column"  # likewise: the column with its values where it has none
COMPRESSED: Mapping[str, Any] = {"compression": "zstd", "compression_level": 3}  # of Parquet


@contextmanager
def replacing(path: StoragePath) -> Iterator[Path]:
    """Yield a temporary path; on leaving, make it ``path`` in one step, or remove it on an error.

    The temporary name starts with a dot, so that no reader's pattern matches it; what is for an
    object store is written to this machine's folder for temporary files first. What is there and is
    no file, such as /dev/stdout, is written to and not replaced.

    Raises:
        OSError: it cannot be written; ``filename`` is the path.
    """
    if isinstance(path, Path) and path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not isinstance(path, Path) or (path.exists() and not path.is_file()):
        with tempfile.TemporaryDirectory(prefix="llm4teach-") as scratch:
            yield (new := Path(scratch, path.name))
            path.write_bytes(new.read_bytes())
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}.tmp"
    try:
        yield temporary
        fsync(temporary)
        temporary.replace(path)
        fsync(path.parent)
    except OSError as error:
        if error.filename == str(temporary):  # which says nothing to anybody
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise
    finally:
        with suppress(OSError):  # the folder itself may be gone, or no folder
            temporary.unlink()


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder; on leaving, make it ``folder``, or remove it on an error.

    Its name starts with a dot, and it is in the nearest folder above that exists: the others are
    made at the end.

    Raises:
        DatasetError: there is something already, or it cannot be written.
    """
    if os.path.lexists(folder) and not (folder.is_dir() and not any(folder.iterdir())):
        raise DatasetError(f"{folder} exists already; move it away, or give another name")
    above = next(place for place in folder.parents if place.exists())
    temporary = above / f".{folder.name}.{uuid.uuid4().hex}.tmp"
    try:
        temporary.mkdir()
        yield temporary
        for path in sorted(temporary.rglob("*"), reverse=True):
            fsync(path)
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary.rename(folder)
        fsync(folder.parent)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error).splitlines()[0]
        raise DatasetError(
            f"{folder} cannot be written: {reason}; nothing was left there"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def local_folder(folder: StoragePath) -> Iterator[Path]:
    """Yield a folder to write files into that need a disk; an object store gets them at the end."""
    if isinstance(folder, Path):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="llm4teach-") as scratch:
        yield Path(scratch)
        for path in sorted(Path(scratch).rglob("*")):
            if path.is_file():
                (folder / path.relative_to(scratch).as_posix()).write_bytes(path.read_bytes())


@contextmanager
def local_copy(path: StoragePath) -> Iterator[Path]:
    """Yield a file that libraries can open: this one, or a copy of what is in an object store.

    Raises:
        DatasetError: it is missing.
    """
    if isinstance(path, Path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="llm4teach-") as scratch:
        copy = Path(scratch, path.name)
        try:
            copy.write_bytes(path.read_bytes())
        except FileNotFoundError:
            raise DatasetError(f"{path} is missing") from None
        yield copy


def remove_folder(folder: StoragePath) -> None:
    """Remove a folder and all that is in it."""
    if isinstance(folder, Path):
        shutil.rmtree(folder)
    else:
        folder.fs.rm(folder.path, recursive=True)


def fsync(path: Path) -> None:
    """Have the disk hold what was written to a file or folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: StoragePath, content: Any) -> None:
    """Write JSON atomically, readable by people."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_json(path: StoragePath) -> Any:
    """Read JSON.

    Raises:
        DatasetError: the file is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))  # editors put a mark before it
    except FileNotFoundError:
        raise DatasetError(f"{path} is missing") from None
    except ValueError as error:
        raise DatasetError(f"{path} is not valid JSON ({error}); was it cut short?") from None


def write_parquet(path: StoragePath, table: pa.Table) -> None:
    """Write one Parquet file atomically (zstd level 3).

    Observations, of a fixed size in bytes, hardly ever repeat: looking for repetitions among them
    would take longer than to compress them.
    """
    names = [f.name for f in table.schema if not pa.types.is_fixed_size_binary(f.type)]
    with replacing(path) as temporary:
        pq.write_table(table, temporary, use_dictionary=names, **COMPRESSED)


def write_part(folder: StoragePath, table: pa.Table) -> StoragePath:
    """Add a part to a dataset folder and return its path."""
    path = folder / f"part-{uuid.uuid4().hex}.parquet"
    write_parquet(path, table)
    return path


def parquet_file(path: StoragePath) -> pq.ParquetFile:
    """Open a part to look at its metadata: of an object only the end is read.

    Raises:
        OSError, pyarrow.ArrowInvalid: it is missing or damaged.
    """
    return pq.ParquetFile(path if isinstance(path, Path) else path.open("rb", cache_type="none"))


def read_parquet(
    path: StoragePath,
    schema: pa.Schema,
    columns: Sequence[str] | None = None,
    dictionaries: Sequence[str] = (),
) -> pa.Table:
    """Read one file written under ``schema`` or an earlier version with fewer columns.

    Renamed columns have their present names. A column with a default has the values of that other
    column where it is null or missing. Other columns that are asked for and that the file is too
    old to have are null. Columns named in ``dictionaries`` come dictionary-encoded: small where few
    values repeat.

    Raises:
        DatasetError: the file is missing, damaged, or of a newer version.
    """
    with _readable(path):
        source = path if isinstance(path, Path) else pa.BufferReader(path.read_bytes())
        file = pq.ParquetFile(source, read_dictionary=list(dictionaries))
        table = file.read(columns=_stored_columns(file.schema_arrow, schema, columns))
    return _converted(table, path, file.schema_arrow, schema, columns)


def read_batches(path: StoragePath, schema: pa.Schema, rows: int) -> Iterator[pa.Table]:
    """Read a file as `read_parquet` does, at most so many rows at a time.

    Raises:
        DatasetError: the file is missing, damaged, or of a newer version.
    """
    with local_copy(path) as local, _readable(path):
        file = pq.ParquetFile(local)
        for batch in file.iter_batches(rows):
            table = pa.Table.from_batches([batch])
            yield _converted(table, path, file.schema_arrow, schema, None)


@contextmanager
def _readable(path: StoragePath) -> Iterator[None]:
    """Raise a DatasetError where the file cannot be read."""
    try:
        yield
    except FileNotFoundError:
        raise DatasetError(f"{path} is missing") from None
    except (pa.ArrowInvalid, OSError) as error:
        detail = str(error).splitlines()[0]
        raise DatasetError(
            f"{path} is not a readable Parquet file ({detail}); it may have been cut short: "
            "restore it from a copy, or move it away to go on without it"
        ) from None


def _stored_columns(
    stored: pa.Schema, schema: pa.Schema, columns: Sequence[str] | None
) -> list[str] | None:
    """Names, in the file, of the columns to read; None for all."""
    if not columns:
        return None
    earlier = earlier_names(schema)
    needed = [*columns, *(o for n, o in default_columns(schema).items() if n in columns)]
    wanted = [n if n in stored.names else earlier.get(n, n) for n in dict.fromkeys(needed)]
    return [name for name in wanted if name in stored.names]


def _converted(
    table: pa.Table,
    path: StoragePath,
    stored: pa.Schema,
    schema: pa.Schema,
    columns: Sequence[str] | None,
) -> pa.Table:
    """Return what was read of a file under present names, with defaults in place."""
    stored_version = int((stored.metadata or {}).get(b"schema_version", b"0"))
    own_version = int((schema.metadata or {})[b"schema_version"])
    if stored_version > own_version:
        raise DatasetError(
            f"{path} has schema version {stored_version}; this release reads up to {own_version}"
        )
    for new, old in earlier_names(schema).items():
        if new not in stored.names and old in table.column_names:
            i = table.column_names.index(old)
            table = table.set_column(i, schema.field(new), table.column(i))
    for name, other in default_columns(schema).items():
        if name in (columns or schema.names) and other in table.column_names:
            values = table.column(other)
            if name in table.column_names:
                values = pc.coalesce(table.column(name), values)
                table = table.drop_columns([name])
            table = table.append_column(schema.field(name), values)
    for name in set(columns or ()) - set(table.column_names):
        table = table.append_column(
            schema.field(name), pa.nulls(len(table), schema.field(name).type)
        )
    return table.select(list(columns)) if columns else table


def earlier_names(schema: pa.Schema) -> dict[str, str]:
    """Return the earlier names of renamed columns, by their present names."""
    names = {field.name: (field.metadata or {}).get(EARLIER_NAME) for field in schema}
    return {name: earlier.decode() for name, earlier in names.items() if earlier}


def default_columns(schema: pa.Schema) -> dict[str, str]:
    """Return the columns whose values stand in for missing ones, by the name of the column."""
    names = {field.name: (field.metadata or {}).get(DEFAULT_COLUMN) for field in schema}
    return {name: other.decode() for name, other in names.items() if other}


def part_paths(folder: StoragePath) -> list[StoragePath]:
    """Every part below a dataset folder that counts, in a stable order; see `compacted`."""
    return current_parts(folder)


def flat_part_names(folder: StoragePath) -> list[str]:
    """Names of the parts right in a folder that count, sorted; quick where there are thousands.

    Raises:
        DatasetError: a compaction's record is damaged.
    """
    names = names_in(folder)
    parts = [name for name in names if PART.fullmatch(name)]
    return sorted(with_compactions(folder, parts, names))


def read_parts(
    folder: StoragePath, schema: pa.Schema, columns: Sequence[str] | None = None
) -> pa.Table:
    """Read every part below a folder as one table; empty, with the schema's columns, if none."""
    tables = [read_parquet(path, schema, columns) for path in part_paths(folder)]
    if not tables:
        return schema.empty_table().select(list(columns or schema.names))
    return pa.concat_tables(tables, promote_options="default")
