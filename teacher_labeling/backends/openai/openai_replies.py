"""Reads the JSON of chat replies, and believes none of it before it has been looked at."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llm4teach.teacher_labeling.backends.openai.errors import CHECK_KIND, Trouble
from llm4teach.teacher_labeling.elicitation.base import FORBIDDEN, reply_text

ASK_OTHERWISE = "use --teacher.method sampling or verbalized with this server"
_ABOVE_ZERO = 1e-3  # rounding; a log probability is at most 0


def texts_of(content: Mapping[str, Any], n: int) -> list[str]:
    """Return the text of each choice; of choices with one index, which are one, the first.

    Where there are ``n`` of them, as asked for, each is one: some servers give all the same index.

    Raises:
        Trouble: there is none, or one is not text.
    """
    by_index: dict[int, str] = {}
    choices = _list(content.get("choices"))
    for place, choice in enumerate(choices):
        message = choice.get("message") if isinstance(choice, dict) else None
        text = message.get("content") if isinstance(message, dict) else 0
        if text is not None and not isinstance(text, str):
            raise Trouble("it answered without any choices", CHECK_KIND)
        index = choice.get("index", place) if len(choices) != n else place
        reply = reply_text(text or "", choice.get("finish_reason"))
        by_index.setdefault(index if type(index) is int else place, reply)
    if not by_index:
        raise Trouble("it answered without any choices", CHECK_KIND)
    return list(by_index.values())


def first_token_scores(content: Mapping[str, Any]) -> dict[str, float]:
    """Return log p of each token that the reply tells of at its first place, in nats.

    Raises:
        Trouble: it tells nothing, or what it tells is not a log probability.
    """
    choices = _list(content.get("choices"))
    first = choices[0] if choices and isinstance(choices[0], dict) else {}
    told = first.get("logprobs")
    places = _list(told.get("content")) if isinstance(told, dict) else []
    place = places[0] if places and isinstance(places[0], dict) else {}
    scores: dict[str, float] = {}
    for entry in (*_list(place.get("top_logprobs")), place):
        token = entry.get("token") if isinstance(entry, dict) else None
        score = entry.get("logprob") if isinstance(entry, dict) else None
        if not isinstance(token, str):
            continue
        scores.setdefault(token, _log_probability(score))
    if not scores:
        raise Trouble("it answered without logprobs", ASK_OTHERWISE)
    return scores


def _log_probability(told: Any) -> float:
    try:
        score = float(told) if type(told) in (int, float) else math.nan
    except OverflowError:  # JSON has integers of any length
        score = math.nan
    if math.isnan(score) or score > _ABOVE_ZERO:
        raise Trouble(f"it gave {str(told)[:20]!r} for a log probability", ASK_OTHERWISE)
    return min(max(score, FORBIDDEN), 0.0)


def matching(scores: Mapping[str, float], labels: Sequence[str]) -> dict[str, float]:
    """Return log p of those labels that some token spells, white space aside, in nats."""
    mass: dict[str, float] = {}
    for token, score in scores.items():
        if (label := token.strip()) in labels:
            mass[label] = mass.get(label, 0.0) + math.exp(score)
    return {label: math.log(m) for label, m in mass.items() if m > 0}


def models_of(content: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each served model's name and what else the server says of it."""
    for entry in _list(content.get("data")):
        if isinstance(entry, dict) and isinstance(entry.get("id"), str):
            yield entry["id"], entry


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
