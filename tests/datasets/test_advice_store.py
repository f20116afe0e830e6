"""The advice store: no state twice, other teachers' advice untouched."""

import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.datasets.compaction import compact_folder
from llm4teach.datasets.schema import ADVICE
from llm4teach.datasets.storage.parquet import parquet_file, part_paths, read_parquet, write_parquet
from llm4teach.datasets.storage.paths import StoragePath


def row(key: str, plan: str = "explore") -> dict[str, Any]:
    return {
        "state_key": key,
        "state_text": key,
        "status": "ok",
        "options": [{"plan": plan, "probability": 1.0}],
        "entropy": 0.0,
        "coverage": 1.0,
        "replies": ["a raw reply"],
    }


def test_commit_then_known(folder: StoragePath) -> None:
    store = AdviceStore(folder, "teacher", "p1")
    assert store.missing(["a", "b", "a"]) == ["a", "b"]
    store.commit([row("a")])
    store.commit([])
    assert store.missing(["a", "b"]) == ["b"]
    (stored,) = AdviceStore(folder, "teacher", "p1").rows()
    assert stored["options"] == row("a")["options"] and stored["replies"] == ["a raw reply"]
    assert stored["teacher_id"] == "teacher" and stored["created_at"].tzinfo is not None


def test_another_prompt_or_teacher_is_another_store(folder: StoragePath) -> None:
    AdviceStore(folder, "teacher", "p1").commit([row("a")])
    assert AdviceStore(folder, "teacher", "p2").missing(["a"]) == ["a"]
    assert AdviceStore(folder, "other", "p1").missing(["a"]) == ["a"]
    assert AdviceStore(folder, "teacher", "p1").missing(["a"]) == []


def test_of_two_answers_the_earlier_counts(folder: StoragePath) -> None:
    store = AdviceStore(folder, "teacher", "p1")
    store.commit([row("a", "explore")])
    store.commit([row("a", "drop key"), row("b")])
    plans = {r["state_key"]: r["options"][0]["plan"] for r in store.rows()}
    assert plans == {"a": "explore", "b": "explore"}


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.sampled_from("abcdef"), unique=True), max_size=5))
def test_it_behaves_like_a_set(tmp_path_factory: Any, batches: list[list[str]]) -> None:
    store = AdviceStore(tmp_path_factory.mktemp("advice"), "t", "p")
    known: set[str] = set()
    for batch in batches:
        assert set(store.missing(batch)) == set(batch) - known
        store.commit([row(key) for key in batch])
        known |= set(batch)
    assert {r["state_key"] for r in store.rows()} == known


def test_lookup_reads_the_earliest_answer_of_each_state(folder: StoragePath) -> None:
    store, other = (AdviceStore(folder, "teacher", p) for p in ("p1", "p2"))
    store.commit([row("a"), row("b", "drop key")])
    other.commit([row("a", "open door")])
    store.commit([row("c")])
    found = AdviceStore(folder, "teacher", "p1").lookup(["c", "a", "z", "a"])
    assert {key: r["options"][0]["plan"] for key, r in found.items()} == {
        "a": "explore",
        "c": "explore",
    }
    assert found["a"]["teacher_id"] == "teacher" and found["a"]["prompt_version"] == "p1"
    assert store.lookup(["b"], ["options"]) == {"b": {"options": row("b", "drop key")["options"]}}
    assert store.lookup([]) == {} == AdviceStore(folder / "none", "t", "p").lookup(["a"])


def test_advice_stored_before_a_column_was_added_is_read(tmp_path: Path) -> None:
    store = AdviceStore(tmp_path, "t", "p")
    store.commit([row("a")])
    [part] = part_paths(tmp_path)
    pq.write_table(pq.read_table(str(part)).drop_columns(["raw_sum"]), str(part))
    again = AdviceStore(tmp_path, "t", "p")
    again.commit([row("b")])
    assert again.lookup(["a"])["a"]["raw_sum"] is None
    assert again.missing(["a", "b", "c"]) == ["c"]
    assert [r["state_key"] for r in again.rows()] == ["a", "b"]


def test_advice_of_earlier_releases_is_keyed_by_its_state(folder: StoragePath) -> None:
    """They had no question_key; a part that lacks it may be compacted with one that has it."""
    AdviceStore(folder, "t", "p").commit([row("a")])
    [part] = part_paths(folder)
    write_parquet(part, read_parquet(part, ADVICE).drop_columns(["question_key"]))
    store = AdviceStore(folder, "t", "p")
    assert store.commit([row("a"), row("b"), {**row("b"), "question_key": "q"}]) == 2
    for _ in range(2):
        assert store.missing(["a", "b", "q", "c"]) == ["c"]
        answers = store.lookup(["a", "q"], ["question_key", "state_key"])
        assert answers == {
            "a": {"question_key": "a", "state_key": "a"},
            "q": {"question_key": "q", "state_key": "b"},
        }
        assert sorted(store.table(["question_key"]).column(0).to_pylist()) == ["a", "b", "q"]
        compact_folder(folder, "advice", grace_s=0)


def test_two_rows_of_one_state_count_as_the_earlier(tmp_path: Path) -> None:
    """As where no lock kept two processes from committing the same state."""
    for name, plan in (("first", "drop key"), ("second", "explore")):
        AdviceStore(tmp_path / name, "teacher", "p1").commit([row("a", plan), row(name)])
        if name == "first":
            time.sleep(0.01)
    (first,), (second,) = (list((tmp_path / n).glob("*.parquet")) for n in ("first", "second"))
    together = tmp_path / "together"
    together.mkdir()
    second.rename(together / f"part-{0xA:032x}.parquet")
    first.rename(together / f"part-{0xB:032x}.parquet")
    store = AdviceStore(together, "teacher", "p1")
    assert store.lookup(["a"])["a"]["options"] == row("a", "drop key")["options"]
    assert [r["state_key"] for r in store.rows()] == ["a", "first", "second"]
    assert store.rows()[0]["options"] == row("a", "drop key")["options"]
    assert store.table(["state_key"]).column_names == ["state_key"]


def test_stores_see_each_others_commits_and_commit_no_state_twice(folder: StoragePath) -> None:
    first, second = (AdviceStore(folder, "teacher", "p1") for _ in range(2))
    assert first.missing(["a"]) == second.missing(["a"]) == ["a"]
    assert first.commit([row("a"), row("a", "drop key")]) == 1
    assert second.commit([row("a", "drop key"), row("b")]) == 1
    assert first.missing(["a", "b", "c"]) == ["c"]
    raw = [parquet_file(path).metadata.num_rows for path in folder.glob("*.parquet")]
    assert sorted(raw) == [1, 1]


def test_a_table_is_committed_like_rows(folder: StoragePath) -> None:
    rows = [
        {
            **row(key),
            "method": "m",
            "n_samples": 1,
            "model": "m",
            "model_revision": "r",
            "prompt_tokens": 1,
            "completion_tokens": 2,
            "latency_s": 0.1,
            "cost": 0.0,
        }
        for key in "ab"
    ]
    by_rows = AdviceStore(folder / "rows", "teacher", "p1")
    by_table = AdviceStore(folder / "table", "teacher", "p1")
    by_rows.commit(rows)
    by_table.commit(pa.Table.from_pylist(rows))

    null = pa.nulls(2, pa.string())
    by_null_keys = AdviceStore(folder / "nulls", "teacher", "p1")
    assert by_null_keys.commit(pa.Table.from_pylist(rows).append_column("question_key", null)) == 2

    def kept(store: AdviceStore) -> list[dict[str, Any]]:
        return [{k: v for k, v in r.items() if k != "created_at"} for r in store.rows()]

    assert kept(by_rows) == kept(by_table) == kept(by_null_keys)
    assert [answer["question_key"] for answer in kept(by_rows)] == ["a", "b"]


def test_leftovers_of_killed_writers_are_removed(tmp_path: Path) -> None:
    store = AdviceStore(tmp_path, "teacher", "p1")
    store.commit([row("a")])
    torn = tmp_path / ".part-0.parquet.0.tmp"
    torn.write_bytes(b"PAR1")
    assert store.missing(["a", "b"]) == ["b"]
    store.commit([row("b")])
    assert not torn.exists()


def test_compaction_makes_no_state_unknown(folder: StoragePath) -> None:
    """Neither to a store that has read the old parts nor to a new one, with and without these."""
    keys = [f"{i:016x}" for i in range(40)]
    old = AdviceStore(folder, "teacher", "p1")
    for key in keys:
        old.commit([row(key)])
    assert not old.missing(keys)
    compact_folder(folder, "advice", grace_s=3600)
    for grace_s in (3600, 0):  # with the old parts, then without them
        compact_folder(folder, "advice", grace_s)
        for store in (old, AdviceStore(folder, "teacher", "p1")):
            assert store.missing([*keys, "new"]) == ["new"]
            assert sorted(store.lookup(keys)) == keys and len(store) == len(keys)
            assert store.commit([row(keys[0], "drop key")]) == 0
            assert store.table().num_rows == len(keys)
    # in an object store the last one stays: its number says what comes next
    assert len(list(folder.glob("part-*.parquet"))) == (0 if isinstance(folder, Path) else 1)
    assert old.commit([row("new")]) == 1 and not old.missing([*keys, "new"])
