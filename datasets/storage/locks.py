"""Locks between processes: a file lock on a disk, an object that expires in an object store."""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from llm4teach.datasets.storage.object_store import get, put
from llm4teach.datasets.storage.paths import StoragePath

if TYPE_CHECKING:
    from upath import UPath

EXPIRY_S = 60.0  # an object that its holder has not renewed for so long is free
_POLL_S = 0.5  # between attempts to lock an object


class LockedError(RuntimeError):
    """Another process holds the lock."""


class Lock(Protocol):
    """A lock that at most one process, and one thread of it, holds at a time."""

    @property
    def held(self) -> bool:
        """Whether this object holds the lock; one in an object store may expire."""
        ...

    def acquire(self) -> bool:
        """Take the lock unless somebody else holds it; return whether it is held now."""
        ...

    def release(self) -> None: ...


def lock_at(path: StoragePath, expiry_s: float = EXPIRY_S) -> Lock:
    """Return the lock that a file or an object stands for.

    Args:
        path: is created, and stays.
        expiry_s: seconds after which a lock in an object store is free if it is not renewed. A
            file lock does not expire: the system frees it when its process ends.
    """
    return FileLock(path) if isinstance(path, Path) else ObjectLock(path, expiry_s)


@contextmanager
def locked(path: StoragePath, wait: bool = True) -> Iterator[None]:
    """Hold the lock of a file or an object; see `lock_at`.

    Raises:
        LockedError: another process holds it, and ``wait`` is False.
    """
    lock = lock_at(path)
    if isinstance(lock, FileLock) and wait:
        lock.acquire(wait=True)
    else:
        while not lock.acquire():
            if not wait:
                raise LockedError(f"another process holds {path}")
            time.sleep(_POLL_S)
    try:
        yield
    finally:
        lock.release()


class FileLock:
    """A lock (flock) of a file; a process that dies, however, gives it up."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    @property
    def held(self) -> bool:
        return self._file is not None

    def acquire(self, wait: bool = False) -> bool:
        """Take the lock; return whether it is held now."""
        if self._file is not None:
            return True
        file = _open(self._path)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(file)
            return False
        except BaseException:
            os.close(file)
            raise
        self._file = file
        return True

    def release(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            fcntl.flock(file, fcntl.LOCK_UN)  # a forked child may have a copy of the descriptor
            os.close(file)


def _open(path: Path) -> int:
    flags = os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o666)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, flags, 0o666)


class ObjectLock:
    """A lock as an object with an expiry, which a thread of the holder renews.

    At most one process believes that it holds the lock, if the clocks of all differ by less than
    two thirds of the expiry. A holder that was suspended finds the lock lost (`held`). What it does
    in the instant before it looks is not prevented, so a holder's writes must bear a second writer.

    Args:
        path: of the object; an empty one means that nobody holds the lock, since not every store
            deletes conditionally.
        expiry_s: seconds after which the lock is free if it is not renewed.
        clock: unix time in seconds.
    """

    def __init__(
        self, path: UPath, expiry_s: float = EXPIRY_S, clock: Callable[[], float] = time.time
    ) -> None:
        self._path, self._expiry_s, self._clock = path, expiry_s, clock
        self._owner = f"{os.getpid()}-{uuid.uuid4().hex}"
        self._etag: str | None = None  # of this holder's record
        self._ends_at = 0.0  # unix time
        self._mutex = threading.Lock()
        self._stop = threading.Event()

    @property
    def held(self) -> bool:
        return self._ends_at > self._clock()

    def acquire(self) -> bool:
        if self.held:
            return True
        with self._mutex:
            content, etag = get(self._path)
            if content and _ends_at(content) > self._clock():
                return False
            if not self._write(etag):
                return False  # another process was faster
            self._stop.set()  # the thread of a term that expired
            self._stop = threading.Event()
            threading.Thread(
                target=self._renew_regularly, args=(self._stop,), name="lock", daemon=True
            ).start()
            return True

    def renew(self) -> bool:
        """Start a new term, unless another process holds the lock; return whether it is held."""
        with self._mutex:
            if self._etag is None or not self._write(self._etag):
                self._etag, self._ends_at = None, 0.0
            return self.held

    def release(self) -> None:
        self._stop.set()
        with self._mutex:
            etag, self._etag, self._ends_at = self._etag, None, 0.0
            if etag is not None:
                put(self._path, b"", etag)

    def _write(self, etag: str | None) -> bool:
        ends_at = self._clock() + self._expiry_s
        record = json.dumps({"owner": self._owner, "ends_at": ends_at}).encode()
        stored, new = put(self._path, record, etag)
        if stored:
            self._etag, self._ends_at = new, ends_at
        return stored

    def _renew_regularly(self, stop: threading.Event) -> None:
        while not stop.wait(self._expiry_s / 3):
            with suppress(OSError):  # the next attempt may succeed, or the lock expires
                if not self.renew():
                    return


def _ends_at(record: bytes) -> float:
    """End of the term, unix time; a damaged record is free."""
    try:
        return float(json.loads(record)["ends_at"])
    except (ValueError, KeyError, TypeError):
        return 0.0
