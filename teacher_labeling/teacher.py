"""The Teacher protocol: questions about states in, advice out, whatever the backend."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from llm4teach.envs.plan import Plan
from llm4teach.envs.task import State

NO_LLM = "none/"  # how teacher ids of the control start, which asks nothing


class AdviceStatus(StrEnum):
    """The outcome of a question."""

    OK = "ok"
    NO_ADVICE = "no_advice"  # the teacher has no answer for this state
    INVALID = "invalid"  # too little of its answer was a plan; it can be asked again
    REFUSED = "refused"  # a permanent refusal, by a content filter or the model


@dataclass(frozen=True)
class TeacherInfo:
    """A teacher's identity: everything that, when changed, makes a different teacher.

    It is known from the settings alone, without a connection or weights. ``remote``, ``priced`` and
    ``instant`` are not part of the identity.
    """

    backend: str  # embedded | recorded | openai | …
    model: str
    model_revision: str
    method: str  # logprobs | sampling | verbalized | judgments | recorded
    settings: str = ""  # the method's settings, e.g. "n=10,temperature=1"
    prompt_version: str = ""  # content hash of the prompt template
    remote: bool = field(default=False, compare=False)  # a server's, not in this process
    # Its tokens are billed unless a price of 0 is set; None: if it is remote.
    priced: bool | None = field(default=None, compare=False)
    # It answers at once, for nothing and always the same: it may be asked again.
    instant: bool = field(default=False, compare=False)

    @property
    def is_priced(self) -> bool:
        """Whether its tokens are billed unless a price of 0 is set."""
        return self.remote if self.priced is None else self.priced

    @property
    def teacher_id(self) -> str:
        """One stable string; with ``prompt_version`` it identifies the teacher."""
        parts = (self.backend, f"{self.model}@{self.model_revision}", self.method, self.settings)
        return "/".join(part for part in parts if part)

    @property
    def slug(self) -> str:
        """``teacher_id`` as a folder name, unique by a short hash."""
        plain = re.sub(r"[^A-Za-z0-9.]+", "-", self.teacher_id).strip("-")[:60]
        return f"{plain}-{hashlib.sha256(self.teacher_id.encode()).hexdigest()[:8]}"


@dataclass
class Usage:
    """Tokens read and generated, as the engine counts them: in all engines the same way."""

    prompt_tokens: int = 0  # those of the cache included
    completion_tokens: int = 0
    cached_prompt_tokens: int = 0  # of the prompts', those that a cache held

    def add(self, prompt_tokens: int, completion_tokens: int, cached: int = 0) -> None:
        """Count one reply; ``cached`` are those of the prompt's tokens that a cache held."""
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens
        self.cached_prompt_tokens += min(cached, prompt_tokens)


@dataclass(frozen=True)
class Advice:
    """One teacher's answer for one state, or for a question about one (`questions.Questions`).

    ``plans`` are distinct, with probabilities that sum to 1 when ``status`` is OK, else empty.
    ``coverage`` is what was on valid plans before normalization: the model's mass on the
    options it was offered (logprobs), or the share of its replies that parse (sampling,
    verbalized).
    """

    state: State
    status: AdviceStatus
    plans: tuple[tuple[Plan, float], ...] = ()
    coverage: float = 0.0
    n_samples: int = 0
    replies: tuple[str, ...] = field(default=(), repr=False)  # raw text, parsed or not
    prompt_tokens: int = 0  # all, cached ones included
    completion_tokens: int = 0
    latency_s: float = 0.0
    cost: float = 0.0  # US dollars
    raw_sum: float | None = None  # verbalized: the stated shares added up, before normalizing
    cached_prompt_tokens: int = 0  # of prompt_tokens, those that a cache held
    min_coverage: float = 0.0  # the floor below which it is invalid
    invalid_replies: int = 0  # that say nothing usable
    truncated_replies: int = 0  # that max_tokens ended
    invalid_reply: str = field(default="", repr=False)  # the first of them
    dropped: tuple[str, ...] = ()  # request fields that the server refuses: left out or renamed

    @property
    def entropy(self) -> float:
        """Entropy of the plan distribution, in nats."""
        return sum(p * math.log(1 / p) for _, p in self.plans if p > 0)


def advice_from_weights(
    state: State, weights: dict[Plan, float], min_coverage: float = 0.0, **measured: object
) -> Advice:
    """Normalize non-negative weights (a share each of all replies or all mass) to an Advice.

    It is invalid if their sum, the coverage, is 0 or below ``min_coverage``.
    """
    total = math.fsum(weights.values())
    facts: dict[str, Any] = {"min_coverage": min_coverage, **measured}
    if not 0 < total < math.inf:
        return Advice(state, AdviceStatus.INVALID, **facts)
    if total < min_coverage * (1 - 1e-9):  # rounding
        return Advice(state, AdviceStatus.INVALID, coverage=total, **facts)
    ranked = sorted(weights.items(), key=lambda item: (-item[1], item[0]))
    plans = tuple((plan, weight / total) for plan, weight in ranked if weight > 0)
    return Advice(state, AdviceStatus.OK, plans, coverage=total, **facts)


class States(Protocol):
    """States to ask about, such as a list; with `judgments` they are questions (`questions`).

    Labeling hands them out as late as it can, since other processes may share the work: take the
    next one when there is room for it, iterate once, from one thread at a time.
    """

    def __len__(self) -> int:
        """How many are left."""
        ...

    def __iter__(self) -> Iterator[State]:
        """Hand them out."""
        ...


@runtime_checkable
class Metered(Protocol):
    """States whose questions are paid from a budget; a teacher reports what failures cost."""

    def may_take(self) -> bool:
        """Whether another state may be taken while others are in flight.

        If not, wait for one of them: what they cost is not known yet. With none in flight, take the
        next state without asking.
        """
        ...

    def charge(self, usage: Usage, cost: float) -> None:
        """Charge a question that got no answer and was billed nevertheless; in US dollars.

        Negative, if it was answered later: then the answer reports what all attempts have cost.
        """
        ...

    def may_retry(self) -> bool:
        """Whether a question that failed may be asked again."""
        ...

    def is_over(self) -> bool:
        """Whether nothing more is wanted but what is in flight; may change at any time."""
        ...


class Teacher(Protocol):
    """Anything that can be asked for advice."""

    info: TeacherInfo

    def advise(self, states: States) -> Iterable[Advice]:
        """Yield one Advice a state, in any order, as each arrives.

        Raises:
            TeacherError: the backend cannot answer (not reachable, no such model, …). What was
                yielded before stays valid.
        """
        ...

    def close(self) -> None:
        """Free the model or the connections."""
        ...
