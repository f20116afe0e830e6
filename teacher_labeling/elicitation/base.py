"""What an elicitation is: an LLM's replies turned into a distribution over plans, on any engine.

An *elicitation* (sampling, verbalized, logprobs) writes the chat requests about a state and reads
the answers. An *engine* (a server, vLLM in this process, the embedded LLM) sends the requests to a
model. Neither knows the other: a `ChatRequest` goes one way, an `Answer` comes back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from llm4teach.envs.plan import Plan
from llm4teach.envs.task import State
from llm4teach.envs.verbs import Verbs
from llm4teach.teacher_labeling.config import MIN_COVERAGE, Price
from llm4teach.teacher_labeling.elicitation.answer_text import CUT
from llm4teach.teacher_labeling.elicitation.parsing import list_options
from llm4teach.teacher_labeling.elicitation.prompts import Message, PromptTemplate
from llm4teach.teacher_labeling.teacher import Advice, AdviceStatus, Usage, advice_from_weights

FORBIDDEN = -9999.0  # log p, nats: the least there is, as OpenAI's servers write it; no infinity
# Reasons to end a reply, as servers name them, in lower case.
TRUNCATED = {"length", "max_tokens", "model_length", "max_length", "max_output_tokens"}
TRUNCATED |= {"model_context_window_exceeded", "token_limit"}
REFUSED = {"content_filter", "content_filtered", "safety", "refusal", "recitation", "blocklist"}
REFUSED |= {"prohibited_content", "spii", "sensitive", "guardrail_intervened"}
MAX_SHARED_ANSWERS = 10_000  # that a teacher keeps


@dataclass(frozen=True)
class ChatRequest:
    """One chat, and what is wanted of it: ``n`` replies, or the scores of some labels."""

    messages: Sequence[Message]
    n: int = 1  # independent replies
    temperature: float = 0.0
    max_tokens: int = 1
    seed_text: str = ""  # the replies' seeds derive from it
    labels: tuple[str, ...] = ()  # score these as the first token of a reply; then no text
    shared: str = ""  # requests with one such key are one request, which is sent once

    def seed(self, have: int) -> int:
        """Return a seed of 31 bits for the replies after the first ``have``, the same in every run.

        vLLM gives the n replies of a request the seeds s, s+1, …: with one seed for all, all states
        would share one run of luck.
        """
        digest = hashlib.sha256(f"{self.seed_text}/{have}".encode()).digest()
        return int.from_bytes(digest[:4], "big") >> 1


@dataclass(frozen=True)
class Answer:
    """What an engine returns: ``n`` texts, or log p of each label that the model's list holds."""

    texts: tuple[str, ...] = ()  # a truncated one ends in CUT, and so half a plan is none
    scores: Mapping[str, float] = field(default_factory=dict)  # nats, not normalized
    protocol: str = ""  # how the scores were obtained
    truncated: int = 0  # texts that max_tokens ended
    refused: int = 0  # replies that a content filter, or the model, refused


@dataclass(frozen=True)
class Verdict:
    """What the answers mean: non-negative weights of plans, whose sum is the coverage."""

    weights: dict[Plan, float]
    n_samples: int
    replies: tuple[str, ...]
    raw_sum: float | None = None  # verbalized: of the stated shares, before normalizing
    invalid: tuple[str, ...] = ()  # those of the replies that say nothing usable
    truncated: int = 0  # replies that max_tokens ended
    is_refused: bool = False  # all replies were refused


class Elicitation(Protocol):
    """One way to turn a model into a distribution over plans."""

    method: str
    settings: str  # all that changes its answers, e.g. "n=10,temperature=1"
    prompt_version: str
    min_coverage: float  # below it there is no advice
    labels: tuple[str, ...]  # all whose scores its requests may ask for

    def requests(self, state: State) -> list[ChatRequest]:
        """Return what is asked about a state; nothing if there is nothing to choose from."""
        ...

    def judge(self, state: State, answers: Sequence[Answer]) -> Verdict:
        """Read the answers, one per request and in their order; never fails, whatever they are."""
        ...


class TextElicitation:
    """One request for ``n`` free replies; at temperature 0 all would be one, and one is enough.

    (vLLM refuses n > 1 at temperature 0.)
    """

    labels: tuple[str, ...] = ()

    def __init__(
        self,
        template: PromptTemplate,
        n: int,
        temperature: float,
        seed: int,
        max_tokens: int,
        min_coverage: float = MIN_COVERAGE,
        verbs: Verbs | None = None,
    ) -> None:
        self._template, self._temperature, self._verbs = template, temperature, verbs
        self._seed, self._max_tokens = seed, max_tokens
        self._n, self.min_coverage = n if temperature > 0 else 1, min_coverage
        self.prompt_version = template.version
        self.settings = (
            f"n={self._n},temperature={temperature:g},seed={seed},max_tokens={max_tokens}"
            f"{floor_setting(min_coverage)}"
        )

    def requests(self, state: State) -> list[ChatRequest]:
        """Return the one request."""
        options = list_options(state.options) if self._template.lists_options else ""
        return [
            ChatRequest(
                self._template.messages(state.text, options=options),
                n=self._n,
                temperature=self._temperature,
                max_tokens=self._max_tokens,
                seed_text=f"{self._seed}/{state.key}",
            )
        ]


def floor_setting(min_coverage: float) -> str:
    """Return the coverage floor among a teacher's settings: another floor is another teacher.

    The default is left out, as it was before there was a floor.
    """
    return "" if min_coverage == MIN_COVERAGE else f",min_coverage={min_coverage:g}"


def to_advice(
    state: State,
    verdict: Verdict,
    usage: Usage,
    latency_s: float,
    price: Price,
    min_coverage: float = 0.0,
) -> Advice:
    """Make the advice of a verdict and what it cost."""
    advice = advice_from_weights(
        state,
        verdict.weights,
        min_coverage,
        n_samples=verdict.n_samples,
        replies=verdict.replies,
        raw_sum=verdict.raw_sum,
        prompt_tokens=usage.prompt_tokens,
        cached_prompt_tokens=usage.cached_prompt_tokens,
        completion_tokens=usage.completion_tokens,
        latency_s=latency_s,
        cost=price.of(usage.prompt_tokens, usage.completion_tokens),
        invalid_replies=len(verdict.invalid),
        truncated_replies=verdict.truncated,
        invalid_reply=next(iter(verdict.invalid), ""),
    )
    if verdict.is_refused:
        return replace(advice, status=AdviceStatus.REFUSED)
    if advice.status is AdviceStatus.INVALID and not advice.invalid_reply and advice.replies:
        return replace(advice, invalid_reply=advice.replies[0])  # the coverage is below the floor
    return advice


def reply_text(text: str, finish_reason: object) -> str:
    """Return a reply as it is stored: Unicode (no lone surrogates), and marked if truncated."""
    text = text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
    return text + CUT if is_truncated(finish_reason) else text


def is_truncated(finish_reason: object) -> bool:
    """Whether a reply ended because max_tokens, or the context, was used up."""
    return isinstance(finish_reason, str) and finish_reason.lower() in TRUNCATED


def is_refused(finish_reason: object) -> bool:
    """Whether a content filter or the model refused the reply; the refusal is permanent."""
    return isinstance(finish_reason, str) and finish_reason.lower() in REFUSED


def mean_weights(shares: Iterable[Mapping[Plan, float]], total: int) -> dict[Plan, float]:
    """Return ``sum_i shares_i / total``."""
    mean: dict[Plan, float] = {}
    for share in shares:
        for plan, weight in share.items():
            mean[plan] = mean.get(plan, 0.0) + weight / total
    return mean
