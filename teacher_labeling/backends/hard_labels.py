"""The ``hard`` teacher: another one, of whose advice only the likeliest plan is kept.

For the question what the shares of the other plans are worth to the student.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from llm4teach.envs.task import State
from llm4teach.teacher_labeling.elicitation.token_counts import TokenCounts, tokens_of
from llm4teach.teacher_labeling.teacher import Advice, AdviceStatus, States, Teacher


class HardTeacher:
    """Passes advice on as its argmax; of equally likely plans the first by name stays."""

    def __init__(self, teacher: Teacher) -> None:
        self._teacher = teacher
        own = teacher.info
        settings = f"{own.settings},argmax" if own.settings else "argmax"
        self.info = replace(own, backend=f"hard-{own.backend}", settings=settings)

    def advise(self, states: States) -> Iterator[Advice]:
        """Yield each state's advice, its likeliest plan certain.

        Raises:
            TeacherError: the teacher cannot answer.
        """
        for advice in self._teacher.advise(states):
            if advice.status is AdviceStatus.OK and advice.plans:
                plan, _ = min(advice.plans, key=lambda option: (-option[1], str(option[0])))
                advice = replace(advice, plans=((plan, 1.0),))
            yield advice

    def count_tokens(self, states: Sequence[State]) -> TokenCounts | None:
        return tokens_of(self._teacher, states)

    def close(self) -> None:
        self._teacher.close()
