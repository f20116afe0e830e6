"""What a labeling did, in numbers."""

from __future__ import annotations

from dataclasses import dataclass

from llm4teach.teacher_labeling.teacher import Advice, AdviceStatus, Usage


@dataclass
class LabelReport:
    """Questions, answers and costs of one labeling, or of several."""

    distinct_questions: int = 0
    known: int = 0  # were answered before
    asked: int = 0
    ok: int = 0
    invalid: int = 0
    refused: int = 0
    no_advice: int = 0
    replies: int = 0
    invalid_replies: int = 0  # that say nothing usable
    truncated_replies: int = 0  # that max_tokens ended
    invalid_reply: str = ""  # the first of a question without a valid answer, else the first
    dropped: tuple[str, ...] = ()  # request fields that the server refuses
    prompt_tokens: int = 0
    cached_prompt_tokens: int = 0  # of these, those that a cache held
    completion_tokens: int = 0
    cost: float = 0.0  # US dollars
    seconds: float = 0.0
    answered_elsewhere: int = 0  # asked by another process in the meantime
    waiting_for: int = 0  # that other processes are asking right now
    left: int = 0  # still without an answer
    stopped_by: str = ""  # the budget that was reached, in words

    def count(self, advice: Advice) -> None:
        """Add one answer."""
        is_first = advice.status is AdviceStatus.INVALID and not self.invalid
        self.asked += 1
        self.ok += advice.status is AdviceStatus.OK
        self.invalid += advice.status is AdviceStatus.INVALID
        self.refused += advice.status is AdviceStatus.REFUSED
        self.no_advice += advice.status is AdviceStatus.NO_ADVICE
        self.replies += len(advice.replies)
        self.invalid_replies += advice.invalid_replies
        self.truncated_replies += advice.truncated_replies
        if is_first or not self.invalid_reply:
            self.invalid_reply = advice.invalid_reply
        self.dropped = advice.dropped or self.dropped
        spent = Usage(advice.prompt_tokens, advice.completion_tokens, advice.cached_prompt_tokens)
        self.charge(spent, advice.cost)

    def charge(self, usage: Usage, cost: float) -> None:
        """Add tokens and US dollars."""
        self.prompt_tokens += usage.prompt_tokens
        self.cached_prompt_tokens += usage.cached_prompt_tokens
        self.completion_tokens += usage.completion_tokens
        self.cost += cost

    def add(self, other: LabelReport) -> None:
        """Add a later labeling's numbers; its questions may be the same ones."""
        questions = max(self.distinct_questions, other.distinct_questions)
        latest = {name: getattr(other, name) for name in ("waiting_for", "left", "stopped_by")}
        latest["invalid_reply"] = self.invalid_reply or other.invalid_reply
        latest["dropped"] = other.dropped or self.dropped
        for name, value in vars(other).items():
            setattr(self, name, latest[name] if name in latest else getattr(self, name) + value)
        self.distinct_questions = questions
