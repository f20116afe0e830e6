"""The journal: nothing lost, whoever dies or is in the way, and one of its own for each store."""

import hashlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from s3_server import BUCKET, s3_server

from llm4teach.datasets.storage.journal import (
    EARLIER,
    Journal,
    Row,
    copy_rows,
    journal_folder,
    recover,
)
from llm4teach.datasets.storage.paths import DatasetError, _reached, state_folder, storage_path


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
    places = [storage_path(url)]
    with s3_server() as other:
        monkeypatch.setenv("AWS_ENDPOINT_URL", other["AWS_ENDPOINT_URL"])
        for cached in (_reached.cache_clear, type(places[0].fs).clear_instance_cache):
            cached()  # as in another process
        places.append(storage_path(url))
        first, second = map(journal_folder, places)
    assert first != second and first == journal_folder(places[0])
    assert journal_folder(storage_path("memory://work")) == journal_folder(
        storage_path("memory://work")
    )
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
