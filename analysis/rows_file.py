"""Rows of a CSV file that long measurements add to, so that one that was interrupted goes on."""

from __future__ import annotations

import csv
import multiprocessing
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from llm4teach.errors import DatasetError

Row = dict[str, Any]
Key = tuple[Any, ...]


class RowsFile:
    """Rows of typed columns, at most one for each key; what is added is in the file at once.

    Args:
        path: the file, which need not exist; None keeps the rows in memory.
        columns: the type of each, which reads its text.
        key: the columns that tell rows apart.

    Raises:
        DatasetError: the file has other columns, or a value of another type.
    """

    def __init__(
        self,
        path: Path | None,
        columns: Mapping[str, Callable[[str], Any]],
        key: Sequence[str],
    ) -> None:
        self._path, self._columns, self._key = path, columns, key
        self._rows: dict[Key, Row] = {}
        if path is not None and path.exists():
            self._rows = {self._key_of(row): row for row in self._read(path)}

    def __contains__(self, key: Key) -> bool:
        return key in self._rows

    def __getitem__(self, key: Key) -> Row:
        return self._rows[key]

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows.values())

    def add(self, rows: Iterable[Row]) -> None:
        """Add rows, replacing those of the same key, and write the file anew, sorted by key."""
        self._rows |= {self._key_of(row): row for row in rows}
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        beside = self._path.with_suffix(".tmp")
        with beside.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(self._columns), lineterminator="\n")
            writer.writeheader()
            writer.writerows(self._rows[key] for key in sorted(self._rows))
        beside.replace(self._path)

    def _key_of(self, row: Row) -> Key:
        return tuple(row[name] for name in self._key)

    def _read(self, path: Path) -> list[Row]:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if reader.fieldnames != list(self._columns):
                raise DatasetError(
                    f"{path} has the columns {', '.join(reader.fieldnames or ['none'])}, not "
                    f"{', '.join(self._columns)}; give another file"
                )
            try:
                return [{n: type_(row[n]) for n, type_ in self._columns.items()} for row in reader]
            except (TypeError, ValueError) as error:
                raise DatasetError(f"{path}, line {reader.line_num}: {error}") from None


def run_jobs(
    work: Callable[..., list[Row]],
    jobs: Sequence[tuple[Any, ...]],
    processes: int,
    rows: RowsFile,
    line: Callable[[Row], str],
) -> None:
    """Do jobs in new processes; add the rows of each and print them as soon as it is done.

    Args:
        work: a function of a module, called with a job's values.
        jobs: the arguments of each.
        processes: how many work at once.
        rows: the file that the rows are added to.
        line: what to print about a row, on stderr.
    """
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        running = [pool.submit(work, *job) for job in jobs]
        for ended, future in enumerate(as_completed(running), 1):
            new = future.result()
            rows.add(new)
            for row in new:
                print(f"{ended}/{len(jobs)}: {line(row)}", file=sys.stderr, flush=True)
