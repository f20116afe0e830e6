"""A teacher that many runs share: each question is asked once, whichever run meets it first."""

from __future__ import annotations

from collections.abc import Iterator

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.teacher_labeling.config import LabelConfig
from llm4teach.teacher_labeling.labeling.run import label_states
from llm4teach.teacher_labeling.labeling.writer import to_advice
from llm4teach.teacher_labeling.teacher import Advice, States, Teacher


class CachedTeacher:
    """Answers from a store that all runs share, and lets the teacher answer what it lacks.

    A run that keeps its own advice in a store of its own then behaves, and counts its questions,
    as it would alone in an empty workspace; the model is asked only once for all of them.

    Args:
        teacher: answers what nobody has asked yet.
        shared: advice of this same teacher.
        limits: prices, and how runs share the work; without a budget, as all must be answered.
    """

    def __init__(
        self,
        teacher: Teacher,
        shared: AdviceStore,
        limits: LabelConfig = LabelConfig(),  # noqa: B008  (frozen)
    ) -> None:
        self.info = teacher.info
        self._teacher, self._shared, self._limits = teacher, shared, limits

    def advise(self, states: States) -> Iterator[Advice]:
        """Yield one Advice a state.

        Raises:
            TeacherError: a state is new and the teacher cannot answer.
            DatasetError: the shared store is damaged.
        """
        taken = list(states)  # it can be iterated only once
        label_states(self._teacher, self._shared, taken, limits=self._limits)
        rows = self._shared.lookup([state.key for state in taken])
        for state in taken:
            yield to_advice(rows[state.key], state)

    def close(self) -> None:
        self._teacher.close()
