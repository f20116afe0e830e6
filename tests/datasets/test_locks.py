"""Locks: one holder at a time, on a disk and in an object store, clocks and rivals included."""

import threading
import uuid
from pathlib import Path
from typing import Any

import pytest

from llm4teach.datasets.storage.locks import LockedError, ObjectLock, lock_at, locked
from llm4teach.datasets.storage.object_store import get, put
from llm4teach.datasets.storage.paths import StoragePath, storage_path


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["memory", "s3"])
def stored(request: pytest.FixtureRequest) -> Any:
    """A folder in an object store."""
    if request.param == "s3":
        request.getfixturevalue("s3")
    bucket = "bucket" if request.param == "s3" else "m"
    return storage_path(f"{request.param}://{bucket}/{uuid.uuid4().hex}")


def test_one_holder_at_a_time(folder: StoragePath) -> None:
    first, second = (lock_at(folder / "x.lock") for _ in range(2))
    assert first.acquire() and first.acquire() and first.held
    assert not second.acquire() and not second.held
    with pytest.raises(LockedError, match="another process"), locked(folder / "x.lock", wait=False):
        pass
    second.release()
    assert not second.acquire(), "only the holder can give it back"
    first.release()
    assert not first.held and second.acquire()
    second.release()
    with locked(folder / "x.lock", wait=False), locked(folder / "other.lock"):
        pass


def test_a_file_lock_can_be_waited_for(tmp_path: Path) -> None:
    order, waiter = list[str](), lock_at(tmp_path / "folder" / "lock")

    def wait() -> None:
        with locked(tmp_path / "folder" / "lock"):
            order.append("second")

    with locked(tmp_path / "folder" / "lock"):
        thread = threading.Thread(target=wait)
        thread.start()
        assert not waiter.acquire()
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_a_lock_in_an_object_store_expires(stored: Any) -> None:
    clock = Clock()
    a, b = (ObjectLock(stored / "x", 60, clock) for _ in range(2))
    assert a.acquire()
    clock.now += 59
    assert a.held and not b.acquire()
    assert a.renew()
    clock.now += 59
    assert a.held and not b.acquire()
    clock.now += 2
    assert not a.held and b.acquire(), "taken over when the term is over"
    assert not a.renew() and not a.held and not a.acquire(), "its first holder learns of it"
    a.release()
    assert b.held and b.renew(), "a holder that has lost the lock cannot give it back"
    b.release()
    assert a.acquire()
    clock.now += 100
    assert not a.held and a.renew(), "late, but nobody has replaced it"
    a.release()


def test_a_damaged_record_is_free(stored: Any) -> None:
    put(stored / "x", b'{"owner": "z", "ends', None)
    lock = ObjectLock(stored / "x")
    assert lock.acquire()
    lock.release()


def test_a_lock_is_renewed_while_it_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    renewed, renew = threading.Semaphore(0), ObjectLock.renew

    def counted(self: ObjectLock) -> bool:
        try:
            return renew(self)
        finally:
            renewed.release()

    monkeypatch.setattr(ObjectLock, "renew", counted)
    path = storage_path(f"memory://m/{uuid.uuid4().hex}")
    assert not isinstance(path, Path)
    lock = ObjectLock(path, 0.05)
    assert lock.acquire()
    assert all(renewed.acquire(timeout=300) for _ in range(5))
    lock.release()
    assert get(path)[0] == b"", "given back"


def test_an_object_changes_only_from_what_was_read(stored: Any) -> None:
    assert get(stored / "x") == (None, None)
    is_stored, first = put(stored / "x", b"1", None)
    assert is_stored and not put(stored / "x", b"2", None)[0]
    assert put(stored / "x", b"2", first)[0] and not put(stored / "x", b"3", first)[0]
    content, etag = get(stored / "x")
    assert content == b"2" and put(stored / "x", b"", etag)[0]
