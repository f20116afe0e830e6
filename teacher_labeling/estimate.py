"""What labelling would take, said before anything is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import pyarrow.compute as pc

from llm4teach.datasets.advice import AdviceStore
from llm4teach.envs.task import State
from llm4teach.teacher_labeling.label_config import Price
from llm4teach.teacher_labeling.teacher import Teacher

SAMPLE = 32  # states whose prompts are counted


@runtime_checkable
class CountsTokens(Protocol):
    """A teacher that knows how long its prompts are without asking them."""

    def count_prompt_tokens(self, states: Sequence[State]) -> Sequence[int]:
        """Return the prompt tokens that each state would take, all its questions together."""
        ...


@dataclass(frozen=True)
class Estimate:
    """Tokens and US dollars of the states without advice; None where nothing is known of them."""

    distinct_states: int
    missing: int
    prompt_tokens: int | None
    completion_tokens: int | None
    cost: float | None
    source: str  # where the figures come from


def estimate(
    teacher: Teacher, store: AdviceStore, states: Sequence[State], price: Price | None
) -> Estimate:
    """Estimate what `label_states` would take, from means over a sample.

    Prompt tokens are counted where the teacher can do so; the rest is taken from the advice that
    this same teacher gave earlier.
    """
    by_key = {state.key: state for state in states}
    missing = store.missing(by_key)
    stored = store.table(["prompt_tokens", "completion_tokens", "cost"])
    means: dict[str, float | None] = dict.fromkeys(stored.column_names)
    sources = []
    if len(stored):
        means = {name: pc.mean(stored.column(name)).as_py() for name in means}
        sources.append(f"means of {len(stored):,} stored answers")
    if isinstance(teacher, CountsTokens) and missing:
        step = max(1, len(missing) // SAMPLE)
        counts = teacher.count_prompt_tokens([by_key[key] for key in missing[::step][:SAMPLE]])
        means["prompt_tokens"] = sum(counts) / len(counts)
        sources.insert(0, f"prompts counted in a sample of {len(counts)} states")
    prompt, completion = (
        None if mean is None else round(mean * len(missing))
        for mean in (means["prompt_tokens"], means["completion_tokens"])
    )
    cost = means["cost"] and means["cost"] * len(missing)
    if price is not None:
        known = prompt is not None and completion is not None
        cost = price.of(prompt or 0, completion or 0) if known else None
    source = "; ".join(sources) or "nothing yet: this teacher has answered no question here"
    return Estimate(len(by_key), len(missing), prompt, completion, cost or None, source)
