"""What an elicitation is: an LLM's replies turned into a distribution over plans, on any engine.

An *elicitation* (sampling, verbalized, logprobs) says what is asked about a state and reads the
answers. An *engine* (a server, vLLM in this process, the embedded LLM) puts the questions to a
model. Neither knows the other: a `Question` goes one way, an `Answer` comes back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from llm4teach.envs.plan import Plan
from llm4teach.envs.task import State
from llm4teach.teacher_labeling.elicitation.prompts import Message
from llm4teach.teacher_labeling.teacher import Advice, advice_from_weights

FORBIDDEN = -9999.0  # log p, nats: the least there is, as OpenAI's servers say it; no infinity
CUT = "…"  # ends a text that went on when max_tokens were reached: its last word may be half a one


@dataclass(frozen=True)
class Question:
    """One chat, and what is wanted of it: ``n`` replies, or the scores of some labels."""

    messages: Sequence[Message]
    n: int = 1  # independent replies
    temperature: float = 0.0
    max_tokens: int = 1
    seed_text: str = ""  # the replies' seeds derive from it
    labels: tuple[str, ...] = ()  # score these as the first token of a reply; then no text
    memo: str = ""  # questions of one memo are one question, which need not be asked again

    def seed(self, have: int) -> int:
        """Return a seed of 31 bits for the replies after the first ``have``, the same in every run.

        vLLM gives the n replies of a request the seeds s, s+1, …: with one seed for all, all states
        would share one run of luck.
        """
        digest = hashlib.sha256(f"{self.seed_text}/{have}".encode()).digest()
        return int.from_bytes(digest[:4], "big") >> 1


@dataclass
class Spent:
    """What questions have cost: tokens read and generated, as the engine counts them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    def add(self, prompt_tokens: int, completion_tokens: int) -> None:
        """Count one reply."""
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens


@dataclass(frozen=True)
class Answer:
    """What an engine returns: ``n`` texts, or log p of each label that the model's list holds."""

    texts: tuple[str, ...] = ()  # one that was cut off ends in CUT, and so half a plan is none
    scores: Mapping[str, float] = field(default_factory=dict)  # nats, not normalised
    protocol: str = ""  # how the scores were had


@dataclass(frozen=True)
class Verdict:
    """What the answers say: non-negative weights of plans, whose sum is the coverage."""

    weights: dict[Plan, float]
    n_samples: int
    replies: tuple[str, ...]
    raw_sum: float | None = None  # verbalized: of the stated shares, before normalising


class Elicitation(Protocol):
    """One way to turn a model into a distribution over plans."""

    method: str
    settings: str  # all that changes its answers, e.g. "n=10,temperature=1"
    prompt_version: str

    def questions(self, state: State) -> list[Question]:
        """Return what is asked about a state; nothing if there is nothing to choose from."""
        ...

    def judge(self, state: State, answers: Sequence[Answer]) -> Verdict:
        """Read the answers, one a question and in their order; never fails, whatever they say."""
        ...


@dataclass(frozen=True)
class Prices:
    """US dollars a million tokens."""

    prompt: float = 0.0
    completion: float = 0.0

    def cost(self, spent: Spent) -> float:
        """Return US dollars."""
        dollars = spent.prompt_tokens * self.prompt + spent.completion_tokens * self.completion
        return dollars / 1e6


def to_advice(
    state: State, verdict: Verdict, spent: Spent, latency_s: float, prices: Prices
) -> Advice:
    """Make the advice of a verdict and what it cost."""
    return advice_from_weights(
        state,
        verdict.weights,
        n_samples=verdict.n_samples,
        replies=verdict.replies,
        raw_sum=verdict.raw_sum,
        prompt_tokens=spent.prompt_tokens,
        completion_tokens=spent.completion_tokens,
        latency_s=latency_s,
        cost=prices.cost(spent),
    )


def reply_text(text: str, finish_reason: object) -> str:
    """Return a reply as it is stored: Unicode (no lone surrogates), and in sight if it was cut."""
    text = text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
    return text + CUT if finish_reason == "length" else text


def mean_weights(shares: Iterable[Mapping[Plan, float]], total: int) -> dict[Plan, float]:
    """Return ``sum_i shares_i / total``."""
    mean: dict[Plan, float] = {}
    for share in shares:
        for plan, weight in share.items():
            mean[plan] = mean.get(plan, 0.0) + weight / total
    return mean
