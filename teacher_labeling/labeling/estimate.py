"""What labeling would cost, estimated before anything is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow.compute as pc

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.envs.task import State
from llm4teach.teacher_labeling.config import Price
from llm4teach.teacher_labeling.elicitation.token_counts import TokenCounts, tokens_of
from llm4teach.teacher_labeling.labeling.asking_order import share_left
from llm4teach.teacher_labeling.teacher import Teacher

SAMPLE = 20  # questions whose tokens are counted


@dataclass(frozen=True)
class Estimate:
    """Tokens and US dollars of the questions to be asked; None where nothing is known of them."""

    questions: int  # distinct ones
    missing: int  # without an answer
    prompt_tokens: int | None
    completion_tokens: int | None
    cost: float | None
    source: str  # where the figures come from
    prompt_is_guess: bool = False  # from the number of characters
    completion_is_bound: bool = False  # at most so many, and so the cost is at most so high
    invalid: int = 0  # questions whose stored answer is invalid
    asked: int = 0  # those to be asked


def estimate(
    teacher: Teacher,
    store: AdviceStore,
    states: Sequence[State],
    price: Price | None,
    *,
    retry_invalid: bool = False,
    share: float = 1.0,
) -> Estimate:
    """Estimate what `label_states` would take, from a sample of the questions that it would ask.

    With a ``share``, only so many of all questions get an answer, those from before included.

    Prompt tokens are counted where the teacher can do so. Completion tokens are the mean of what
    this same teacher has answered before; if it has not, the most that it may answer. Repetitions
    after errors are not foreseen.

    Raises:
        TeacherError: the model cannot be loaded.
    """
    by_key = {state.key: state for state in states}
    missing = store.missing(by_key)
    invalid = [key for key in by_key if store.is_invalid(key)]
    missing += invalid if retry_invalid else []
    unanswered = len(missing)
    missing = missing[: share_left(share, len(by_key), len(by_key) - unanswered)]
    stored = store.table(["prompt_tokens", "completion_tokens", "cost"])
    means: dict[str, float | None] = dict.fromkeys(stored.column_names)
    sources = []
    if len(stored):
        means = {name: pc.mean(stored.column(name)).as_py() for name in means}
        sources.append(f"means of {len(stored):,} stored answers")
    prompt, completion = (
        None if mean is None else round(mean * len(missing))
        for mean in (means["prompt_tokens"], means["completion_tokens"])
    )
    step = max(1, len(missing) // SAMPLE)
    sample = [by_key[key] for key in missing[::step][:SAMPLE]]
    counts = tokens_of(teacher, sample) if sample else None
    is_bound = False
    if counts is not None:
        prompt = _scaled(counts.prompt, counts.prompt_once, len(sample), len(missing))
        sources.insert(0, f"prompts of a sample of {len(sample)} questions, by {counts.how}")
        if completion is None:
            completion = _scaled(
                counts.completion, counts.completion_once, len(sample), len(missing)
            )
            is_bound = counts.is_bound
            sources.append(_reply_words(counts))
    cost = (means["cost"] and means["cost"] * len(missing)) or None  # 0: of no known price
    if price is not None:
        known = prompt is not None and completion is not None
        cost = price.of(prompt or 0, completion or 0) if known or price.is_free else None
    return Estimate(
        len(by_key),
        unanswered,
        prompt,
        completion,
        cost,
        "; ".join(sources) or "nothing yet: this teacher has answered no question here",
        prompt_is_guess=counts is not None and counts.is_guess,
        completion_is_bound=is_bound,
        invalid=len(invalid),
        asked=len(missing),
    )


def _scaled(counted: int, once: int, sample: int, missing: int) -> int:
    return round(counted * missing / sample) + once


def _reply_words(counts: TokenCounts) -> str:
    return "replies as long as they may be" if counts.is_bound else "a token a score"
