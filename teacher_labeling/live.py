"""The live teacher: grounded advice for observations, asking only about states not seen before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.envs.task import Mixture, Observations, State, Task
from llm4teach.teacher_labeling.ask_policy import AskPolicy, AskUnseen
from llm4teach.teacher_labeling.labeling.advice_rows import plans_of
from llm4teach.teacher_labeling.labeling.run import LabelReport
from llm4teach.teacher_labeling.questions import Questions
from llm4teach.teacher_labeling.teacher import Teacher

_UNKNOWN, _NO_ADVICE = -1, 0  # places


class LiveTeacher:
    """Looks advice up in memory; with a teacher it asks about what the store lacks.

    Without one it is the stored advice alone: states that have none get a row of zeros, and so do
    states about which a question is under way in the background. What comes in meanwhile counts
    from the next call on.

    Args:
        task: identifies, describes and grounds.
        store: of the teacher's advice.
        teacher: whom to ask: a Teacher, while the caller waits, or Questions of another kind.
        weighed: advice by state key that stands in the place of the teacher's own.
        policy: which states to ask about.
    """

    def __init__(
        self,
        task: Task,
        store: AdviceStore,
        teacher: Teacher | Questions | None = None,
        weighed: Mapping[str, Mixture] | None = None,
        policy: AskPolicy | None = None,
    ) -> None:
        self.task, self._store = task, store
        if teacher is not None and not isinstance(teacher, Questions):
            teacher = Questions(teacher, store)
        self._questions = teacher
        self._policy = policy or AskUnseen()
        self._weighed = dict(weighed or {})
        self._plans: dict[str, Mixture] = {}  # by state key
        self._not_stored: set[str] = set()  # state keys that were looked up in vain
        self._expected: dict[str, list[int]] = {}  # ids of the states being asked about, by key
        self._mixtures: tuple[Mixture, ...] = ((),)  # of the states met so far
        self._places = np.full(64, _UNKNOWN)  # a state id's place among the mixtures

    @property
    def questions(self) -> LabelReport:
        """What was asked live."""
        return self._questions.report if self._questions else LabelReport()

    @property
    def waiting(self) -> int:
        """States that a question in the background is still under way about."""
        return self._questions.waiting if self._questions else 0

    def close(self) -> None:
        """Finish what is asked in the background; the teacher stays open."""
        if self._questions is not None:
            self._questions.close()

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
        if self._questions is not None:
            self._policy.saw(len(state_ids))
            self._take_in(self._questions.news())
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
        if self._questions is None:
            self._places[ids[lacking]] = _NO_ADVICE
            return
        rows = lacking[which]  # of the observations, those whose state has no advice
        renumbered = np.cumsum(lacking) - 1  # (K,)
        chosen = self._policy.choose(
            observations[unknown][rows], renumbered[which[rows]], counts[lacking]
        )
        asked = [(int(ids[k]), states[k]) for k in np.flatnonzero(lacking)[chosen]]
        for state_id, state in asked:
            self._places[state_id] = _NO_ADVICE  # until the answer comes
            self._expected.setdefault(state.key, []).append(state_id)
        self._ask([state for _, state in asked])

    def _look_up(self, states: Sequence[State]) -> list[State]:
        """Read the advice of states that come up first; return those that have none."""
        new = [s.key for s in states if s.key not in self._plans and s.key not in self._not_stored]
        rows = self._store.lookup(new, ["options"])
        self._plans |= {key: plans_of(row) for key, row in rows.items()}
        self._not_stored.update(key for key in new if key not in rows)
        return [state for state in states if state.key not in self._plans]

    def _ask(self, states: Sequence[State]) -> None:
        if states and self._questions is not None:
            self._take_in(self._questions.ask(states))

    def _take_in(self, answers: Iterable[tuple[str, Mixture]]) -> None:
        for key, plans in answers:
            self._plans[key] = plans
            self._place((i, key) for i in self._expected.pop(key, ()))

    def _place(self, states: Iterable[tuple[int, str]]) -> None:
        for state_id, key in states:
            self._places[state_id] = len(self._mixtures)
            self._mixtures += (self._mixture(key),)

    def _mixture(self, key: str) -> Mixture:
        return self._weighed.get(key) or self._plans.get(key, ())
