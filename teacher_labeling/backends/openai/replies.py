"""What chat replies hold: texts, scores of first tokens, lists of models.

Servers differ in all of it, so nothing is taken for granted: what is not of the right form raises.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llm4teach.teacher_labeling.backends.openai.bodies import words_of
from llm4teach.teacher_labeling.backends.openai.errors import (
    CHECK_KIND,
    AttemptError,
    RefusedError,
)
from llm4teach.teacher_labeling.backends.openai.transport import Reply
from llm4teach.teacher_labeling.elicitation.base import (
    FORBIDDEN,
    is_refused,
    is_truncated,
    reply_text,
)

ASK_OTHERWISE = (
    "the method needs them: with this server use --teacher.method sampling or verbalized, or "
    "judgments with --no-teacher.scores"
)
_ABOVE_ZERO = 1e-3  # rounding; a log probability is at most 0
# Reasons to end a reply that are no fault of the question: it can be asked again.
_FAILED = {"error", "abort", "aborted", "cancelled", "canceled", "network_error", "timeout"}
_FAILED |= {"insufficient_system_resource", "internal_error", "engine_overloaded"}
_LONGEST = 200  # characters that are quoted


@dataclass(frozen=True)
class ChatReply:
    """One choice: the text of its answer, never its reasoning."""

    text: str
    is_truncated: bool = False
    is_refused: bool = False


REFUSED_REPLY = ChatReply("", is_refused=True)


def replies_of(content: Mapping[str, Any], n: int) -> list[ChatReply]:
    """Return each choice; of choices with one index, which are one, the first.

    Where there are ``n`` of them, as asked for, each is one: some servers give all the same index.

    Raises:
        AttemptError: there is none, or one is not text; or all failed on the server's side.
    """
    by_index: dict[int, ChatReply] = {}
    failures: list[str] = []
    choices = _list(content.get("choices"))
    for place, choice in enumerate(choices):
        message = choice.get("message") if isinstance(choice, dict) else None
        if not isinstance(message, dict):
            raise _no_choices(content)
        finish = choice.get("finish_reason")
        if choice.get("error") or (isinstance(finish, str) and finish.lower() in _FAILED):
            failures.append(_said(choice) or str(finish))
            continue
        text = _text_of(message.get("content"), content)
        refused = is_refused(finish) or (not text.strip() and bool(message.get("refusal")))
        index = choice.get("index", place) if len(choices) != n else place
        reply = ChatReply(reply_text(text, finish), is_truncated(finish), refused)
        by_index.setdefault(index if type(index) is int else place, reply)
    if not by_index and failures:
        raise AttemptError(f"it failed to finish its reply: {failures[0][:_LONGEST]}")
    if not by_index:
        raise _no_choices(content)
    return list(by_index.values())


def _text_of(content: Any, reply: Mapping[str, Any]) -> str:
    """Return a message's text; of a list of parts those that are text, and no thinking."""
    if content is None:
        return ""
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list):
        if not isinstance(content, str):
            raise _no_choices(reply)
        return content
    texts = []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict) and part.get("type", "text") in ("text", "output_text"):
            texts.append(part["text"] if isinstance(part.get("text"), str) else "")
    return "".join(texts)


def _said(choice: Mapping[str, Any]) -> str:
    error = choice.get("error")
    return words_of(Reply(0, {}, b""), {"error": error}) if error else ""


def _no_choices(content: Mapping[str, Any]) -> AttemptError:
    try:
        text = json.dumps(content, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        text = ""
    shown = f": {text[:_LONGEST]}" if text else ""
    return AttemptError(f"it answered without any choices{shown}", CHECK_KIND)


def first_token_scores(content: Mapping[str, Any]) -> dict[str, float]:
    """Return log p of each token that the reply lists for its first place, in nats.

    Raises:
        AttemptError: it lists none, or a value is not a log probability; or it failed.
        RefusedError: a content filter ended it.
    """
    choices = _list(content.get("choices"))
    first = choices[0] if choices and isinstance(choices[0], dict) else {}
    finish = first.get("finish_reason")
    if first.get("error") or (isinstance(finish, str) and finish.lower() in _FAILED):
        raise AttemptError(f"it failed to finish its reply: {_said(first) or finish}"[:_LONGEST])
    logprobs = first.get("logprobs")
    places = _list(logprobs.get("content")) if isinstance(logprobs, dict) else []
    place = places[0] if places and isinstance(places[0], dict) else {}
    scores: dict[str, float] = {}
    for entry in (*_list(place.get("top_logprobs")), place):
        token = entry.get("token") if isinstance(entry, dict) else None
        score = entry.get("logprob") if isinstance(entry, dict) else None
        if not isinstance(token, str):
            continue
        scores.setdefault(token, _log_probability(score))
    if not scores and is_refused(finish):
        raise RefusedError("a content filter refused a question", is_filtered=True)
    if not scores and not choices:
        raise _no_choices(content)
    if not scores:
        raise AttemptError("it answered without logprobs", ASK_OTHERWISE, is_wrong_kind=True)
    return scores


def _log_probability(value: Any) -> float:
    try:
        score = float(value) if type(value) in (int, float) else math.nan
    except OverflowError:  # JSON has integers of any length
        score = math.nan
    if math.isnan(score) or score > _ABOVE_ZERO:
        what = f"it gave {str(value)[:20]!r} for a log probability"
        raise AttemptError(what, ASK_OTHERWISE, is_wrong_kind=True)
    return min(max(score, FORBIDDEN), 0.0)


def matching(scores: Mapping[str, float], labels: Sequence[str]) -> dict[str, float]:
    """Return log p of those labels that some token spells, white space aside, in nats."""
    mass: dict[str, float] = {}
    for token, score in scores.items():
        if (label := token.strip()) in labels:
            mass[label] = mass.get(label, 0.0) + math.exp(score)
    return {label: math.log(m) for label, m in mass.items() if m > 0}


def models_of(content: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each served model's name and what else the server reports about it."""
    for entry in _list(content.get("data")) or _list(content.get("models")):
        entry = {"id": entry} if isinstance(entry, str) else entry
        if isinstance(entry, dict):
            names = (entry.get(key) for key in ("id", "model", "name"))
            if name := next((name for name in names if isinstance(name, str)), ""):
                yield name, entry


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
