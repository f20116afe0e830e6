"""The journal: nothing lost when a process dies, and one of its own for each store."""

import hashlib
import os
from pathlib import Path

import pytest
from s3_server import BUCKET, s3_server

from llm4teach.datasets.storage.journal import Journal, Row, journal_folder
from llm4teach.datasets.storage.paths import _reached, state_folder, storage_path
from llm4teach.errors import DatasetError


def recovered(path: Path) -> list[Row]:
    rows: list[Row] = []
    Journal(path).recover(rows.extend)
    return rows


def test_rows_are_recovered_once(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.jsonl"
    journal = Journal(path)
    journal.append({"state_key": "x", "reply": "ä\n"})
    journal.clear()
    assert not recovered(path)
    for key in "yz":
        journal.append({"state_key": key})
    assert recovered(path) == [{"state_key": "y"}, {"state_key": "z"}]
    assert not path.exists() and not recovered(path)


def test_a_row_that_cannot_be_written_does_not_damage_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, write = Journal(tmp_path / "a.jsonl"), os.write
    journal.append({"state_key": "x"})

    def full(file: int, line: bytes) -> int:
        if len(line) > 8:
            return write(file, line[:8])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(os, "write", full)
        journal.append({"state_key": "yyyy"})
    journal.append({"state_key": "z"})
    assert recovered(tmp_path / "a.jsonl") == [{"state_key": "x"}, {"state_key": "z"}]


def test_an_incomplete_line_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "dead.jsonl"
    path.write_text('{"state_key": "x"}\n{"state_key": "y"}\n{"state_k')
    assert recovered(path) == [{"state_key": "x"}, {"state_key": "y"}]
    path.write_text("")
    assert not recovered(path) and not path.exists()


@pytest.mark.parametrize(
    "damage", [b"\0\0\0\0", b"", b"[1]", b"{}", b'{"state_k{"state_key": "y"}', b"\xff"]
)
def test_a_damaged_journal_is_named_and_kept(damage: bytes, tmp_path: Path) -> None:
    """A power failure may leave anything; the others can be recovered without it."""
    path, good = tmp_path / "dead.jsonl", b'{"state_key": "x"}\n'
    path.write_bytes(good + damage + b"\n" + good)
    with pytest.raises(DatasetError, match=r"line 2 of .*dead\.jsonl is damaged.*remove that line"):
        recovered(path)
    path.write_bytes(good + good)
    assert len(recovered(path)) == 2 and not path.exists()


def test_recovery_that_fails_can_be_repeated(tmp_path: Path) -> None:
    path = tmp_path / "dead.jsonl"
    path.write_text('{"state_key": "x"}\n')

    def full(rows: object) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        Journal(path).recover(full)
    assert recovered(path) == [{"state_key": "x"}]


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
