"""Advice for benchmarks: each state is asked about once, and the answer kept in memory."""

from __future__ import annotations

from collections.abc import Sequence

from llm4teach.envs.task import Mixture, State
from llm4teach.teacher_labeling.teacher import Teacher


class AskedOnce:
    """Advice as `OptionBehavior` takes it; ``answers`` has it by state key."""

    def __init__(self, teacher: Teacher) -> None:
        self._teacher, self.answers = teacher, dict[str, Mixture]()

    def __call__(self, states: Sequence[State]) -> list[Mixture]:
        for advice in self._teacher.advise([s for s in states if s.key not in self.answers]):
            self.answers[advice.state.key] = advice.plans
        return [self.answers[state.key] for state in states]
