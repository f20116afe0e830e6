"""Runs that share a teacher: each counts its own questions, and the model answers them once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.datasets.storage.locks import LockedError, locked
from llm4teach.envs.plan import parse_plan
from llm4teach.envs.task import State
from llm4teach.teacher_labeling.labeling.cached_teacher import CachedTeacher
from llm4teach.teacher_labeling.labeling.run import label_states
from llm4teach.teacher_labeling.teacher import Advice, AdviceStatus, TeacherInfo

PLAN = parse_plan("explore")


class CountingTeacher:
    """Notes what it is asked, and takes its time."""

    info = TeacherInfo("test", "m", "1", "sampling")

    def __init__(self) -> None:
        self.asked: list[str] = []

    def advise(self, states: Sequence[State]) -> Iterator[Advice]:
        for state in states:
            self.asked.append(state.key)
            time.sleep(0.05)
            if state.key == "odd":
                yield Advice(state, AdviceStatus.INVALID, replies=("?",), prompt_tokens=7)
            else:
                yield Advice(
                    state, AdviceStatus.OK, ((PLAN, 1.0),), 0.5, 3, ("explore",), 7, 2, 0.1, 0.01
                )

    def close(self) -> None:
        pass


def states(*keys: str) -> list[State]:
    return [State(key, f"text of {key}", (PLAN,)) for key in keys]


def store(folder: Path) -> AdviceStore:
    return AdviceStore(folder, CountingTeacher.info.teacher_id, "")


def test_each_run_pays_on_paper_and_the_model_is_asked_once(tmp_path: Path) -> None:
    model = CountingTeacher()
    shared = store(tmp_path / "shared")
    first, second = (store(tmp_path / name) for name in ("first", "second"))
    a = label_states(CachedTeacher(model, shared), first, states("x", "odd"))
    b = label_states(CachedTeacher(model, shared), second, states("odd", "x", "y"))
    assert (a.asked, a.prompt_tokens, a.invalid) == (2, 14, 1)
    assert (b.asked, b.prompt_tokens, b.invalid) == (3, 21, 1)
    assert model.asked == ["x", "odd", "y"]
    assert first.missing(["x", "y"]) == ["y"], "a run knows only what it asked about"

    def facts(kept: AdviceStore) -> dict[str, dict[str, object]]:
        return {
            row["state_key"]: {k: v for k, v in row.items() if k != "created_at"}
            for row in kept.rows()
        }

    assert facts(second) == facts(shared), "handed on unchanged"


def test_two_that_ask_at_once_ask_once(tmp_path: Path) -> None:
    model = CountingTeacher()
    shared = store(tmp_path / "shared")
    keys = [f"s{i}" for i in range(5)]

    def ask(name: str) -> None:
        label_states(CachedTeacher(model, shared), store(tmp_path / name), states(*keys))

    threads = [threading.Thread(target=ask, args=(name,)) for name in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(model.asked) == keys
    assert all(not store(tmp_path / name).missing(keys) for name in ("a", "b", "c"))


def test_a_lock_is_held_by_one(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "lock"
    with (
        locked(path),
        pytest.raises(LockedError, match="another process"),
        locked(path, wait=False),
    ):
        pass
    with locked(path, wait=False):
        pass
