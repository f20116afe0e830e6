"""What a labeling has spent, whether its budget allows another question, and what tokens cost."""

from __future__ import annotations

import threading
from dataclasses import replace

from llm4teach.errors import TeacherError
from llm4teach.teacher_labeling.config import LabelConfig, Price, TeacherConfig
from llm4teach.teacher_labeling.teacher import Advice, AdviceStatus, TeacherInfo


class Budget:
    """Counts questions, tokens and US dollars against the limits.

    The number of questions is never exceeded. Tokens and dollars are known only when an answer
    comes. So the first question goes out alone, to learn the price; later ones go out beside others
    only while all in flight fit into the limit at the price of the dearest answer so far; and alone
    only while an answer at the mean price fits.

    The largest possible overrun is thus what the questions in flight cost more than that. It is
    less than one question's price near the limit, where only one is in flight; with ``teacher``
    settings ``n_samples`` and ``max_tokens``, one question costs at most its prompts' tokens and
    n_samples * max_tokens, and with retries this much for each attempt.

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
        self._dearest = {"max_tokens": 0.0, "max_cost": 0.0}  # of the answers so far
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
            more = self._tokens - (limits.max_tokens or 0)
            over = f", {more:,} too many" if more > 0 else ""
            spent = f"{self._tokens:,} of the {limits.max_tokens:,} tokens of max_tokens are spent"
            return spent + over
        if self._reached == "max_cost":
            dollars = self._cost - (limits.max_cost or 0.0)
            over = f", ${dollars:.2g} too much" if dollars > 0 else ""
            return f"${self._cost:.4g} of the ${limits.max_cost:g} of max_cost are spent{over}"
        if self._reached:
            return (
                "the server does not say how many tokens its answers take (no usage), and so "
                f"{' and '.join(self._limited)} cannot be kept; set max_requests instead"
            )
        return ""

    @property
    def requests_left(self) -> int | None:
        """How many questions may still be asked; None: any number."""
        limit = self._limits.max_requests
        return None if limit is None else max(0, limit - self._requests)

    def reserve(self) -> bool:
        with self._mutex:
            limit = self._limits.max_requests
            out_of_requests = limit is not None and self._requests >= limit
            self._reached = "max_requests" if out_of_requests else self._limit_reached(1)
            if self._reached:
                return False
            self._requests += 1
            self._in_flight += 1
            return True

    def may_take(self) -> bool:
        """Whether another question may go out beside those in flight.

        Only while all would fit into the limits if each cost as much as the dearest answer so far.
        """
        with self._mutex:
            if not self._limited or not self._in_flight:
                return True
            if not self._answered:
                return False
            spent = {"max_tokens": self._tokens, "max_cost": self._cost}
            return all(
                spent[name] + (self._in_flight + 1) * self._dearest[name]
                <= getattr(self._limits, name)
                for name in self._limited
            )

    def may_retry(self) -> bool:
        with self._mutex:
            if limit := self._limit_reached(0):
                self._reached = limit
            return not limit

    def charge_answer(self, advice: Advice, *, is_billed: bool = False) -> None:
        """Charge the answer to a question that was reserved.

        If a server bills, and does not report the tokens, a limit of tokens or dollars cannot be
        kept: then no further question is allowed.
        """
        with self._mutex:
            self._in_flight -= 1
            self._answered += 1
            tokens = advice.prompt_tokens + advice.completion_tokens
            self._tokens += tokens
            answered = advice.status is not AdviceStatus.NO_ADVICE
            self._is_unmetered |= is_billed and answered and not tokens
            self._cost += advice.cost
            if answered:
                self._dearest["max_tokens"] = max(self._dearest["max_tokens"], tokens)
                self._dearest["max_cost"] = max(self._dearest["max_cost"], advice.cost)

    def refund(self, questions: int) -> None:
        """Refund questions that were reserved and will not be answered."""
        with self._mutex:
            self._in_flight -= questions
            self._requests -= questions

    def charge(self, tokens: int, cost: float) -> None:
        """Charge what questions without an answer have cost."""
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


def price_of(config: TeacherConfig, label: LabelConfig, info: TeacherInfo) -> Price | None:
    """Return the price of the teacher's tokens, None if it is not known.

    The teacher's own settings (``usd_per_million_…``) take precedence over the table
    ``label.prices``, unless they are 0. Without either, a teacher in this process is free.
    """
    if not config.price.is_free:
        return config.price
    if info.model in label.prices:
        return label.prices[info.model]
    return config.price if config.has_price or not info.is_priced else None


def priced(config: TeacherConfig, label: LabelConfig, info: TeacherInfo) -> LabelConfig:
    """Return the limits with the teacher's price (`price_of`) in their table.

    A server needs a price to have a ``max_cost``; one of 0 is a price, and then the limit is never
    reached. A teacher in this process needs none: it costs nothing.

    Raises:
        TeacherError: there is a ``max_cost``, and no price is known.
    """
    price = price_of(config, label, info)
    if price is None:
        if label.max_cost is None:
            return label
        flags = "--teacher.usd-per-million-prompt-tokens and --teacher.usd-per-million-completion"
        raise TeacherError(
            f"max_cost is ${label.max_cost:g}, but no price is known for the model {info.model!r}: "
            f'set it in the configuration ([label.prices."{info.model}"] prompt = …, completion '
            f"= …; US dollars a million tokens) or by {flags}-tokens, or leave max_cost out"
        )
    if (not info.is_priced and price.is_free) or label.prices.get(info.model) == price:
        return label
    return label.model_copy(update={"prices": {**label.prices, info.model: price}})


def with_cost(advice: Advice, price: Price | None) -> Advice:
    """Return the advice with its cost, unless its backend has reported one."""
    if price is None or advice.cost:
        return advice
    return replace(advice, cost=price.of(advice.prompt_tokens, advice.completion_tokens))
