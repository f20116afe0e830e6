"""Two labeling processes at once: they share the work, wait for each other, and take over."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import labeling_children as children
import pytest

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.datasets.storage.journal import Journal, journal_folder
from llm4teach.datasets.storage.locks import ObjectLock
from llm4teach.datasets.storage.paths import storage_path
from llm4teach.envs.task import State
from llm4teach.errors import TeacherError
from llm4teach.teacher_labeling.config import LabelConfig, TeacherConfig
from llm4teach.teacher_labeling.factory import make_teacher, resolve_model
from llm4teach.teacher_labeling.labeling import work_queue, writer
from llm4teach.teacher_labeling.labeling.run import LabelReport, label_states
from llm4teach.teacher_labeling.labeling.work_queue import partition_of
from llm4teach.teacher_labeling.labeling.writer import to_row
from llm4teach.teacher_labeling.teacher import Advice

STATES = children.made_up_states(600)
WORK = ".labeling/520aec8bf4bc"  # where such a store's locks are; a test below checks that


def asked_by(folder: Path, name: str = "asked.log") -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in (folder / name).read_text().splitlines():
        pid, key = line.split()
        found.setdefault(pid, []).append(key)
    return found


@pytest.mark.extended
def test_two_processes_share_the_states(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=children.label_alone, args=(tmp_path, STATES[part], 0.02))
        for part in (slice(0, 500), slice(100, 600))
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(300)
    assert [worker.exitcode for worker in workers] == [0, 0]
    asked = asked_by(tmp_path)
    assert sorted(key for keys in asked.values() for key in keys) == sorted(s.key for s in STATES)
    assert len(asked) == 2 and min(map(len, asked.values())) >= 100, "each its own, at least"
    assert len(children.store_in(tmp_path).rows()) == len(STATES)


class Slow(children.LoggingTeacher):
    """Stops in the middle until it is told to go on."""

    def __init__(self, log: Path) -> None:
        super().__init__(log, 0.0)
        self.stopped, self.go_on = threading.Event(), threading.Event()

    def advise(self, states: Sequence[State]) -> Iterator[Advice]:
        for n, advice in enumerate(super().advise(states)):
            if n == 3:
                self.stopped.set()
                assert self.go_on.wait(300)
            yield advice


def in_thread(call: Any, *arguments: Any, **options: Any) -> tuple[threading.Thread, list[Any]]:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(call(*arguments, **options)))
    thread.start()
    return thread, results


def test_a_process_asks_what_is_free_and_waits_for_the_rest(tmp_path: Path) -> None:
    slow, quick = Slow(tmp_path / "slow.log"), children.LoggingTeacher(tmp_path / "quick.log", 0)
    first, a = in_thread(label_states, slow, children.store_in(tmp_path), STATES)
    assert slow.stopped.wait(300)
    (taken,) = asked_by(tmp_path, "slow.log").values()
    locked = {partition_of(key) for key in taken}
    free = {state.key for state in STATES if partition_of(state.key) not in locked}
    assert len(locked) <= 2
    waited: list[int] = []

    def on_progress(report: LabelReport) -> None:
        waited.append(report.waiting_for)
        if report.waiting_for:
            (asked,) = asked_by(tmp_path, "quick.log").values()
            assert set(asked) >= free, "all that was free comes first"
            slow.go_on.set()

    report = label_states(quick, children.store_in(tmp_path), STATES, on_progress)
    first.join()
    times = Counter(
        key
        for name in ("slow.log", "quick.log")
        for keys in asked_by(tmp_path, name).values()
        for key in keys
    )
    assert set(times.values()) == {1} and len(times) == len(STATES)
    assert 0 < max(waited) <= len(STATES) - len(free)
    assert report.answered_elsewhere >= 4 and report.left == 0
    assert report.asked + report.answered_elsewhere == len(STATES) == report.asked + a[0].asked


def test_a_lock_is_held_for_one_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long labeling does not keep another from a partition until it has finished."""
    monkeypatch.setattr(work_queue, "BATCH_QUESTIONS", 2)
    states = [state for state in STATES if partition_of(state.key) == 3]
    rounds: list[int] = []

    class Counting(children.LoggingTeacher):
        def advise(self, states: Sequence[State]) -> Iterator[Advice]:
            answers = list(super().advise(states))
            rounds.append(len(answers))
            yield from answers

    label_states(Counting(tmp_path / "asked.log", 0), children.store_in(tmp_path), states)
    assert set(rounds[:-1]) == {2} and sum(rounds) == len(states) > 4


def test_in_an_object_store_a_process_that_hangs_is_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its locks expire because nothing renews them, as in a process that is suspended."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    place = storage_path(f"memory://m/{uuid.uuid4().hex}")
    assert not isinstance(place, Path)
    store, states = children.store_in(place), STATES[:20]
    hanging = {n: ObjectLock(store.folder / WORK / f"{n:x}.lock", 1.0) for n in range(16)}
    for lock in hanging.values():
        assert lock.acquire()
        lock._stop.set()  # no renewal
    answered = states[:5]
    journal_answers(store, answered, tmp_path / "hanging.log")
    waited: list[int] = []
    teacher = children.LoggingTeacher(tmp_path / "asked.log", 0)
    report = label_states(teacher, store, states, lambda report: waited.append(report.waiting_for))
    assert max(waited) > 0 and report.left == 0
    assert (report.asked, report.answered_elsewhere) == (15, 5), "its journal was recovered"
    assert not any(lock.held for lock in hanging.values())
    late = children.store_in(place)
    assert late.commit(store.rows()[:5]) == 0, "what it still answers is not stored again"
    assert len(store.rows()) == 20


def test_what_a_killed_process_has_answered_is_not_asked_again(tmp_path: Path) -> None:
    """It died while this one was at work."""
    store = children.store_in(tmp_path)
    answered = [state for state in STATES if state.key >= "8"]

    class Beside(children.LoggingTeacher):
        def advise(self, states: Sequence[State]) -> Iterator[Advice]:
            for n, advice in enumerate(super().advise(states)):
                if n == 0:
                    journal_answers(store, answered, tmp_path / "killed.log")
                yield advice

    report = label_states(Beside(tmp_path / "asked.log", 0), store, STATES)
    assert report.answered_elsewhere == len(answered) and report.left == 0
    (asked,) = asked_by(tmp_path).values()
    assert len(asked) == report.asked == len(STATES) - len(answered)
    assert not set(asked) & {state.key for state in answered}
    assert len(store.rows()) == len(STATES)


def journal_answers(store: AdviceStore, states: Sequence[State], log: Path) -> None:
    journals = journal_folder(store.folder / WORK)
    for advice in children.LoggingTeacher(log, 0).advise(states):
        name = f"{partition_of(advice.state.key):x}.jsonl"
        Journal(journals / name).append(to_row(advice, children.INFO))


def test_journals_of_earlier_releases_are_recovered(tmp_path: Path) -> None:
    """They had one per process."""
    store = children.store_in(tmp_path)
    old = journal_folder(store.folder / WORK.replace(".labeling", ".labelling"))
    for name, part in (("0-123-abc", STATES[:3]), ("123-abc", STATES[3:5])):
        for advice in children.LoggingTeacher(tmp_path / "old.log", 0).advise(part):
            Journal(old / f"{name}.jsonl").append(to_row(advice, children.INFO))
    report = label_states(children.LoggingTeacher(tmp_path / "asked.log", 0), store, STATES[:9])
    assert (report.known, report.asked) == (5, 4) and not list(old.iterdir())


def test_where_the_locks_are(tmp_path: Path) -> None:
    store = children.store_in(tmp_path)
    label_states(children.LoggingTeacher(tmp_path / "asked.log", 0), store, STATES[:1])
    name = f"{partition_of(STATES[0].key):x}.lock"
    assert [path.name for path in (store.folder / WORK).iterdir() if path.is_file()] == [name]


def test_ctrl_c_keeps_what_was_answered_and_frees_the_rest(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    worker = context.Process(target=children.label_alone, args=(tmp_path, STATES, 0.02))
    worker.start()
    log, end = tmp_path / "asked.log", time.monotonic() + 60
    while not log.exists() or len(log.read_text().splitlines()) < 40:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGINT)
    worker.join(300)
    assert worker.exitcode == 1
    asked = len(log.read_text().splitlines())
    store = children.store_in(tmp_path)
    assert asked - children.IN_FLIGHT <= len(store.rows()) <= asked < len(STATES)
    left = {path.suffix for path in (store.folder / WORK).rglob("*") if path.is_file()}
    assert left == {".lock"}, "no journal"
    report = label_states(children.LoggingTeacher(log, 0), store, STATES)
    assert report.left == 0 == report.answered_elsewhere, "no lock is held"


class Fails(children.LoggingTeacher):
    """Answers some, and then the server is gone."""

    def advise(self, states: Sequence[State]) -> Iterator[Advice]:
        for n, advice in enumerate(super().advise(states)):
            if n == 10:
                raise TeacherError("the server went away")
            yield advice


def test_after_an_error_the_locks_are_free_at_once(tmp_path: Path) -> None:
    store = children.store_in(tmp_path)
    with pytest.raises(TeacherError):
        label_states(Fails(tmp_path / "a.log", 0), store, STATES[:50])
    assert len(store.rows()) == 10
    waited: list[int] = []
    report = label_states(
        children.LoggingTeacher(tmp_path / "b.log", 0),
        store,
        STATES[:50],
        lambda report: waited.append(report.waiting_for),
    )
    assert (report.known, report.asked) == (10, 40) and not any(waited)


def test_a_commit_that_fails_leaves_the_answers_to_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher, store = children.LoggingTeacher(tmp_path / "a.log", 0), children.store_in(tmp_path)

    def full(self: AdviceStore, rows: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(AdviceStore, "commit", full)
        label_states(teacher, store, STATES[:50])
    report = label_states(teacher, store, STATES[:50])
    assert (report.known, report.asked) == (50, 0)


def test_answers_whose_commit_fails_are_not_asked_again_by_a_run_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their journal is recovered before anything of their partition is asked."""
    monkeypatch.setattr(writer, "COMMIT_EVERY_S", 0.2)
    log = tmp_path / "asked.log"
    failing, other = children.store_in(tmp_path), children.store_in(tmp_path)

    def full(rows: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(failing, "commit", full)
    beside = threading.Thread(
        target=label_states, args=(children.LoggingTeacher(log, 0.01), other, STATES)
    )
    beside.start()
    with pytest.raises(OSError, match="No space"):
        label_states(children.LoggingTeacher(log, 0.005), failing, STATES)
    beside.join(300)
    asked = [line.split()[1] for line in log.read_text().splitlines()]
    assert len(other.rows()) == len(STATES) == len(set(asked))
    assert len(asked) - len(STATES) <= 4, "no more than were in flight"


@pytest.mark.parametrize("backend", ["openai", "recorded/vicuna-33b"])
def test_backends_take_states_only_as_they_ask_them(
    backend: str, chat_server: Any, states: list[State], tmp_path: Path
) -> None:
    """Else one run would claim everything, and a budget would be noticed too late."""
    config = TeacherConfig(
        teacher=backend, base_url=chat_server.url, n_samples=1, max_in_flight=2, max_retries=0
    )
    teacher = make_teacher(resolve_model(config), "SimpleDoorKey")
    store = AdviceStore(tmp_path, teacher.info.teacher_id, teacher.info.prompt_version)
    report = label_states(teacher, store, states, limits=LabelConfig(max_requests=3))
    assert (report.asked, report.left) == (3, 3) and "max_requests" in report.stopped_by
    assert len(store.rows()) == 3
    if backend == "openai":
        assert len(chat_server.requests) == 3
    taken: list[str] = []

    class Watched(list[State]):
        def __iter__(self) -> Iterator[State]:
            for state in super().__iter__():
                taken.append(state.key)
                yield state

    for _ in teacher.advise(Watched(states)):
        break
    assert len(taken) <= 4, "two in flight, two more once the first is answered"
    teacher.close()
