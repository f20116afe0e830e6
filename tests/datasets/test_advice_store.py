"""The advice store: no state twice, other teachers' advice untouched."""

from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from llm4teach.datasets.advice import AdviceStore


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


def test_commit_then_known(tmp_path: Path) -> None:
    store = AdviceStore(tmp_path, "teacher", "p1")
    assert store.missing(["a", "b", "a"]) == ["a", "b"]
    store.commit([row("a")])
    store.commit([])
    assert store.missing(["a", "b"]) == ["b"]
    (stored,) = AdviceStore(tmp_path, "teacher", "p1").rows()
    assert stored["options"] == row("a")["options"] and stored["replies"] == ["a raw reply"]
    assert stored["teacher_id"] == "teacher" and stored["created_at"].tzinfo is not None


def test_another_prompt_or_teacher_is_another_store(tmp_path: Path) -> None:
    AdviceStore(tmp_path, "teacher", "p1").commit([row("a")])
    assert AdviceStore(tmp_path, "teacher", "p2").missing(["a"]) == ["a"]
    assert AdviceStore(tmp_path, "other", "p1").missing(["a"]) == ["a"]
    assert AdviceStore(tmp_path, "teacher", "p1").missing(["a"]) == []


def test_of_two_answers_the_earlier_counts(tmp_path: Path) -> None:
    store = AdviceStore(tmp_path, "teacher", "p1")
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
