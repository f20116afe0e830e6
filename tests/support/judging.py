"""A task of switches, and a teacher that judges each of them alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from llm4teach.envs.plan import Plan, named_plan
from llm4teach.envs.task import State, state_key
from llm4teach.teacher_labeling.questions import JUDGMENTS, NO, YES
from llm4teach.teacher_labeling.teacher import (
    Advice,
    AdviceStatus,
    States,
    TeacherInfo,
    advice_from_weights,
)

EXPLORE = named_plan("explore")


class Switches:
    """Its questions: whether to press one of several switches, by that one's own position."""

    family = "Switches"

    def state(self, *positions: str) -> State:
        """The state in which the switches are in these positions."""
        text = "; ".join(f"switch {i} is {p}" for i, p in enumerate(positions))
        plans = [EXPLORE, *(named_plan(f"press {i}") for i in range(len(positions)))]
        return State(state_key(self.family, text), text, tuple(plans))

    def question(self, state: State, plan: Plan) -> str:
        if plan == EXPLORE:
            return ""
        number = int(str(plan).removeprefix("press "))
        return f"It is {state.text.split('; ')[number].rpartition(' ')[2]}. Press it?"


SWITCHES: Any = Switches()


class Judge:
    """Answers by the log odds of each position, None for invalid; remembers what it was asked."""

    def __init__(self, **log_odds: float | None) -> None:
        self.info = TeacherInfo("test", "judge", "1", JUDGMENTS, "scores")
        self._log_odds, self.asked = log_odds, list[str]()

    def advise(self, states: States | Sequence[State]) -> Iterator[Advice]:
        for question in states:
            assert question.options == (YES, NO)
            self.asked.append(question.text)
            odds = self._log_odds[question.text.split()[2].rstrip(".")]
            if odds is None:
                yield Advice(question, AdviceStatus.INVALID)
                continue
            p = 1 / (1 + math.exp(-odds))
            yield advice_from_weights(question, {YES: p, NO: 1 - p}, n_samples=1)

    def close(self) -> None:
        """Free nothing."""
