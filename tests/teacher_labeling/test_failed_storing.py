"""Failures between a server and the store: what is in flight is taken in, and never paid again."""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import labeling_children as children
import pytest
from asking import make_teacher
from bad_server import BadServer

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.datasets.storage.locks import FileLock
from llm4teach.teacher_labeling.backends.openai.event_loop import first_interrupt
from llm4teach.teacher_labeling.backends.openai.teacher import OpenAITeacher
from llm4teach.teacher_labeling.labeling import writer
from llm4teach.teacher_labeling.labeling.run import LabelReport, label_states

STATES = children.made_up_states(120)
IN_FLIGHT = 8


@pytest.fixture
def server() -> Iterator[BadServer]:
    server = BadServer(latency_s=0.01)
    yield server
    server.close()


def store_for(teacher: OpenAITeacher, folder: Path) -> AdviceStore:
    return AdviceStore(folder, teacher.info.teacher_id, teacher.info.prompt_version)


def failing_commit(store: AdviceStore, patch: pytest.MonkeyPatch) -> None:
    """As where an object store does not answer for a moment."""
    patch.setattr(writer, "COMMIT_EVERY_S", 0.02)
    commit, calls = store.commit, []

    def sometimes(rows: object) -> int:
        calls.append(rows)
        if len(calls) == 2:
            raise OSError("try again later")
        return commit(rows)  # type: ignore[arg-type]

    patch.setattr(store, "commit", sometimes)


def failing_lock(store: AdviceStore, patch: pytest.MonkeyPatch) -> None:
    acquire, calls = FileLock.acquire, []

    def sometimes(self: FileLock, wait: bool = False) -> bool:
        calls.append(self)
        if len(calls) == 3:
            raise OSError("try again later")
        return acquire(self, wait)

    patch.setattr(FileLock, "acquire", sometimes)


def failing_display(store: AdviceStore, patch: pytest.MonkeyPatch) -> Callable[[LabelReport], None]:
    def show(report: LabelReport) -> None:
        if report.asked == 30:
            raise OSError("try again later")

    return show


@pytest.mark.parametrize("failing", [failing_commit, failing_lock, failing_display])
def test_nothing_is_asked_again(
    failing: Callable[[AdviceStore, pytest.MonkeyPatch], Callable[[LabelReport], None] | None],
    server: BadServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    teacher = make_teacher(server, max_in_flight=IN_FLIGHT)
    store = store_for(teacher, tmp_path)
    with monkeypatch.context() as patch, pytest.raises(OSError, match="try again later"):
        on_progress = failing(store, patch) or (lambda report: None)
        label_states(teacher, store, STATES, on_progress)
    asked = server.asked.total()
    assert 0 < asked <= len(STATES) - IN_FLIGHT, "it has stopped"
    report = label_states(teacher, store, STATES)
    assert (report.known, report.asked) == (asked, len(STATES) - asked)
    assert set(server.asked.values()) == {1} and len(store.rows()) == len(STATES)


@pytest.mark.parametrize("at", [1, 30])
def test_after_an_interrupt_nothing_new_is_asked(
    at: int, server: BadServer, tmp_path: Path
) -> None:
    """The signal comes while an answer is stored, the first or a later one."""
    teacher = make_teacher(server, max_in_flight=IN_FLIGHT)
    store = store_for(teacher, tmp_path)

    def interrupt(report: LabelReport) -> None:
        if report.asked == at:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        label_states(teacher, store, STATES, interrupt)
    assert server.asked.total() <= at - 1 + IN_FLIGHT, "on their way already"
    assert len(store.rows()) == server.asked.total()


class BrokenPipe(io.StringIO):
    """Standard error whose reader is gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_a_notice_that_nobody_can_read_does_not_keep_from_stopping(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``llm4teach label 2>&1 | tee log``: the same Ctrl-C ends ``tee``."""
    stopped: list[bool] = []
    with pytest.raises(KeyboardInterrupt), first_interrupt(lambda: stopped.append(True)):
        with monkeypatch.context() as patch:
            patch.setattr("sys.stderr", BrokenPipe())
            os.kill(os.getpid(), signal.SIGINT)
        assert stopped == [True]
