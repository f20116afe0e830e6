"""Locks between processes; a process that dies, however, gives up its own."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class LockedError(RuntimeError):
    """Another process holds the lock."""


@contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[None]:
    """Hold the lock that the file ``path`` stands for; it is made, and stays.

    Raises:
        LockedError: another process holds it, and ``wait`` is False.
    """
    file = _opened(path)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise LockedError(f"another process holds {path}") from None
        yield
    finally:
        os.close(file)


def _opened(path: Path) -> int:
    flags = os.O_CREAT | os.O_WRONLY
    try:
        return os.open(path, flags, 0o666)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, flags, 0o666)
