"""Labelers: what asks a live teacher, and stores its answers.

A `LiveLabeler` asks while the caller waits, a `BackgroundLabeler` in a thread of its own, an
`InstantLabeler` a teacher whose answers cost nothing.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.envs.task import Mixture, State
from llm4teach.errors import TeacherError
from llm4teach.teacher_labeling.config import LabelConfig
from llm4teach.teacher_labeling.labeling.budget import Budget
from llm4teach.teacher_labeling.labeling.run import LabelReport, label_states
from llm4teach.teacher_labeling.labeling.writer import COMMIT_EVERY_ROWS, plans_of, to_row
from llm4teach.teacher_labeling.teacher import Advice, States, Teacher

FIRST_RETRY_S, LONGEST_RETRY_S = 2.0, 60.0  # between attempts to reach a teacher that is down
SLOW_S = 20.0  # without any answer; a client may try for longer until it gives a server up
CLOSE_S = 30.0  # longest wait for the questions in flight at the end
Answer = tuple[str, Mixture]  # question key and distribution, empty if it is not valid
_log = logging.getLogger(__name__)


class LiveLabeler:
    """Asks questions, each a `State`, and has the answers stored, while the caller waits."""

    def __init__(
        self,
        teacher: Teacher,
        store: AdviceStore,
        limits: LabelConfig = LabelConfig(),  # noqa: B008  (frozen)
        budget: Budget | None = None,
    ) -> None:
        self.report = LabelReport()
        self._teacher, self._store, self._limits = teacher, store, limits
        self._budget = budget or Budget(limits)

    def ask(self, states: Sequence[State]) -> Iterable[Answer]:
        """Ask, and return the answers so far; none to questions that exceed the budget.

        Raises:
            TeacherError: the teacher cannot answer.
        """
        return self._label(states, self._teacher, None)

    @property
    def waiting(self) -> int:
        """Questions that are being asked, or will be when the teacher is back."""
        return 0

    def close(self) -> None:
        """Stop asking; nothing is in flight."""

    def _label(
        self, states: Sequence[State], teacher: Teacher, stop: threading.Event | None
    ) -> list[Answer]:
        done = LabelReport()
        try:
            label_states(
                teacher,
                self._store,
                states,
                limits=self._limits,
                budget=self._budget,
                stop=stop,
                report=done,
            )
        finally:
            self.report.add(done)
        rows = self._store.lookup([state.key for state in states], ["options"])
        return [(key, plans_of(row)) for key, row in rows.items()]

    def news(self) -> Iterator[Answer]:
        """Yield the answers since the last call."""
        yield from ()


class InstantLabeler(LiveLabeler):
    """Asks a teacher whose answers cost nothing (`TeacherInfo.instant`); stores many at a time.

    Such a teacher has no questions that another process could spare it, so nothing is locked or
    journaled. A killed process loses the answers since the last commit; they are given again. A
    commit at least doubles what is stored, so there are few files and some advice from the start.
    """

    def __init__(self, teacher: Teacher, store: AdviceStore) -> None:
        super().__init__(teacher, store)
        self._rows: list[dict[str, Any]] = []  # not committed yet

    def ask(self, states: Sequence[State]) -> Iterable[Answer]:
        """Ask, and return the answers."""
        answers = []
        for advice in self._teacher.advise(states):
            self.report.count(advice)
            self._rows.append(to_row(advice, self._teacher.info))
            answers.append((advice.state.key, advice.plans))
        if len(self._rows) >= min(COMMIT_EVERY_ROWS, len(self._store) + 1):
            self.close()
        return answers

    def close(self) -> None:
        """Store what is not stored yet."""
        self._store.commit(self._rows)
        self._rows = []


class BackgroundLabeler(LiveLabeler):
    """Asks in a thread of its own; a teacher that is down is asked again and again.

    Args:
        warn: is called once, with one sentence, when the teacher is down or does not answer.
    """

    def __init__(
        self,
        teacher: Teacher,
        store: AdviceStore,
        limits: LabelConfig = LabelConfig(),  # noqa: B008  (frozen)
        budget: Budget | None = None,
        warn: Callable[[str], None] = _log.warning,
    ) -> None:
        super().__init__(teacher, store, limits, budget)
        self._warn = warn
        self._answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._waiting: dict[str, State] = {}  # all that is still without an answer
        self._mutex, self._stop, self._wake = threading.Lock(), threading.Event(), threading.Event()
        self._failure: Exception | None = None
        self._has_warned, self._heard_at = False, time.monotonic()
        self._thread = threading.Thread(target=self._work, name="live-teacher", daemon=True)
        self._thread.start()

    def ask(self, states: Sequence[State]) -> Iterable[Answer]:
        """Queue questions; `news` yields the answers."""
        with self._mutex:
            if not self._waiting:
                self._heard_at = time.monotonic()
            self._waiting.update({state.key: state for state in states})
        self._wake.set()
        return ()

    @property
    def waiting(self) -> int:
        """Questions that are being asked, or will be when the teacher is there again."""
        return len(self._waiting)

    def news(self) -> Iterator[Answer]:
        """Yield the answers since the last call.

        Raises:
            Exception: of the background thread, except the teacher's.
        """
        if self._failure is not None:
            raise self._failure
        while not self._answers.empty():
            self._heard_at = time.monotonic()
            yield self._answers.get()
        if self._waiting and time.monotonic() - self._heard_at > SLOW_S:
            self._warn_once(
                f"the teacher has not answered for {SLOW_S:g} s, training goes on without it"
            )

    def close(self) -> None:
        """Ask no more; what is in flight is finished and stored, unless it takes too long."""
        self._stop.set()
        self._wake.set()
        self._thread.join(CLOSE_S)

    def _work(self) -> None:
        retry_s = FIRST_RETRY_S
        while not self._stop.is_set():
            self._wake.wait()
            self._wake.clear()
            with self._mutex:
                states = list(self._waiting.values())
            if not states:
                continue
            try:
                answers = self._label(states, _Tap(self._teacher, self._answers), self._stop)
            except TeacherError as error:
                how = "refuses a state" if error.permanent else "is down"
                self._warn_once(f"the teacher {how}, training goes on without it: {error}")
                with self._mutex:
                    for key in error.failed_states if error.permanent else ():
                        self._waiting.pop(key, None)
                if error.failed_states or not error.permanent:
                    self._stop.wait(retry_s)
                    retry_s = min(2 * retry_s, LONGEST_RETRY_S)
                    self._wake.set()
                    continue
                answers = []  # the others' have been put already
            except Exception as error:  # the caller's thread has to hear of it
                self._failure = error
                return
            retry_s = FIRST_RETRY_S
            stopped, answered = self._stop.is_set(), {key for key, _ in answers}
            with self._mutex:
                for state in states:  # without an answer: refused, or there is no budget for it
                    if state.key in answered or not stopped:
                        self._waiting.pop(state.key, None)
            for answer in answers:  # also what other runs have asked
                self._answers.put(answer)

    def _warn_once(self, message: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            self._warn(message)


class _Tap:
    """Passes answers on as they arrive, before they are committed."""

    def __init__(self, teacher: Teacher, answers: queue.SimpleQueue[Answer]) -> None:
        self.info = teacher.info
        self._teacher, self._answers = teacher, answers

    def advise(self, states: States) -> Iterator[Advice]:
        for advice in self._teacher.advise(states):
            self._answers.put((advice.state.key, advice.plans))
            yield advice

    def close(self) -> None:
        """Leave the teacher open: its owner closes it."""


def labeler_of(
    teacher: Teacher,
    store: AdviceStore,
    limits: LabelConfig = LabelConfig(),  # noqa: B008  (frozen)
    budget: Budget | None = None,
) -> LiveLabeler:
    """Return what asks this teacher while the caller waits."""
    if teacher.info.instant and limits.max_requests is None:
        return InstantLabeler(teacher, store)
    return LiveLabeler(teacher, store, limits, budget)
