"""A journal of rows that wait for their commit: killing the process does not lose them."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from llm4teach.datasets.storage.locks import locked
from llm4teach.datasets.storage.paths import DatasetError, StoragePath, state_folder

Row = dict[str, Any]
EARLIER = "0-"  # begins the name of an owner's second journal, which is recovered first


def journal_folder(work: StoragePath) -> Path:
    """Return the folder for the journals of work at a place: a disk of this machine.

    Where the work is in an object store they are in the user's state folder, so that a process
    that died can be recovered by every other one of this machine, though not by other machines.
    """
    return (work if isinstance(work, Path) else state_folder(work)) / "journals"


class Journal:
    """One process's rows, a JSON line each, handed to the operating system as they come.

    A killed process loses none; a power failure may lose those since the last commit. The file is
    locked while its owner lives, which is how others know that they may `recover` it. This needs a
    disk with flock (`journal_folder`).

    Args:
        folder: of the journals of everyone who does the same work.
        owner: name of this one, used by nobody else ever.
    """

    def __init__(self, folder: Path, owner: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{owner}.jsonl"
        while True:
            self._file = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o644)
            fcntl.flock(self._file, fcntl.LOCK_EX)
            if os.fstat(self._file).st_nlink:
                return
            os.close(self._file)  # somebody took the new file for an orphan, and removed it

    def append(self, row: Row) -> None:
        """Add a row; its text must be Unicode, as in Parquet.

        Raises:
            OSError: it could not be written; the rows before it are as they were.
        """
        line = orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
        size = os.fstat(self._file).st_size
        try:
            while line:  # a signal may cut a large write short
                line = line[os.write(self._file, line) :]
        except OSError:
            os.ftruncate(self._file, size)
            raise

    def clear(self) -> None:
        """Forget the rows: they are committed."""
        os.ftruncate(self._file, 0)

    def close(self) -> bool:
        """Remove the journal; one that still has rows stays, to be recovered."""
        if empty := not os.fstat(self._file).st_size:
            self._path.unlink(missing_ok=True)
        os.close(self._file)
        return empty


def recover(
    folder: Path, commit: Callable[[list[Row]], object], bury: Callable[[str], object]
) -> None:
    """Commit what processes that died have left, and remove their journals.

    Of a row that was being written when its process died nothing is used. An owner's leases may be
    given away only when all of its rows are committed, by whomever. A journal is removed last, so
    that who is killed in the midst of this has done no harm: both calls must bear to be repeated.

    One process at a time does this, and the others wait: what is recovered by anybody has been
    committed when this returns.

    Args:
        folder: of the journals; nothing is done where there is none.
        commit: takes the rows of a dead owner.
        bury: takes the name of a dead owner, when its rows are committed.

    Raises:
        DatasetError: a journal is damaged; nothing of it is used, and it stays.
    """
    if not folder.is_dir():
        return
    with locked(folder / ".recovery"):
        for path in sorted(folder.glob("*.jsonl")):
            _recover(path, commit, bury)


def _recover(
    path: Path, commit: Callable[[list[Row]], object], bury: Callable[[str], object]
) -> None:
    try:
        file = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # While its other journal is not recovered, the owner is not to be buried.
        other = path.with_name(f"{EARLIER}{path.name}")
        if os.fstat(file).st_nlink and not other.exists():
            commit(_rows(path))
            bury(path.stem)
            path.unlink()
    except BlockingIOError:
        pass  # its owner lives
    finally:
        os.close(file)


def copy_rows(folder: Path, owner: str, commit: Callable[[list[Row]], object]) -> None:
    """Commit what an owner has in its journals that may live, but has lost its leases.

    The journals stay as they are. When the owner goes on it will commit its rows once more.

    Args:
        folder: of the journals.
        owner: name of who wrote them; it may have none left.
        commit: takes the rows, known ones too.
    """
    for name in (f"{EARLIER}{owner}", owner):
        with suppress(FileNotFoundError, DatasetError):  # it goes on just now, and empties it
            commit(_rows(folder / f"{name}.jsonl"))


def _rows(path: Path) -> list[Row]:
    whole, _, _ = path.read_bytes().rpartition(b"\n")
    rows = []
    for number, line in enumerate(whole.split(b"\n") if whole else (), start=1):
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            row = None
        if not isinstance(row, dict) or not isinstance(row.get("state_key"), str):
            raise DatasetError(
                f"line {number} of the journal {path} is damaged; the journal holds answers that a "
                "run had no time to commit: remove that line to keep the others, or move the file "
                "away to do without them, and repeat the command"
            )
        rows.append(row)
    return rows
