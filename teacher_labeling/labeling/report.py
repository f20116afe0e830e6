"""What a labeling did, in numbers."""

from __future__ import annotations

from dataclasses import dataclass

from llm4teach.teacher_labeling.teacher import Advice, AdviceStatus


@dataclass
class LabelReport:
    """Questions, answers and costs of one labeling, or of several."""

    distinct_states: int = 0
    known: int = 0  # had advice before
    asked: int = 0
    ok: int = 0
    invalid: int = 0
    no_advice: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0  # US dollars
    seconds: float = 0.0
    answered_elsewhere: int = 0  # asked by another process in the meantime
    waiting_for: int = 0  # states that other processes are asking about right now
    left: int = 0  # states still without advice
    stopped_by: str = ""  # the budget that was reached, in words

    def count(self, advice: Advice) -> None:
        """Add one answer."""
        self.asked += 1
        self.ok += advice.status is AdviceStatus.OK
        self.invalid += advice.status is AdviceStatus.INVALID
        self.no_advice += advice.status is AdviceStatus.NO_ADVICE
        self.prompt_tokens += advice.prompt_tokens
        self.completion_tokens += advice.completion_tokens
        self.cost += advice.cost

    def add(self, other: LabelReport) -> None:
        """Add a later labeling's numbers; its states may be the same ones."""
        states = max(self.distinct_states, other.distinct_states)
        latest = {name: getattr(other, name) for name in ("waiting_for", "left", "stopped_by")}
        for name, value in vars(other).items():
            setattr(self, name, latest.get(name, getattr(self, name) + value))
        self.distinct_states = states
