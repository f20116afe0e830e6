"""What a labelling has spent, and whether its budget allows one more question."""

from __future__ import annotations

import threading

from llm4teach.teacher_labeling.label_config import LabelConfig
from llm4teach.teacher_labeling.teacher import Advice, AdviceStatus


class Spending:
    """Counts questions, tokens and US dollars against the limits.

    The number of questions is never exceeded. Tokens and dollars are known only when an answer
    comes: what is in flight counts as the mean answer so far, and so the limits are exceeded by
    the difference from it at most, or by the questions in flight before the first answer.

    Args:
        limits: the budget.
        requests: questions that it has paid for already,
        tokens: and their tokens,
        cost: and US dollars.
    """

    def __init__(
        self, limits: LabelConfig, *, requests: int = 0, tokens: int = 0, cost: float = 0.0
    ) -> None:
        self._limits = limits
        self._requests, self._tokens, self._cost = requests, tokens, cost
        self._before = (tokens, cost)
        self._answered = self._in_flight = 0
        self._is_unmetered = False  # an answer has come without its tokens
        self._mutex = threading.Lock()  # questions are taken and answered in different threads
        self._reached = ""  # the name of the limit that was reached
        self._limited = [n for n in ("max_tokens", "max_cost") if getattr(limits, n) is not None]

    @property
    def reached(self) -> str:
        """The limit that was reached, in words for people and with all that is spent by now."""
        limits = self._limits
        if self._reached == "max_requests":
            return f"the {limits.max_requests:,} questions of max_requests are asked"
        if self._reached == "max_tokens":
            return f"{self._tokens:,} of the {limits.max_tokens:,} tokens of max_tokens are spent"
        if self._reached == "max_cost":
            return f"${self._cost:.4g} of the ${limits.max_cost:g} of max_cost are spent"
        if self._reached:
            return (
                "the server does not say how many tokens its answers take (no usage), and so "
                f"{' and '.join(self._limited)} cannot be kept; set max_requests instead"
            )
        return ""

    def begin(self) -> bool:
        with self._mutex:
            limit = self._limits.max_requests
            out_of_requests = limit is not None and self._requests >= limit
            self._reached = "max_requests" if out_of_requests else self._limit_reached(1)
            if self._reached:
                return False
            self._requests += 1
            self._in_flight += 1
            return True

    def may_repeat(self) -> bool:
        with self._mutex:
            if limit := self._limit_reached(0):
                self._reached = limit
            return not limit

    def end(self, advice: Advice, *, is_billed: bool = False) -> None:
        """Count the answer to a question that was taken before.

        A server that bills, and says nothing of the tokens, makes it impossible to keep a limit of
        tokens or dollars: then no further question is allowed.
        """
        with self._mutex:
            self._in_flight -= 1
            self._answered += 1
            tokens = advice.prompt_tokens + advice.completion_tokens
            self._tokens += tokens
            answered = advice.status is not AdviceStatus.NO_ADVICE
            self._is_unmetered |= is_billed and answered and not tokens
            self._cost += advice.cost

    def give_back(self, questions: int) -> None:
        """Give back questions that were taken and will not be answered."""
        with self._mutex:
            self._in_flight -= questions
            self._requests -= questions

    def waste(self, tokens: int, cost: float) -> None:
        """Count what questions without an answer have cost."""
        with self._mutex:
            self._tokens += tokens
            self._cost += cost

    def _limit_reached(self, more: int) -> str:
        """The name of a limit of tokens or dollars that is not enough for so many more questions.

        And for those in flight.
        """
        if not self._limited:
            return ""
        if self._is_unmetered:
            return "unmetered"
        spent = {
            "max_tokens": (self._tokens, self._before[0]),
            "max_cost": (self._cost, self._before[1]),
        }
        for name in self._limited:
            now, before = spent[name]
            expected = (self._in_flight + more) * (now - before) / max(1, self._answered)
            limit = getattr(self._limits, name)
            if now >= limit or now + expected > limit:
                return name
        return ""
