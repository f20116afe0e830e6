"""Questions of a live teacher: asked while the caller waits, or in the background."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.envs.task import Mixture, State
from llm4teach.teacher_labeling.label_config import LabelConfig
from llm4teach.teacher_labeling.labeling.advice_rows import plans_of
from llm4teach.teacher_labeling.labeling.budget import Spending
from llm4teach.teacher_labeling.labeling.run import LabelReport, label_states
from llm4teach.teacher_labeling.teacher import Advice, States, Teacher, TeacherError

FIRST_RETRY_S, LONGEST_RETRY_S = 2.0, 60.0  # between attempts to reach a teacher that is down
SLOW_S = 20.0  # without any answer; a client may try for longer until it gives a server up
CLOSE_S = 30.0  # longest wait for the questions in flight at the end
Answer = tuple[str, Mixture]  # state key and advice, empty if there is none
_log = logging.getLogger(__name__)


class Questions:
    """Asks about states and has the answers stored, while the caller waits."""

    def __init__(
        self,
        teacher: Teacher,
        store: AdviceStore,
        limits: LabelConfig = LabelConfig(),  # noqa: B008  (frozen)
        spending: Spending | None = None,
    ) -> None:
        self.report = LabelReport()
        self._teacher, self._store, self._limits = teacher, store, limits
        self._spending = spending or Spending(limits)

    def ask(self, states: Sequence[State]) -> Iterable[Answer]:
        """Ask, and return the answers that are there by now; none for what exceeds the budget.

        Raises:
            TeacherError: the teacher cannot answer.
        """
        return self._label(states, self._teacher, None)

    @property
    def waiting(self) -> int:
        """States that are being asked about, or will be when the teacher is there again."""
        return 0

    def close(self) -> None:
        """Nothing is under way."""

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
                spending=self._spending,
                stop=stop,
                report=done,
            )
        finally:
            self.report.add(done)
        rows = self._store.lookup((state.key for state in states), ["options"])
        return [(key, plans_of(row)) for key, row in rows.items()]

    def news(self) -> Iterator[Answer]:
        """Yield the answers that have come in since the last call."""
        yield from ()


class BackgroundQuestions(Questions):
    """Asks in a thread of its own; a teacher that is down is asked again and again.

    Args:
        warn: told once, in one sentence, that the teacher is down or does not answer.
    """

    def __init__(
        self,
        teacher: Teacher,
        store: AdviceStore,
        limits: LabelConfig = LabelConfig(),  # noqa: B008  (frozen)
        spending: Spending | None = None,
        warn: Callable[[str], None] = _log.warning,
    ) -> None:
        super().__init__(teacher, store, limits, spending)
        self._warn = warn
        self._answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._waiting: dict[str, State] = {}  # all that is still without an answer
        self._mutex, self._stop, self._wake = threading.Lock(), threading.Event(), threading.Event()
        self._failure: Exception | None = None
        self._told, self._heard_at = False, time.monotonic()
        self._thread = threading.Thread(target=self._work, name="live-teacher", daemon=True)
        self._thread.start()

    def ask(self, states: Sequence[State]) -> Iterable[Answer]:
        """Have them asked about; the answers will be among the `news`."""
        with self._mutex:
            if not self._waiting:
                self._heard_at = time.monotonic()
            self._waiting.update({state.key: state for state in states})
        self._wake.set()
        return ()

    @property
    def waiting(self) -> int:
        """States that are being asked about, or will be when the teacher is there again."""
        return len(self._waiting)

    def news(self) -> Iterator[Answer]:
        """Yield the answers that have come in since the last call.

        Raises:
            Exception: what went wrong in the background, other than with the teacher.
        """
        if self._failure is not None:
            raise self._failure
        while not self._answers.empty():
            self._heard_at = time.monotonic()
            yield self._answers.get()
        if self._waiting and time.monotonic() - self._heard_at > SLOW_S:
            self._tell(
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
                how = "refuses a state" if error.for_good else "is down"
                self._tell(f"the teacher {how}, training goes on without it: {error}")
                with self._mutex:
                    for key in error.refused:
                        self._waiting.pop(key, None)
                if error.refused or not error.for_good:
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

    def _tell(self, message: str) -> None:
        if not self._told:
            self._told = True
            self._warn(message)


class _Tap:
    """Passes answers on as they come, before their commit."""

    def __init__(self, teacher: Teacher, answers: queue.SimpleQueue[Answer]) -> None:
        self.info = teacher.info
        self._teacher, self._answers = teacher, answers

    def advise(self, states: States) -> Iterator[Advice]:
        for advice in self._teacher.advise(states):
            self._answers.put((advice.state.key, advice.plans))
            yield advice

    def close(self) -> None:
        """The teacher is not ours to close."""
