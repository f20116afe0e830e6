"""Appending to a dataset folder after a look at all that is in it, one process after the other.

On a disk a lock of the folder sees to it. In an object store parts are numbered, and a part is
stored only if its number is free: of two that have seen the same parts one has to look again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from llm4teach.datasets.storage.locks import locked
from llm4teach.datasets.storage.object_store import create
from llm4teach.datasets.storage.parquet import COMPRESSED, write_part
from llm4teach.datasets.storage.paths import StoragePath

_NUMBERED = re.compile(r"part-(\d{12})\.parquet")
Append = Callable[[pa.Table, Iterable[str]], str | None]


@contextmanager
def appending(folder: StoragePath) -> Iterator[Append]:
    """Yield what appends a part.

    It takes a table and the names of all parts that the caller has looked at. It returns the new
    part's name, or None if others have appended since: then the caller looks again. Compactions
    leave the part with the highest number in its place (`last_numbered`).

    Raises:
        DatasetError: the object store has no conditional writes.
    """
    if not isinstance(folder, Path):
        yield lambda table, seen: _create_next(folder / _next(seen), table)
        return
    with locked(folder / ".commit.lock"):
        _remove_leftovers(folder)
        yield lambda table, seen: write_part(folder, table).name


def last_numbered(names: Iterable[str]) -> str | None:
    """Name of the part with the highest number, if any has one."""
    return max((name for name in names if _NUMBERED.fullmatch(name)), default=None)


def _next(seen: Iterable[str]) -> str:
    last = _NUMBERED.fullmatch(last_numbered(seen) or "")
    return f"part-{int(last[1]) + 1 if last else 1:012d}.parquet"


def _create_next(place: StoragePath, table: pa.Table) -> str | None:
    assert not isinstance(place, Path)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **COMPRESSED)
    return place.name if create(place, sink.getvalue().to_pybytes()) else None


def _remove_leftovers(folder: Path) -> None:
    """Remove unfinished parts of processes that died; for who alone may write parts right now."""
    with os.scandir(folder) as entries:
        torn = [e.path for e in entries if e.name[:6] == ".part-" and e.name[-4:] == ".tmp"]
    for path in torn:
        Path(path).unlink(missing_ok=True)
