"""The failures of a server, in one sentence each, and never with the key in it."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from llm4teach.errors import TeacherError
from llm4teach.teacher_labeling.backends.openai.transport import Reply

CHECK_ADDRESS = "check that it runs and that base_url is right"
CHECK_LOAD = "if it is only slow, raise timeout_s, or lower max_in_flight or n_samples"
CHECK_KIND = "check that base_url is an OpenAI-compatible server's, /v1 included"
_TOO_LONG = re.compile(
    r"context.?length|context window|too (?:long|large)|max(?:imum|_model_len)", re.I
)
_LONGEST_QUOTE = 200  # characters of a server's message
# Real keys are longer. Shorter ones are dummies (EMPTY, key, none) for servers that want some key:
# they are no secret, and taking them out would change words that a model has written.
_SHORTEST_SECRET = 8


class RefusedError(TeacherError):
    """The server understood and refused (400, 413 or 422): asking in another way may help."""

    permanent = True


class UnansweredError(TeacherError):
    """One question got no usable answer, however often it was repeated; others may get theirs."""

    transient = True


class GoneError(TeacherError):
    """No question gets an answer any more, or for long."""

    transient = True


class AttemptError(Exception):
    """One attempt failed; the next may succeed.

    Args:
        what: what happened.
        hint: what to do if it keeps failing.
        wait_s: how long the server asks to wait, seconds.
        is_alive: the server works, and is only busy.
    """

    def __init__(
        self, what: str, hint: str = CHECK_ADDRESS, wait_s: float = 0.0, is_alive: bool = False
    ) -> None:
        super().__init__(what)
        self.hint, self.wait_s, self.is_alive = hint, wait_s, is_alive


class ServerErrors:
    """Writes the messages about one server.

    Args:
        url: its address.
        key_variable: where a key is to be set.
        key: what is sent, if anything; not to be shown, not even where the server quotes it.
    """

    def __init__(self, url: str, key_variable: str, key: str) -> None:
        self._server = f"the server at {url}"
        self._has_key, self._key_variable = bool(key), key_variable
        self._secret = key if len(key) >= _SHORTEST_SECRET else ""

    def raise_for_status(self, reply: Reply) -> None:
        """Raise unless the status is 200.

        Raises:
            RefusedError: 400, 413 or 422.
            TeacherError: any other.
        """
        if (status := reply.status) == 200:
            return
        message = self.server_message(reply)
        if status in (401, 403):
            has = "was refused the API key" if self._has_key else "wants an API key and none is set"
            raise TeacherError(f"{self._server} {has} (HTTP {status}); set {self._key_variable}")
        if status == 413 or (status in (400, 422) and _TOO_LONG.search(message)):
            raise RefusedError(
                f"{self._server} refused a question that is too long for the model "
                f"(HTTP {status}{message}); lower max_tokens, or serve the model with a longer "
                "context"
            )
        if status in (400, 422):
            raise RefusedError(
                f"{self._server} refused the request (HTTP {status}{message}); check model, "
                "max_tokens and the server's context length"
            )
        raise TeacherError(
            f"{self._server} answered HTTP {status}{message}; check model, that base_url ends in "
            "/v1 and that the server is OpenAI-compatible"
        )

    def unanswered(self, attempts: int, failure: AttemptError) -> str:
        """One question got no answer."""
        return (
            f"{self._server} did not answer in {attempts} attempt(s) "
            f"(last: {self.hide(str(failure))}); {failure.hint}"
        )

    def gone(self, failure: AttemptError) -> str:
        """No question gets an answer."""
        return (
            f"{self._server} has stopped answering: many questions in a row failed, and so did one "
            f"after each of several rests (last: {self.hide(str(failure))}). What it had answered "
            f"is kept; {failure.hint}, and rerun the command to resume"
        )

    def away(self, failure: AttemptError) -> str:
        """No question will get an answer before long, by the server's Retry-After."""
        minutes = math.ceil(failure.wait_s / 60)
        return (
            f"{self._server} asks to wait {minutes} minutes (Retry-After, with "
            f"{self.hide(str(failure))}). What it had answered is kept; rerun the command after "
            "that to resume"
        )

    def hide(self, text: str) -> str:
        """Take the key out of a text."""
        return text.replace(self._secret, "***") if self._secret else text

    def hide_in(self, content: dict[str, Any]) -> None:
        """Take the key out of a reply: some servers quote it, and replies are stored.

        In its strings and not in its bytes, where a key may be written with escapes (``\\/``), and
        where what is taken out may be part of the JSON.
        """
        holders: list[Any] = [content] if self._secret else []
        while holders:  # no recursion: how deep it goes is up to the server
            holder = holders.pop()
            places = holder.items() if isinstance(holder, dict) else enumerate(holder)
            for place, value in places:
                if isinstance(value, str):
                    holder[place] = self.hide(value)
                elif isinstance(value, dict | list):
                    holders.append(value)

    def server_message(self, reply: Reply) -> str:
        """Return the server's own error message, shortened."""
        try:
            content = json.loads(reply.body)
            error = content.get("error", content)
            quote = error.get("message", "") if isinstance(error, dict) else error
        except (ValueError, AttributeError, RecursionError):
            quote = ""
        text = self.hide(" ".join(str(quote)[:10_000].split()))
        return f": {text[:_LONGEST_QUOTE]}" if text else ""
