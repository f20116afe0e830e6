"""The live teacher: grounded advice for observations, asking only about states not seen before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.envs.task import Mixture, Observations, State, Task
from llm4teach.teacher_labeling.ask_policy import AskPolicy, AskUnseen
from llm4teach.teacher_labeling.labeling.run import LabelReport
from llm4teach.teacher_labeling.labeling.writer import plans_of
from llm4teach.teacher_labeling.live_labelers import Answer, LiveLabeler, labeler_of
from llm4teach.teacher_labeling.questions import OneQuestion, Questions
from llm4teach.teacher_labeling.teacher import Teacher

_UNKNOWN, _NO_ADVICE = -1, 0  # places


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
            teacher = labeler_of(teacher, store)
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
        """Finish what is asked in the background and store all answers; the teacher stays open."""
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
