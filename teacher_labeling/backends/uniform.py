"""The ``none`` teacher: uniform over the admissible plans. No LLM: the control of every figure."""

from __future__ import annotations

from collections.abc import Iterator

from llm4teach.teacher_labeling.teacher import Advice, AdviceStatus, States, TeacherInfo

OPEN_GOALS = "open-goals"  # Crafter's stronger control, in a file of its own


class UniformTeacher:
    """Asks nothing and costs nothing."""

    info = TeacherInfo("none", "uniform", model_revision="1", method="uniform", instant=True)

    def advise(self, states: States) -> Iterator[Advice]:
        """Yield ``P(k | c(s)) = 1 / K`` for the K admissible plans of each state."""
        for state in states:
            plans = tuple((plan, 1 / len(state.options)) for plan in sorted(state.options))
            status = AdviceStatus.OK if plans else AdviceStatus.NO_ADVICE
            yield Advice(state, status, plans, coverage=float(bool(plans)))

    def close(self) -> None:
        """Free nothing."""
