"""The fields of a request that a server takes, learned from what it refuses.

Servers differ in what they know beside messages: some want ``max_completion_tokens``, some reject
``seed``, ``n``, ``temperature`` or the system role. When a refusal names such a field, it is left
out or renamed, in this run's later requests, too. What was left out is stored with the advice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llm4teach.teacher_labeling.backends.openai.errors import RefusedError
from llm4teach.teacher_labeling.elicitation.prompts import Message

_OPTIONAL = ("n", "seed", "temperature")
_RENAMED = {"max_tokens": "max_completion_tokens"}
_SYSTEM = "system"  # stands for the system role
_UNKNOWN = re.compile(  # of a field; not: "must be at most 1"
    r"unsupported|not (?:\w+ )?support|unknown|unrecogni[sz]ed|unexpected|extra|not permitted"
    r"|not allowed|forbidden|cannot find field|not (?:a )?valid|not available|not implemented"
    r"|invalid (?:\w+ )?(?:field|param|arg|key|name)|doe?s?n[o']?t (?:accept|support|allow)"
    r"|does not (?:accept|support|allow)|only (?:the default|\S+ is (?:allowed|supported))"
    r"|deprecated|disallow|must be omitted|must not be|remove|additional propert|no longer",
    re.IGNORECASE,
)
_NO_SYSTEM_ROLE = re.compile(
    r"system (?:role|messages?|prompt)\b.{0,40}not|roles? .{0,40}system.{0,40}not"
    r"|only user and assistant roles|roles must alternate",
    re.IGNORECASE,
)
_N = re.compile(r"['\"`]n['\"`]|\bn\s*[>=:]|\bn (?:must|should|is|has|parameter|greater)", re.I)


class RequestFields:
    """What the requests to one server hold; safe to share between requests in one event loop.

    Args:
        extra: fields of every chat request, from the settings; they are never left out.
    """

    def __init__(self, extra: Mapping[str, Any]) -> None:
        self._extra = dict(extra)
        self._left_out: set[str] = set()
        self._renamed: dict[str, str] = {}

    @property
    def dropped(self) -> tuple[str, ...]:
        """What is left out, and what is renamed as ``old=new``."""
        renamed = (f"{old}={new}" for old, new in self._renamed.items())
        return tuple(sorted([*self._left_out, *renamed]))

    def takes(self, field: str) -> bool:
        """Whether the server takes a field, as far as is known."""
        return field not in self._left_out

    def body(
        self, model: str, messages: Sequence[Message], fields: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return a request's JSON with those of the fields that the server takes."""
        taken = {self._renamed.get(k, k): v for k, v in fields.items() if self.takes(k)}
        if not self.takes(_SYSTEM):
            messages = _without_system(messages)
        return {"model": model, "messages": messages, **self._extra, **taken}

    def learn(self, error: RefusedError, body: Mapping[str, Any]) -> bool:
        """Leave out, or rename, what a refusal names; return whether asking again may help.

        Args:
            error: the refusal.
            body: the request that was refused. Another request's refusal may have been learned
                from in the meantime.
        """
        before = self.dropped
        for field, statement in _statements(error):
            is_unknown = _UNKNOWN.search(statement) is not None
            if field in _OPTIONAL and field in body and (is_unknown or field == "n"):
                self._left_out.add(field)
            if field in _RENAMED and field in body and is_unknown:
                self._renamed[field] = _RENAMED[field]
        if _NO_SYSTEM_ROLE.search(error.words) and body["messages"][0].get("role") == "system":
            self._left_out.add(_SYSTEM)
        is_outdated = any(field in body for field in self._left_out | self._renamed.keys())
        has_system = body["messages"][0].get("role") == "system"
        return self.dropped != before or is_outdated or (not self.takes(_SYSTEM) and has_system)


def _statements(error: RefusedError) -> Iterator[tuple[str, str]]:
    """Yield the fields that a refusal names, each with what it says of it."""
    found = dict(_details(error.content))
    if not found:
        inner = error.content.get("error") if isinstance(error.content, dict) else None
        param = inner.get("param") if isinstance(inner, dict) else None
        if isinstance(param, str):
            found[param] = error.words
    if not found:
        for field in ("seed", "temperature", "max_tokens"):
            if re.search(rf"(?<!\w){field}(?!\w)", error.words):
                found[field] = error.words
        if _N.search(error.words):
            found["n"] = error.words
    yield from found.items()


def _details(value: Any, depth: int = 0) -> Iterator[tuple[str, str]]:
    """Yield what lists of details say, as FastAPI's servers write them, wherever they are."""
    if depth > 6:
        return
    if isinstance(value, list):
        for item in value[:50]:
            yield from _details(item, depth + 1)
    elif isinstance(value, dict):
        place = value.get("loc")
        names = [part for part in place if isinstance(part, str)] if isinstance(place, list) else []
        if names:
            yield names[-1], f"{value.get('type')} {value.get('msg')}"
            return
        for inner in value.values():
            if isinstance(inner, dict | list):
                yield from _details(inner, depth + 1)


def _without_system(messages: Sequence[Message]) -> list[Message]:
    """Put the system message before the text of the first user."""
    if not messages or messages[0]["role"] != "system":
        return list(messages)
    system, first, *others = messages
    return [{**first, "content": f"{system['content']}\n\n{first['content']}"}, *others]
