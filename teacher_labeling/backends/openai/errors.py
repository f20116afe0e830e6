"""The failures of a server, in one sentence each, and never with the key in it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin, urlsplit

from llm4teach.errors import TeacherError
from llm4teach.teacher_labeling.backends.openai.bodies import content_of, words_of
from llm4teach.teacher_labeling.backends.openai.transport import Reply

CHECK_ADDRESS = "check that it runs and that base_url is right"
CHECK_LOAD = "if it is only slow, raise timeout_s, or lower max_in_flight or n_samples"
CHECK_KIND = "check that base_url is an OpenAI-compatible server's, /v1 included"
# With every 5xx but 501: busy or broken for now. 424 is text-generation-inference's word for it.
RETRIED = {408, 409, 424, 425, 429}
NOT_IMPLEMENTED = 501
_TOO_LONG = re.compile(
    r"context.?length|context window|too (?:long|large)|max(?:imum|_model_len)", re.I
)
_NO_QUOTA = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
_NO_QUOTA |= {"account_deactivated", "insufficient_balance", "insufficient_credits"}
_QUOTA_WORDS = re.compile(
    r"exceeded your current quota|insufficient (?:quota|balance|credit|funds)|out of credits", re.I
)
_FILTERED = {"content_filter", "content_policy_violation", "responsibleaipolicyviolation"}
_FILTERED |= {"moderation_error", "content_filtered", "data_inspection_failed"}
_MODERATED = re.compile(
    r"requires moderation|flagged (?:for|by|as)|content.management policy", re.I
)
_STATUS_OF = {  # of errors that come with status 200 and a name
    **dict.fromkeys(("rate_limit_exceeded", "rate_limit_error", "too_many_requests"), 429),
    **dict.fromkeys(("rate_limit", "resource_exhausted", "throttling"), 429),
    **dict.fromkeys(("server_error", "internal_server_error", "internalservererror"), 500),
    **dict.fromkeys(("overloaded_error", "overloaded", "engine_overloaded", "unavailable"), 503),
    **dict.fromkeys(("service_unavailable", "unavailable_error", "timeout", "api_error"), 503),
    **dict.fromkeys(("invalid_request_error", "invalid_request", "badrequesterror"), 400),
    **dict.fromkeys(("authentication_error", "invalid_api_key", "unauthenticated"), 401),
    **dict.fromkeys(("permission_error", "permission_denied"), 403),
    **dict.fromkeys(("not_found_error", "model_not_found", "notfounderror"), 404),
}
_LONGEST_QUOTE = 300  # characters of a server's message
# "parameter.enable_thinking must be set to false": a field that the server wants.
_WANTED = re.compile(
    r"(?<![\w.])([a-z][\w.]{2,60})['\"`]?\s+(?:parameter\s+)?(?:must|should|needs? to|has to)"
    r" be (?:set to |equal to )?['\"`]?(true|false|null|\d{1,6})(?![\w.]*\w)",
    re.I,
)
# Real keys are longer. Shorter ones are dummies (EMPTY, key, none) for servers that want some key:
# they are no secret, and taking them out would change words that a model has written.
_SHORTEST_SECRET = 8


class ReplyError(TeacherError):
    """The server has replied, and that it will not do what it was asked."""


class RefusedError(ReplyError):
    """The server understood and refused (400, 413 or 422): asking in another way may help.

    Args:
        message: for people.
        words: the server's own.
        content: its JSON, if it sent any.
        is_filtered: a content filter refused this question; asking again will not help.
    """

    permanent = True

    def __init__(
        self, message: str, words: str = "", content: Any = None, is_filtered: bool = False
    ) -> None:
        super().__init__(message)
        self.words, self.content, self.is_filtered = words, content, is_filtered


class UnansweredError(TeacherError):
    """One question got no usable answer, however often it was repeated; others may get theirs."""

    transient = True
    had_reply = False  # the server replied, if only to say that it is busy


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
        had_reply: there was a reply.
        is_wrong_kind: the server seems to be of another kind, or unable; if it has not done better
            before, it never will.
    """

    def __init__(
        self,
        what: str,
        hint: str = CHECK_ADDRESS,
        wait_s: float = 0.0,
        is_alive: bool = False,
        had_reply: bool = True,
        is_wrong_kind: bool | None = None,
    ) -> None:
        super().__init__(what)
        self.hint, self.wait_s, self.is_alive, self.had_reply = hint, wait_s, is_alive, had_reply
        self.is_wrong_kind = hint == CHECK_KIND if is_wrong_kind is None else is_wrong_kind


class ServerErrors:
    """Writes the messages about one server.

    Args:
        url: its address.
        key_variable: where a key is to be set.
        key: what is sent, if anything; not to be shown, not even where the server quotes it.
    """

    def __init__(self, url: str, key_variable: str, key: str) -> None:
        self._url, self._server = url, f"the server at {url}"
        self._has_key, self._key_variable = bool(key), key_variable
        self._secret = key if len(key) >= _SHORTEST_SECRET else ""

    def raise_for_status(self, reply: Reply, content: Any, wait_s: float = 0.0) -> None:
        """Raise if the reply is an error: by its status, or by an error in a body of status 200.

        Raises:
            AttemptError: a transient one.
            RefusedError: 400, 413 or 422, or a content filter.
            ReplyError: any other; nobody's question will get an answer.
        """
        error = content.get("error") if isinstance(content, dict) else None
        is_error = bool(error) or (isinstance(content, dict) and content.get("object") == "error")
        if 200 <= reply.status < 300 and (not is_error or content.get("choices")):
            return
        codes = set(_codes(content))
        status = reply.status if reply.status >= 300 else _status_of(codes)
        words = self.server_message(reply, content)
        what = f"HTTP {reply.status}{words}"
        # Google's servers say so of a limit per minute, too, and then when to come back.
        says_when = "retry-after" in reply.headers or b"retryDelay" in reply.body
        is_quota = codes & _NO_QUOTA or (_QUOTA_WORDS.search(words) and not says_when)
        if is_quota or status == 402:
            raise ReplyError(
                f"{self._server} has no quota left for this account ({what}). What it had answered "
                "is kept; check its plan and billing, or use another key, and rerun the command"
            )
        if codes & _FILTERED or (status in (400, 403) and _MODERATED.search(words)):
            refusal = f"a content filter of {self._server} refused a question ({what})"
            raise RefusedError(refusal, words, content, is_filtered=True)
        if status == 429 and re.search(r"request too large", words, re.I):
            status = 413
        if status in RETRIED or (status >= 500 and status != NOT_IMPLEMENTED):
            raise AttemptError(what, wait_s=wait_s, is_alive=status in RETRIED)
        if status == 0:  # an error in a good reply, of which nothing says whether it goes away
            raise AttemptError(f"an error in place of an answer{words}", CHECK_KIND)
        self._raise_permanent(status, what, words, reply, content)

    def _raise_permanent(
        self, status: int, what: str, words: str, reply: Reply, content: Any
    ) -> None:
        if 300 <= status < 400:
            raise ReplyError(self._redirect(reply))
        if status == 401:
            has = "was refused the API key" if self._has_key else "wants an API key and none is set"
            raise ReplyError(f"{self._server} {has} ({what}); set {self._key_variable}")
        if status == 403:
            key = self._key_variable if self._has_key else f"none is set: {self._key_variable}"
            raise ReplyError(
                f"{self._server} refuses access ({what}); check that the account and the API key "
                f"({key}) may use the model"
            )
        if status == 413 or (status in (400, 422) and _TOO_LONG.search(words)):
            raise RefusedError(
                f"{self._server} refused a question that is too long for the model ({what}); lower "
                "max_tokens, or serve the model with a longer context",
                words,
                content,
            )
        if status in (400, 422):
            raise RefusedError(
                f"{self._server} refused the request ({what}); {_advice(words)}", words, content
            )
        raise ReplyError(
            f"{self._server} answered {what}; check model, that base_url ends in "
            "/v1 and that the server is OpenAI-compatible"
        )

    def _redirect(self, reply: Reply) -> str:
        place = urlsplit(urljoin(self._url + "/", reply.headers.get("location", "")))
        path = place.path.removesuffix("/").removesuffix("/models")
        path = path.removesuffix("/chat/completions")
        # No user name, password or query: they may hold a secret.
        host = place.netloc.rpartition("@")[2]
        target = self.hide(f"{place.scheme}://{host}{path}")
        return (
            f"{self._server} redirects to {target} (HTTP {reply.status}), and the key is for the "
            f"given address alone; if that is the right one, set --teacher.base-url {target}"
        )

    def wrong_kind(self, failure: AttemptError) -> ReplyError:
        """The first answer shows that there will never be one."""
        return ReplyError(
            f"{self._server} gave no usable answer ({self.hide(str(failure))}); {failure.hint}"
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

    def hide_in(self, content: Any) -> None:
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

    def server_message(self, reply: Reply, content: Any = None) -> str:
        """Return the server's own error message, shortened, after a colon; "" if there is none."""
        words = words_of(reply, content_of(reply) if content is None else content)
        text = self.hide(words)
        return f": {text[:_LONGEST_QUOTE]}" if text else ""


def _codes(value: Any) -> Iterator[str]:
    """Yield the names and numbers that an error's JSON gives to its kind, in lower case."""
    for _ in range(4):  # errors within errors
        if not isinstance(value, dict):
            return
        for name in ("code", "type", "status"):
            if isinstance(code := value.get(name), str | int):
                yield str(code).lower()
        inner = value.get("innererror")
        if isinstance(inner, dict) and isinstance(inner.get("code"), str):
            yield inner["code"].lower()
        value = value.get("error")


def _status_of(codes: set[str]) -> int:
    """Return the HTTP status that an error's names stand for; 0 if none of them is known."""
    numbers = [int(code) for code in codes if code.isascii() and code.isdigit() and len(code) == 3]
    named = [_STATUS_OF[code] for code in codes if code in _STATUS_OF]
    return max((n for n in [*numbers, *named] if 400 <= n < 600), default=0)


def _advice(words: str) -> str:
    """What to do about a refused request."""
    wanted = _WANTED.search(words)
    if wanted is None:
        return (
            "check model, max_tokens and the server's context length; further fields that it wants "
            "go into --teacher.extra-body"
        )
    name, value = wanted[1].rpartition(".")[2], json.loads(wanted[2].lower())
    return f"set it with --teacher.extra-body '{json.dumps({name: value})}'"
