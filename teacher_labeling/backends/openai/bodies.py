"""The bodies of replies: JSON, also as servers bend it, and event streams that nobody asked for."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

import orjson

from llm4teach.teacher_labeling.backends.openai.transport import Reply

_STREAM = "text/event-stream"
_TITLE = re.compile(r"<title[^>]*>(.{1,200}?)</title", re.IGNORECASE | re.DOTALL)
_LONGEST = 10_000  # characters that are looked at for a message


def parsed(body: bytes) -> Any:
    """Return a body's JSON, None if it is none; also from servers that write NaN."""
    for loads in (orjson.loads, json.loads):  # the first takes a quarter of the time, and no NaN
        with suppress(ValueError, RecursionError):
            return loads(body)
    return None


def content_of(reply: Reply) -> Any:
    """Return the JSON of a reply; of an event stream the reply that its events make together.

    None if it is neither, or if the stream broke off.
    """
    if is_stream(reply):
        return joined_events(reply.body)
    content = parsed(reply.body)
    # Google's servers put an error into a list.
    if isinstance(content, list) and len(content) == 1 and isinstance(content[0], dict):
        return content[0] if content[0].get("error") else content
    return content


def is_stream(reply: Reply) -> bool:
    """Whether the body is an event stream."""
    return reply.headers.get("content-type", "").lower().startswith(
        _STREAM
    ) or reply.body.lstrip().startswith((b"data:", b"event:"))


def joined_events(body: bytes) -> dict[str, Any] | None:
    """Return the reply that the chunks of a stream make; None if it is not complete."""
    choices: dict[int, dict[str, Any]] = {}
    usage: Any = None
    is_complete = False
    for line in body.splitlines():
        if not line.startswith(b"data:"):
            continue
        data = line[5:].strip()
        is_complete |= data == b"[DONE]"
        chunk = parsed(data)
        if not isinstance(chunk, dict):
            continue
        if chunk.get("error"):
            return chunk
        usage = chunk.get("usage") or usage
        pieces = chunk.get("choices")
        for place, piece in enumerate(pieces if isinstance(pieces, list) else []):
            if isinstance(piece, dict):
                index = piece.get("index", place)
                _add(choices.setdefault(index if type(index) is int else place, {}), piece)
    if not is_complete and not all(choice["finish_reason"] for choice in choices.values()):
        return None
    return {
        "choices": [{"index": index, **choice} for index, choice in sorted(choices.items())],
        "usage": usage,
    }


def _add(choice: dict[str, Any], piece: dict[str, Any]) -> None:
    """Add a chunk's piece to a choice."""
    message = choice.setdefault("message", {"content": ""})
    delta = piece.get("delta") or piece.get("message")
    delta = delta if isinstance(delta, dict) else {}
    for name in ("content", "refusal"):
        if isinstance(delta.get(name), str):
            message[name] = (message.get(name) or "") + delta[name]
    choice["finish_reason"] = piece.get("finish_reason") or choice.get("finish_reason")
    choice["error"] = piece.get("error") or choice.get("error")
    logprobs = piece.get("logprobs")
    places = logprobs.get("content") if isinstance(logprobs, dict) else None
    if isinstance(places, list):
        choice.setdefault("logprobs", {"content": []})["content"] += places


def words_of(reply: Reply, content: Any) -> str:
    """Return the server's own message: from JSON of any form, from text, or a page's title."""
    words = _words(content)
    if not words and not isinstance(content, dict | list):
        text = reply.body[:_LONGEST].decode("utf-8", "replace")
        title = _TITLE.search(text)
        is_page = text.lstrip().startswith("<")
        words = title[1] if title else "" if is_page else text
    return " ".join(words[:_LONGEST].split())


def _words(value: Any, depth: int = 0) -> str:
    if depth > 6:  # how deep it goes is up to the server
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "; ".join(filter(None, (_words(item, depth + 1) for item in value[:5])))
    if not isinstance(value, dict):
        return ""
    for name in ("error", "message", "detail", "msg", "errors", "error_description", "title"):
        words = _words(value.get(name), depth + 1)
        if not words:
            continue
        place = value.get("loc")  # FastAPI's: where in the request it is
        where = ".".join(str(part) for part in place[:5]) if isinstance(place, list) else ""
        metadata = value.get("metadata")  # OpenRouter's: the words of the provider behind it
        raw = metadata.get("raw") if isinstance(metadata, dict) else None
        words = f"{words} ({raw})" if isinstance(raw, str) and raw not in words else words
        return f"{where}: {words}" if where else words
    return ""
