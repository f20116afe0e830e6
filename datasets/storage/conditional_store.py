"""Small records that change only if they are still what the writer has read (compare and swap)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from llm4teach.datasets.storage.locks import locked
from llm4teach.datasets.storage.object_store import ObjectStore
from llm4teach.datasets.storage.paths import StoragePath

_MOST_BYTES = 4096  # of a record


class ConditionalStore(Protocol):
    """What leases need of the place where they are kept.

    On an object store ``write`` is a PUT with ``If-None-Match: *`` where nothing is expected, and
    with ``If-Match`` and the ETag of what was read otherwise; ``delete`` likewise.
    """

    def read(self, name: str) -> bytes | None:
        """Return the record, or None if there is none."""
        ...

    def write(self, name: str, content: bytes, expected: bytes | None) -> bool:
        """Store ``content`` if the record still is ``expected`` (None: absent); say whether."""
        ...

    def delete(self, name: str, expected: bytes) -> bool:
        """Remove the record if it still is ``expected``; say whether."""
        ...

    def names(self) -> list[str]:
        """Every record's name."""
        ...


def store_at(folder: StoragePath) -> ConditionalStore:
    """Return the store for records in a folder of a disk or of an object store."""
    return FileStore(folder) if isinstance(folder, Path) else ObjectStore(folder)


class FileStore:
    """Records as files of one folder.

    Comparing and swapping is one step because it happens under a lock of the folder: this holds
    among the processes of one machine, and on network disks that keep flock between machines.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = folder / ".lock"
        self._new = folder / ".new"  # one name: what a killed process leaves is reused

    def read(self, name: str) -> bytes | None:
        try:
            file = os.open(self._folder / name, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            return os.read(file, _MOST_BYTES)
        finally:
            os.close(file)

    def write(self, name: str, content: bytes, expected: bytes | None) -> bool:
        with locked(self._lock):
            if self.read(name) != expected:
                return False
            # Not fsynced: after a power failure a lease may be gone, and so is its holder.
            file = os.open(self._new, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o666)
            try:
                os.write(file, content)
            finally:
                os.close(file)
            self._new.replace(self._folder / name)
            return True

    def delete(self, name: str, expected: bytes) -> bool:
        with locked(self._lock):
            if self.read(name) != expected:
                return False
            (self._folder / name).unlink()
            return True

    def names(self) -> list[str]:
        if not self._folder.is_dir():
            return []
        return sorted(path.name for path in self._folder.iterdir() if path.name[0] != ".")
