"""``logprobs``: softmax over the model's own scores of the options' letters, one token each.

Models like some letters better than others, whatever these stand for. So it is asked with
the options in several orders, and averaged:

    P(k | c(s)) = mean over orders o of softmax_k( log p(letter_o(k) | prompt_o) / temperature )

With ``calibrate`` the scores of a content-free prompt are subtracted before the softmax (contextual
calibration, arXiv 2102.09690). Coverage is the mass that the model
puts on the letters it was offered, averaged over the orders.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from llm4teach.envs.plan import Plan
from llm4teach.envs.task import State
from llm4teach.errors import TeacherError
from llm4teach.teacher_labeling.config import MIN_COVERAGE
from llm4teach.teacher_labeling.elicitation.base import (
    FORBIDDEN,
    Answer,
    ChatRequest,
    Verdict,
    floor_setting,
    mean_weights,
)
from llm4teach.teacher_labeling.elicitation.parsing import LETTERS, list_options, words
from llm4teach.teacher_labeling.elicitation.prompts import PromptTemplate

CONTENT_FREE = "N/A"  # in the place of the state's text
_LEAST_COVERAGE = 1e-12  # of an answer with scores, however small


class OptionLogprobs:
    """Asks for one token, in several orders of the options."""

    method = "logprobs"
    labels = tuple(LETTERS[:26])  # more are scored where they are needed

    def __init__(
        self,
        template: PromptTemplate,
        permutations: int,
        temperature: float,
        calibrate: bool,
        min_coverage: float = MIN_COVERAGE,
    ) -> None:
        self._template, self._permutations = template, permutations
        self._temperature, self._calibrate = temperature, calibrate
        self.prompt_version = template.version
        self.settings = f"permutations={permutations},temperature={self._temperature:g}" + (
            ",calibrated" if calibrate else ""
        )
        self.settings += floor_setting(min_coverage)
        self.min_coverage = min_coverage

    def requests(self, state: State) -> list[ChatRequest]:
        """Return one request per order, then the same with a content-free state."""
        if len(state.options) > len(LETTERS):
            raise TeacherError(
                f"the state {state.text!r} has {len(state.options)} options, and there are only "
                f"{len(LETTERS)} letters; use the method sampling"
            )
        requests = [self._request(state, order) for order in self._orders(state)]
        if self._calibrate:
            empty = replace(state, text=CONTENT_FREE)
            for order in self._orders(state):
                shared = "\n".join(words(plan) for plan in order)
                requests.append(replace(self._request(empty, order), shared=shared))
        return requests

    def judge(self, state: State, answers: Sequence[Answer]) -> Verdict:
        """Average over the orders; orders without any score are left out."""
        orders = self._orders(state)
        shares, replies, coverage = [], [], 0.0
        for i, (order, answer) in enumerate(zip(orders, answers, strict=False)):
            replies.append(_shown(order, answer))
            scores = answer.scores
            if not scores:
                continue
            coverage += math.fsum(map(math.exp, scores.values())) / len(orders)
            if self._calibrate:
                bare = answers[len(orders) + i]
                replies.append(f"{CONTENT_FREE}: {_shown(order, bare)}")
                scores = calibrated(scores, bare.scores)
            share = softmax(scores, self._temperature)
            shares.append({plan: share.get(LETTERS[i], 0.0) for i, plan in enumerate(order)})
        if not shares:
            is_refused = 0 < len(orders) <= sum(answer.refused for answer in answers)
            return Verdict({}, len(orders), tuple(replies), is_refused=is_refused)
        coverage = min(max(coverage, _LEAST_COVERAGE), 1.0)
        mean = mean_weights(shares, len(shares))
        weights = {plan: p * coverage for plan, p in mean.items()}
        return Verdict(weights, len(orders), tuple(replies))

    def _request(self, state: State, order: Sequence[Plan]) -> ChatRequest:
        shown = replace(state, options=tuple(order))
        return ChatRequest(
            self._template.messages(shown.text, options=list_options(shown.options)),
            labels=tuple(LETTERS[: len(order)]),
        )

    def _orders(self, state: State) -> list[tuple[Plan, ...]]:
        """Rotations first: with as many of them as options, each has had each letter once."""
        return orders_of(state.options, self._permutations)


def orders_of(options: tuple[Plan, ...], permutations: int) -> list[tuple[Plan, ...]]:
    """Return so many distinct orders of the options, or all there are; the same ones always."""
    n = len(options)
    if n <= 1:
        return [options] * n
    permutations = min(permutations, math.factorial(n) if n < 10 else permutations)
    orders: dict[tuple[Plan, ...], None] = {}
    rng = random.Random(0)
    base = list(options)
    while len(orders) < permutations:
        turns = min(n, permutations - len(orders))
        for turn in range(turns):
            cut = turn * n // turns
            orders[tuple(base[cut:] + base[:cut])] = None
        rng.shuffle(base)
    return list(itertools.islice(orders, permutations))


def softmax(scores: Mapping[str, float], temperature: float) -> dict[str, float]:
    """Return ``exp(score / temperature)``, normalized; scores are in nats."""
    top = max(scores.values())
    odds = {label: math.exp((score - top) / temperature) for label, score in scores.items()}
    total = math.fsum(odds.values())
    return {label: odd / total for label, odd in odds.items()}


def calibrated(scores: Mapping[str, float], bare: Mapping[str, float]) -> dict[str, float]:
    """Subtract the scores of the content-free prompt; if it lacks a label, subtract none.

    What is forbidden stays so, also where it is forbidden in every state.
    """
    if set(scores) - set(bare):
        return dict(scores)
    return {k: score - bare[k] if score > FORBIDDEN else score for k, score in scores.items()}


def _shown(order: Sequence[Plan], answer: Answer) -> str:
    """Write scores as the raw reply: ``A {explore} -0.1234; …``, in nats."""
    parts = [
        f"{LETTERS[i]} {{{words(plan)}}} {answer.scores.get(LETTERS[i], -math.inf):.6f}"
        for i, plan in enumerate(order)
    ]
    return "; ".join(parts) + (f" [{answer.protocol}]" if answer.protocol else "")
