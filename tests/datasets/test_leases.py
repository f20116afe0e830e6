"""Leases: one holder at a time, clocks and rivals included."""

import json
import multiprocessing
import os
import threading
import uuid
from pathlib import Path

import pytest

from llm4teach.datasets.storage.conditional_store import ConditionalStore, FileStore, store_at
from llm4teach.datasets.storage.leases import Leases
from llm4teach.datasets.storage.object_store import ObjectStore
from llm4teach.datasets.storage.paths import storage_path


class Bucket:
    """An object store in memory that writes conditionally, as S3 does."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self._mutex = threading.Lock()

    def read(self, name: str) -> bytes | None:
        return self.objects.get(name)

    def write(self, name: str, content: bytes, expected: bytes | None) -> bool:
        with self._mutex:
            if self.objects.get(name) != expected:
                return False
            self.objects[name] = content
            return True

    def delete(self, name: str, expected: bytes) -> bool:
        with self._mutex:
            if self.objects.get(name) != expected:
                return False
            del self.objects[name]
            return True

    def names(self) -> list[str]:
        return list(self.objects)


@pytest.fixture(params=["files", "bucket", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ConditionalStore:
    if request.param == "bucket":
        return Bucket()
    if request.param == "files":
        return store_at(tmp_path / "leases")
    if request.param == "s3":
        request.getfixturevalue("s3")
    bucket = "bucket" if request.param == "s3" else "m"
    return store_at(storage_path(f"{request.param}://{bucket}/{uuid.uuid4().hex}"))


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_a_record_changes_only_from_what_was_read(store: ConditionalStore) -> None:
    assert store.read("x") is None and store.names() == []
    assert store.write("x", b"1", None)
    assert not store.write("x", b"2", None) and not store.write("x", b"2", b"0")
    assert store.write("x", b"2", b"1") and store.read("x") == b"2"
    assert not store.delete("x", b"1") and store.names() == ["x"]
    assert store.delete("x", b"2") and not store.delete("x", b"2") and store.names() == []


def test_one_holder_at_a_time_and_expiry(store: ConditionalStore) -> None:
    clock = Clock()
    a, b = (Leases(store, owner, 60, clock) for owner in "ab")
    assert a.acquire("x") and a.acquire("x") and a.holds("x")
    assert not b.acquire("x") and b.acquire("y")
    clock.now += 59
    assert a.holds("x") and not b.acquire("x")
    a.renew()
    clock.now += 59
    assert a.holds("x") and not b.acquire("x") and not b.holds("y"), "b did not renew"
    clock.now += 2
    assert not a.holds("x") and b.acquire("x"), "taken over when the term is over"
    a.renew()
    assert not a.holds("x") and not a.acquire("x"), "and its first holder learns of it"
    a.release("x")
    assert b.holds("x"), "who has lost a lease cannot give it back"
    b.release("x")
    assert a.acquire("x")


def test_a_late_holder_that_nobody_replaced_goes_on(store: ConditionalStore) -> None:
    clock = Clock()
    a = Leases(store, "a", 60, clock)
    assert a.acquire("x")
    clock.now += 100
    assert not a.holds("x")
    a.renew()
    assert a.holds("x")


def test_damaged_and_dead_leases_are_free(store: ConditionalStore) -> None:
    a, b = Leases(store, "a"), Leases(store, "b")
    store.write("torn", b'{"owner": "z", "ends', None)
    assert a.acquire("torn")
    assert a.acquire("x") and not b.acquire("x")
    b.forget("a")
    assert b.acquire("x") and b.acquire("torn")


def test_the_heart_beats_while_the_context_lasts(store: ConditionalStore) -> None:
    term_s = 2.0 if isinstance(store, ObjectStore) else 0.3  # a busy machine's server is slow
    with Leases(store, "a", term_s) as a:
        assert a.acquire("x")
        rival = Leases(store, "b", term_s)
        for _ in range(int(20 * term_s)):
            threading.Event().wait(0.1)
            assert a.holds("x") and not rival.acquire("x")
    assert store.names() == [], "given back on leaving"


def _count_wins(folder: Path, rounds: int, results: "multiprocessing.Queue[int]") -> None:
    leases, wins = Leases(FileStore(folder), str(os.getpid()), 0.0), 0
    for i in range(rounds):
        # Terms of no length: each lease is over at once, and everybody always takes over.
        wins += leases.acquire(f"lease {i % 3}")
    results.put(wins)


def test_rivals_in_other_processes_never_break_a_record(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    results: multiprocessing.Queue[int] = context.Queue()
    workers = [context.Process(target=_count_wins, args=(tmp_path, 60, results)) for _ in range(3)]
    for worker in workers:
        worker.start()
    wins = sum(results.get(timeout=60) for _ in workers)
    for worker in workers:
        worker.join()
    assert 0 < wins <= 180
    names = FileStore(tmp_path).names()
    assert names == ["lease 0", "lease 1", "lease 2"]
    for name in names:
        assert set(json.loads((tmp_path / name).read_bytes())) == {"owner", "ends_at"}
