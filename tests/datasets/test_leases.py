"""Leases and the journal: one holder at a time, nothing lost, clocks and rivals included."""

import hashlib
import json
import multiprocessing
import os
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from s3_server import BUCKET, s3_server

from llm4teach.datasets.conditional_store import ConditionalStore, FileStore, store_at
from llm4teach.datasets.journal import EARLIER, Journal, Row, copy_rows, journal_folder, recover
from llm4teach.datasets.leases import Leases
from llm4teach.datasets.object_store import ObjectStore
from llm4teach.datasets.places import DatasetError, _reached, place_of, state_folder


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
    return store_at(place_of(f"{request.param}://{bucket}/{uuid.uuid4().hex}"))


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


def test_the_journal_of_the_living_is_left_alone(tmp_path: Path) -> None:
    committed: list[object] = []
    buried: list[str] = []
    journal = Journal(tmp_path, "a")
    journal.append({"state_key": "x", "reply": "ä\n"})
    recover(tmp_path, committed.extend, buried.append)
    assert not committed and not buried
    journal.clear()
    journal.append({"state_key": "y"})
    journal.close()  # not committed, as where the disk is full
    recover(tmp_path, committed.extend, buried.append)
    assert committed == [{"state_key": "y"}] and buried == ["a"]
    assert not journals_in(tmp_path)


def test_nobody_is_buried_before_both_journals_are_committed(tmp_path: Path) -> None:
    for name in ("a", f"{EARLIER}a"):
        (tmp_path / f"{name}.jsonl").write_text(f'{{"state_key": "{name}"}}\n')
    done: list[object] = []
    recover(tmp_path, done.extend, done.append)
    rows = [{"state_key": f"{EARLIER}a"}, {"state_key": "a"}]
    assert done == [rows[0], f"{EARLIER}a", rows[1], "a"] and not journals_in(tmp_path)


def test_who_comes_while_rows_are_being_recovered_waits_for_their_commit(tmp_path: Path) -> None:
    (tmp_path / "dead.jsonl").write_text('{"state_key": "x"}\n')
    committing, go_on = threading.Event(), threading.Event()
    committed: list[object] = []

    def commit(rows: list[Row]) -> None:
        committing.set()
        assert go_on.wait(10)
        committed.extend(rows)

    def come_second() -> list[object]:
        recover(tmp_path, committed.extend, lambda owner: None)
        return list(committed)

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(recover, tmp_path, commit, lambda owner: None)
        assert committing.wait(10)
        second = threads.submit(come_second)
        threading.Event().wait(0.2)
        assert not second.done(), "it would ask what is just being committed"
        go_on.set()
        first.result(10)
        assert second.result(10) == [{"state_key": "x"}] and not journals_in(tmp_path)


def test_rows_of_the_living_are_copied_and_stay(tmp_path: Path) -> None:
    journals = [Journal(tmp_path, name) for name in ("a", f"{EARLIER}a", "b")]
    for journal, key in zip(journals, "xyz", strict=True):
        journal.append({"state_key": key})
    with (tmp_path / "a.jsonl").open("a") as file:
        file.write('{"state_key": "hal')  # it is writing just now
    committed: list[object] = []
    for _ in range(2):
        copy_rows(tmp_path, "a", committed.extend)
        copy_rows(tmp_path, "nobody", committed.extend)
    assert committed == 2 * [{"state_key": "y"}, {"state_key": "x"}]
    assert not journals[0].close(), "its own rows are still there"


def journals_in(folder: Path) -> list[Path]:
    return list(folder.glob("*.jsonl"))


def test_a_row_that_cannot_be_written_does_not_damage_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, write = Journal(tmp_path, "a"), os.write
    journal.append({"state_key": "x"})

    def full(file: int, line: bytes) -> int:
        if len(line) > 8:
            return write(file, line[:8])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(os, "write", full)
        journal.append({"state_key": "yyyy"})
    journal.append({"state_key": "z"})
    journal.close()
    committed: list[object] = []
    recover(tmp_path, committed.extend, lambda owner: None)
    assert committed == [{"state_key": "x"}, {"state_key": "z"}]


def test_a_torn_line_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "dead.jsonl").write_text('{"state_key": "x"}\n{"state_key": "y"}\n{"state_k')
    (tmp_path / "empty.jsonl").write_text("")
    committed: list[object] = []
    recover(tmp_path, committed.extend, lambda owner: None)
    assert committed == [{"state_key": "x"}, {"state_key": "y"}]
    recover(tmp_path / "nowhere", committed.extend, lambda owner: None)


@pytest.mark.parametrize(
    "damage", [b"\0\0\0\0", b"", b"[1]", b"{}", b'{"state_k{"state_key": "y"}', b"\xff"]
)
def test_a_damaged_journal_is_named_and_kept(damage: bytes, tmp_path: Path) -> None:
    """A power failure may leave anything; cut out, it stands in nobody's way."""
    good = b'{"state_key": "x"}\n'
    (tmp_path / "dead.jsonl").write_bytes(good + damage + b"\n" + good)
    committed: list[object] = []
    with pytest.raises(DatasetError, match=r"line 2 of .*dead\.jsonl is damaged.*remove that line"):
        recover(tmp_path, committed.extend, lambda owner: None)
    assert not committed
    (tmp_path / "dead.jsonl").write_bytes(good + good)
    recover(tmp_path, committed.extend, lambda owner: None)
    assert len(committed) == 2 and not journals_in(tmp_path)


def test_recovery_that_fails_can_be_repeated(tmp_path: Path) -> None:
    (tmp_path / "dead.jsonl").write_text('{"state_key": "x"}\n')

    def full(rows: object) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        recover(tmp_path, full, lambda owner: None)
    committed: list[object] = []
    recover(tmp_path, committed.extend, lambda owner: None)
    assert committed == [{"state_key": "x"}]


def test_buckets_of_one_name_have_journals_of_their_own(
    s3: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a process would commit to one store what was answered for the other."""
    url = f"s3://{BUCKET}/work"
    places = [place_of(url)]
    with s3_server() as other:
        monkeypatch.setenv("AWS_ENDPOINT_URL", other["AWS_ENDPOINT_URL"])
        for cached in (_reached.cache_clear, type(places[0].fs).clear_instance_cache):
            cached()  # as in another process
        places.append(place_of(url))
        first, second = map(journal_folder, places)
    assert first != second and first == journal_folder(places[0])
    assert journal_folder(place_of("memory://work")) == journal_folder(place_of("memory://work"))
    _reached.cache_clear()
    type(places[0].fs).clear_instance_cache()


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1", "cn-north-1"])
def test_at_amazon_a_bucket_is_the_same_from_every_region(
    region: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from upath import UPath

    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", region)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    place = UPath("s3://bucket/work", skip_instance_cache=True)  # nothing is asked
    digest = hashlib.sha256(b"s3://bucket/work").hexdigest()
    assert state_folder(place).name == digest[:16]
