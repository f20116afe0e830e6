"""Two labelling runs at once: they share the work, wait for each other, and take over."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import labeling_children as children
import pytest

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.datasets.storage.conditional_store import FileStore
from llm4teach.datasets.storage.journal import Journal
from llm4teach.datasets.storage.leases import Leases
from llm4teach.envs.task import State
from llm4teach.teacher_labeling.config import LabelConfig, TeacherConfig
from llm4teach.teacher_labeling.factory import make_teacher, resolve_model
from llm4teach.teacher_labeling.labeling import writer as commits
from llm4teach.teacher_labeling.labeling.run import LabelReport, label_states
from llm4teach.teacher_labeling.labeling.writer import to_row
from llm4teach.teacher_labeling.teacher import Advice, TeacherError

STATES = children.made_up_states(600)
IDENTITY = "520aec8bf4bc"  # where such a store's leases are; a test below holds it to that


def asked_by(folder: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in (folder / "asked.log").read_text().splitlines():
        pid, key = line.split()
        found.setdefault(pid, []).append(key)
    return found


def test_two_processes_share_the_states(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=children.label_alone, args=(tmp_path, STATES[part], 0.02))
        for part in (slice(0, 500), slice(100, 600))
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    asked = asked_by(tmp_path)
    assert sorted(key for keys in asked.values() for key in keys) == sorted(s.key for s in STATES)
    assert len(asked) == 2 and min(map(len, asked.values())) > 150, "both did a fair share"
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
                assert self.go_on.wait(30)
            yield advice


def in_thread(call: Any, *arguments: Any, **options: Any) -> tuple[threading.Thread, list[Any]]:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(call(*arguments, **options)))
    thread.start()
    return thread, results


def test_who_finds_all_states_leased_waits_for_the_answers(tmp_path: Path) -> None:
    slow, quick = Slow(tmp_path / "slow.log"), children.LoggingTeacher(tmp_path / "quick.log", 0)
    states = [s for s in STATES if s.key < "0c"][:5]
    assert len(states) == 5
    first, a = in_thread(label_states, slow, children.store_in(tmp_path), states[:4])
    assert slow.stopped.wait(10)
    waited: list[int] = []

    def on_progress(report: LabelReport) -> None:
        waited.append(report.waiting_for)
        if report.waiting_for:
            slow.go_on.set()

    report = label_states(quick, children.store_in(tmp_path), states, on_progress)
    first.join()
    times = Counter(
        line.split()[1]
        for name in ("slow.log", "quick.log")
        for line in (tmp_path / name).read_text().splitlines()
    )
    assert set(times.values()) == {1} and len(times) == 5
    assert max(waited) >= 1 and report.answered_elsewhere >= 1 and report.left == 0
    assert report.asked + report.answered_elsewhere == 5 == report.asked + a[0].asked


def test_a_run_that_hangs_is_taken_over_and_commits_nothing_twice(tmp_path: Path) -> None:
    """Its leases expire because nothing renews them, as in a process that is suspended."""
    store = children.store_in(tmp_path)
    hanging = Leases(FileStore(store.folder / ".labelling" / IDENTITY / "leases"), "hanging", 1.0)
    for bucket in {f"{int(state.key, 16) >> 58:02x}" for state in STATES[:20]}:
        assert hanging.acquire(bucket)
    hanging._stop.set()  # no heartbeat
    began = time.monotonic()
    teacher = children.LoggingTeacher(tmp_path / "asked.log", 0)
    report = label_states(teacher, store, STATES[:20])
    assert report.asked == 20 and 0.5 < time.monotonic() - began < 20
    late = children.store_in(tmp_path)
    assert late.commit(store.rows()[:5]) == 0, "what it still answers is not stored again"


@pytest.mark.parametrize("hangs", [False, True])
def test_what_a_run_has_answered_that_lost_its_leases_is_not_asked_again(
    hangs: bool, tmp_path: Path
) -> None:
    """It was killed, or suspended, while this one had work of its own for longer than a term."""
    store = children.store_in(tmp_path)
    work = store.folder / ".labelling" / IDENTITY
    answered = [state for state in STATES if state.key >= "8"]

    class Beside(children.LoggingTeacher):
        def advise(self, states: Sequence[State]) -> Iterator[Advice]:
            for n, advice in enumerate(super().advise(states)):
                if n == 0:
                    lose_a_run(work, answered, hangs, tmp_path / "lost.log")
                yield advice

    report = label_states(Beside(tmp_path / "asked.log", 0), store, STATES)
    assert report.answered_elsewhere == len(answered) and report.left == 0
    (asked,) = asked_by(tmp_path).values()
    assert len(asked) == report.asked == len(STATES) - len(answered)
    assert not set(asked) & {state.key for state in answered}
    assert len(store.rows()) == len(STATES)


def lose_a_run(work: Path, answered: Sequence[State], hangs: bool, log: Path) -> None:
    leases = Leases(FileStore(work / "leases"), "lost", 0.0)
    leases._stop.set()  # no heartbeat: they are over at once
    assert all(leases.acquire(f"{bucket:02x}") for bucket in range(8, 16))
    journal = Journal(work / "journals", "lost")
    for advice in children.LoggingTeacher(log, 0).advise(answered):
        journal.append(to_row(advice, children.INFO))
    if not hangs:
        os.close(journal._file)


def test_where_the_leases_are(tmp_path: Path) -> None:
    store = children.store_in(tmp_path)
    label_states(children.LoggingTeacher(tmp_path / "asked.log", 0), store, STATES[:1])
    assert [path.name for path in (store.folder / ".labelling").iterdir()] == [IDENTITY]


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
    worker.join(20)
    assert worker.exitcode == 1
    asked = len(log.read_text().splitlines())
    store = children.store_in(tmp_path)
    assert asked - children.IN_FLIGHT <= len(store.rows()) <= asked < len(STATES)
    left = {path.name for path in (store.folder / ".labelling").rglob("*") if path.is_file()}
    assert left <= {".lock", ".new", ".recovery"}, "no lease, no journal"


class Fails(children.LoggingTeacher):
    """Answers some, and then the server is gone."""

    def advise(self, states: Sequence[State]) -> Iterator[Advice]:
        for n, advice in enumerate(super().advise(states)):
            if n == 10:
                raise TeacherError("the server went away")
            yield advice


def test_after_an_error_the_leases_are_free_at_once(tmp_path: Path) -> None:
    store = children.store_in(tmp_path)
    with pytest.raises(TeacherError):
        label_states(Fails(tmp_path / "a.log", 0), store, STATES[:50])
    assert len(store.rows()) == 10
    began = time.monotonic()
    report = label_states(children.LoggingTeacher(tmp_path / "b.log", 0), store, STATES[:50])
    assert (report.known, report.asked) == (10, 40) and time.monotonic() - began < 5


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
    """Their leases stay until their journal is recovered."""
    monkeypatch.setattr(commits, "COMMIT_EVERY_S", 0.2)
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
    beside.join(60)
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
