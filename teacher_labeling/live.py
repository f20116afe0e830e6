"""The live teacher: grounded advice for observations, asking only about states not seen before.

A `LiveLabeler` asks while the caller waits, a `BackgroundLabeler` in a thread of its own.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.envs.task import Mixture, Observations, State, Task
from llm4teach.errors import TeacherError
from llm4teach.teacher_labeling.ask_policy import AskPolicy, AskUnseen
from llm4teach.teacher_labeling.config import LabelConfig
from llm4teach.teacher_labeling.labeling.budget import Budget
from llm4teach.teacher_labeling.labeling.run import LabelReport, label_states
from llm4teach.teacher_labeling.labeling.writer import plans_of
from llm4teach.teacher_labeling.questions import OneQuestion, Questions
from llm4teach.teacher_labeling.teacher import Advice, States, Teacher

_UNKNOWN, _NO_ADVICE = -1, 0  # places
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


class LiveTeacher:
    """Looks advice up in memory; with a teacher it asks about what the store lacks.

    States without advice get a row of zeros, and so do states about which a question is in flight
    in the background: its answer counts from the next call on. A state has advice when all its
    questions are answered; it is composed once.

    Args:
        task: identifies, describes and grounds.
        store: of the teacher's advice.
        teacher: is asked while the caller waits; or a LiveLabeler that decides on that.
        reweighted: advice by state key that replaces the teacher's own.
        policy: which states to ask about.
        questions: that a state's advice takes, by default one, the state itself; see
            `factory.questions_of`.
    """

    def __init__(
        self,
        task: Task,
        store: AdviceStore,
        teacher: Teacher | LiveLabeler | None = None,
        reweighted: Mapping[str, Mixture] | None = None,
        policy: AskPolicy | None = None,
        questions: Questions | None = None,
    ) -> None:
        self.task, self._store = task, store
        if teacher is not None and not isinstance(teacher, LiveLabeler):
            teacher = LiveLabeler(teacher, store)
        self._labeler = teacher
        self._policy, self._questions = policy or AskUnseen(), questions or OneQuestion()
        self._reweighted = dict(reweighted or {})
        self._plans: dict[str, Mixture] = {}  # by state key
        self._answers: dict[str, Mixture] = {}  # by question key
        # States that were looked up in vain, by key, and their questions; those states' keys by
        # question key.
        self._incomplete: dict[str, tuple[State, Sequence[State]]] = {}
        self._in_need_of: dict[str, list[str]] = {}
        self._expected: dict[str, list[int]] = {}  # ids of the states being asked about, by key
        self._mixtures: tuple[Mixture, ...] = ((),)  # of the states met so far
        self._places = np.full(64, _UNKNOWN)  # a state id's place among the mixtures

    @property
    def questions(self) -> LabelReport:
        """What was asked live."""
        return self._labeler.report if self._labeler else LabelReport()

    @property
    def waiting(self) -> int:
        """Questions in the background that are still under way."""
        return self._labeler.waiting if self._labeler else 0

    def close(self) -> None:
        """Finish what is asked in the background; the teacher stays open."""
        if self._labeler is not None:
            self._labeler.close()

    def mixtures(self, states: Sequence[State]) -> list[Mixture]:
        """The distribution over plans for each state; empty where there is no advice.

        Raises:
            TeacherError: a state had to be asked about and the teacher cannot answer.
        """
        self._ask(self._look_up(states))
        return [self._mixture(state.key) for state in states]

    def teacher_probs(self, observations: Observations) -> NDArray[np.float32]:
        """Grounded advice pi_T(a | s), float32 (N, n_actions).

        A row of zeros says "no advice": the teacher has none, or none of its plans can act.

        Raises:
            TeacherError: a state had to be asked about and the teacher cannot answer.
        """
        state_ids = self.task.identify(observations)  # (N,)
        places = self.places(state_ids, observations)  # (N,)
        return self.task.ground(observations, self._mixtures, places)

    def places(
        self, state_ids: NDArray[np.int64], observations: Observations
    ) -> NDArray[np.integer]:
        """Where the advice for each state is, int (N,); asks about those that come up first."""
        if self._labeler is not None:
            self._policy.saw(len(state_ids))
            self._take_in(self._labeler.news())
        try:
            places = self._places[state_ids]  # (N,)
        except IndexError:
            more = np.full(2 * int(state_ids.max()), _UNKNOWN)
            self._places = np.concatenate([self._places, more])
            places = self._places[state_ids]
        unknown = places == _UNKNOWN
        if np.count_nonzero(unknown):
            self._meet(state_ids[unknown], observations, unknown)
            places = np.maximum(self._places[state_ids], _NO_ADVICE)
        return places

    def _meet(
        self,
        state_ids: NDArray[np.int64],
        observations: Observations,
        unknown: NDArray[np.bool_],
    ) -> None:
        """Find the advice for states that come up for the first time, or ask about some."""
        ids, which, counts = np.unique(state_ids, return_inverse=True, return_counts=True)
        states = [self.task.state(int(state_id)) for state_id in ids]  # K
        missing = {state.key for state in self._look_up(states)}
        self._place(
            (int(i), s.key) for i, s in zip(ids, states, strict=True) if s.key not in missing
        )
        if not missing:
            return
        lacking = np.array([state.key in missing for state in states])  # (K,)
        if self._labeler is None:
            self._places[ids[lacking]] = _NO_ADVICE
            return
        rows = lacking[which]  # of the observations, those whose state has no advice
        renumbered = np.cumsum(lacking) - 1  # (K,)
        needed = [len(self._unanswered(state)) for state in states if state.key in missing]
        chosen = self._policy.choose(
            observations[unknown][rows], renumbered[which[rows]], counts[lacking], np.array(needed)
        )
        asked = [(int(ids[k]), states[k]) for k in np.flatnonzero(lacking)[chosen]]
        for state_id, state in asked:
            self._places[state_id] = _NO_ADVICE  # until the answer comes
            self._expected.setdefault(state.key, []).append(state_id)
        self._ask([state for _, state in asked])

    def _look_up(self, states: Sequence[State]) -> list[State]:
        """Read the advice of new states; return those that have plans but no advice yet."""
        new: dict[str, tuple[State, Sequence[State]]] = {}
        for state in states:
            if state.key not in self._plans and state.key not in self._incomplete:
                self._incomplete[state.key] = state, self._questions.of(state)
                new[state.key] = self._incomplete[state.key]
        keys = {q.key for _, questions in new.values() for q in questions} - self._answers.keys()
        for key, row in self._store.lookup(keys, ["options"]).items():
            self._answers[key] = plans_of(row)
        for state, questions in new.values():
            for question in questions:
                if question.key not in self._answers:
                    self._in_need_of.setdefault(question.key, []).append(state.key)
            self._compose(state.key)
        return [state for state in states if state.options and state.key not in self._plans]

    def _unanswered(self, state: State) -> list[State]:
        _, questions = self._incomplete[state.key]
        return [question for question in questions if question.key not in self._answers]

    def _compose(self, key: str) -> None:
        """Make the advice for a state of its answers, if it has all of them."""
        state, questions = self._incomplete[key]
        if all(question.key in self._answers for question in questions):
            del self._incomplete[key]
            self._plans[key] = self._questions.advice(state, self._answers)
            self._place((i, key) for i in self._expected.pop(key, ()))

    def _ask(self, states: Sequence[State]) -> None:
        asked = {q.key: q for state in states for q in self._unanswered(state)}
        if asked and self._labeler is not None:
            self._take_in(self._labeler.ask(list(asked.values())))

    def _take_in(self, answers: Iterable[Answer]) -> None:
        for key, plans in answers:
            self._answers[key] = plans
            for state_key in self._in_need_of.pop(key, ()):
                self._compose(state_key)

    def _place(self, states: Iterable[tuple[int, str]]) -> None:
        for state_id, key in states:
            self._places[state_id] = len(self._mixtures)
            self._mixtures += (self._mixture(key),)

    def _mixture(self, key: str) -> Mixture:
        return self._reweighted.get(key) or self._plans.get(key, ())
