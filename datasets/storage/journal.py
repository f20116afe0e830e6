"""A journal of rows that wait for their commit: killing the process does not lose them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from llm4teach.datasets.storage.paths import StoragePath, state_folder
from llm4teach.errors import DatasetError

Row = dict[str, Any]


def journal_folder(work: StoragePath) -> Path:
    """Return the folder for the journals of work at a path: on a disk of this machine.

    For work in an object store it is in the user's state folder. Every process of this machine can
    then recover what one that died has left, but other machines cannot.
    """
    return (work if isinstance(work, Path) else state_folder(work)) / "journals"


class Journal:
    """Rows as JSON lines, handed to the operating system one by one.

    A killed process loses none; a power failure may lose those since the last commit. Only the
    holder of the lock that protects these rows may use the journal.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, row: Row) -> None:
        """Add a row; its text must be Unicode, as in Parquet.

        Raises:
            OSError: it could not be written; the rows before it are unchanged.
        """
        line = orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
        file = self._open()
        try:
            size = os.fstat(file).st_size
            try:
                while line:  # a signal may shorten a large write
                    line = line[os.write(file, line) :]
            except OSError:
                os.ftruncate(file, size)
                raise
        finally:
            os.close(file)

    def clear(self) -> None:
        """Remove the rows: they are committed."""
        self._path.unlink(missing_ok=True)

    def recover(self, commit: Callable[[list[Row]], object]) -> None:
        """Commit what a process that died has left, and remove it.

        A row that was being written when the process died is dropped. The journal is removed last,
        so a crash here is safe to repeat: ``commit`` leaves out rows that are stored already.

        Raises:
            DatasetError: a line is damaged; nothing is committed, and the journal stays.
        """
        if self._path.exists():
            commit(self._rows())
            self.clear()

    def _open(self) -> int:
        flags = os.O_CREAT | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
        try:
            return os.open(self._path, flags, 0o644)
        except FileNotFoundError:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self._path, flags, 0o644)

    def _rows(self) -> list[Row]:
        complete, _, _ = self._path.read_bytes().rpartition(b"\n")
        rows = []
        for number, line in enumerate(complete.split(b"\n") if complete else (), start=1):
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError:
                row = None
            if not isinstance(row, dict) or not isinstance(row.get("state_key"), str):
                raise DatasetError(
                    f"line {number} of the journal {self._path} is damaged; the journal holds "
                    "answers that a run had no time to commit: remove that line to keep the "
                    "others, or move the file away to do without them, and repeat the command"
                )
            rows.append(row)
        return rows
