"""The live teacher: grounded advice for observations, asking only about states not seen before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from llm4teach.datasets.advice import AdviceStore
from llm4teach.envs.task import Mixture, Observations, State, Task
from llm4teach.teacher_labeling.advice_rows import plans_of
from llm4teach.teacher_labeling.label_batch import LabelReport, label_states
from llm4teach.teacher_labeling.teacher import Teacher

_UNKNOWN = -1


class LiveTeacher:
    """Looks advice up in memory; with a ``teacher`` it asks about what the store lacks.

    Without one it is the stored advice alone: states that have none get a row of zeros. ``weighed``
    advice, by state key, stands in the place of the teacher's own.
    """

    def __init__(
        self,
        task: Task,
        store: AdviceStore,
        teacher: Teacher | None = None,
        weighed: Mapping[str, Mixture] | None = None,
    ) -> None:
        self.task, self._store, self._teacher = task, store, teacher
        self._weighed = dict(weighed or {})
        self.questions = LabelReport()  # what was asked live
        self._plans: dict[str, Mixture] = {}  # by state key
        self._mixtures: tuple[Mixture, ...] = ()  # of the states met so far
        self._places = np.full(64, _UNKNOWN)  # a state id's place among the mixtures
        self._load()

    def _load(self) -> None:
        self._plans = {row["state_key"]: plans_of(row) for row in self._store.rows()}

    def mixtures(self, states: Sequence[State]) -> list[Mixture]:
        """The distribution over plans for each state; empty where there is no advice.

        Raises:
            TeacherError: a state had to be asked about and the teacher cannot answer.
        """
        self._ask([state for state in states if state.key not in self._plans])
        return [self._weighed.get(s.key) or self._plans.get(s.key, ()) for s in states]

    def teacher_probs(self, observations: Observations) -> NDArray[np.float32]:
        """Grounded advice pi_T(a | s), float32 (N, n_actions).

        A row of zeros says "no advice": the teacher has none, or none of its plans can act.

        Raises:
            TeacherError: a state had to be asked about and the teacher cannot answer.
        """
        state_ids = self.task.identify(observations)  # (N,)
        try:
            places = self._places[state_ids]  # (N,)
        except IndexError:
            more = np.full(2 * int(state_ids.max()), _UNKNOWN)
            self._places = np.concatenate([self._places, more])
            places = self._places[state_ids]
        unknown = places == _UNKNOWN
        if np.count_nonzero(unknown):
            self._meet(np.unique(state_ids[unknown]))
            places = self._places[state_ids]
        return self.task.ground(observations, self._mixtures, places)

    def _meet(self, state_ids: NDArray[np.int64]) -> None:
        """Find the advice for states that come up for the first time."""
        states = [self.task.state(int(state_id)) for state_id in state_ids]
        for state_id, mixture in zip(state_ids, self.mixtures(states), strict=True):
            self._places[state_id] = len(self._mixtures)
            self._mixtures += (mixture,)

    def _ask(self, unseen: list[State]) -> None:
        if not unseen or self._teacher is None:
            return
        self.questions.add(label_states(self._teacher, self._store, unseen))
        self._load()
