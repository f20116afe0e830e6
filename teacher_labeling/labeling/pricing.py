"""What a teacher's tokens cost: one answer for labelling, live asking, dry runs and checks."""

from __future__ import annotations

from dataclasses import replace

from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.label_config import LabelConfig, Price
from llm4teach.teacher_labeling.teacher import Advice, TeacherError, TeacherInfo


def is_local(info: TeacherInfo) -> bool:
    """Whether the teacher answers in this process, so that nobody bills its tokens."""
    return not info.remote


def price_of(config: TeacherConfig, label: LabelConfig, info: TeacherInfo) -> Price | None:
    """Return the price of the teacher's tokens, None if nobody has said it.

    What stands with the teacher (``usd_per_million_…``) goes before the table ``label.prices``,
    unless it is 0. Where neither says anything, a teacher in this process is free.
    """
    told = (config.usd_per_million_prompt_tokens, config.usd_per_million_completion_tokens)
    own = Price(prompt=told[0] or 0.0, completion=told[1] or 0.0)
    if not own.is_free:
        return own
    if info.model in label.prices:
        return label.prices[info.model]
    return None if told == (None, None) and not is_local(info) else own


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
    if (is_local(info) and price.is_free) or label.prices.get(info.model) == price:
        return label
    return label.model_copy(update={"prices": {**label.prices, info.model: price}})


def charged(advice: Advice, price: Price | None) -> Advice:
    """Return the advice with its cost, unless its backend has told it."""
    if price is None or advice.cost:
        return advice
    return replace(advice, cost=price.of(advice.prompt_tokens, advice.completion_tokens))
