"""Requests to an OpenAI-compatible server: bounded retries, and one clear sentence when it fails.

After many failures in a row a circuit breaker holds all questions back for a while; then one of
them probes. So a server that restarts is not flooded, and one that is gone is noticed in bounded
time, however many states wait.

The API key is handed in or comes from the environment (``LLM4TEACH_API_KEY``, else
``OPENAI_API_KEY``), is sent as a header, and appears in no message.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import orjson

from llm4teach.errors import TeacherError
from llm4teach.teacher_labeling.backends.openai.bodies import content_of, is_stream
from llm4teach.teacher_labeling.backends.openai.errors import (
    CHECK_KIND,
    CHECK_LOAD,
    AttemptError,
    GoneError,
    ServerErrors,
    UnansweredError,
)
from llm4teach.teacher_labeling.backends.openai.transport import (
    BadReplyError,
    HTTPConnections,
    Reply,
    UntrustedError,
)
from llm4teach.teacher_labeling.teacher import Usage

KEY_VARIABLES = ("LLM4TEACH_API_KEY", "OPENAI_API_KEY")
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 60.0  # of the exponential backoff
LONGEST_RETRY_AFTER_S = 900.0  # if the server asks for it
CONNECT_TIMEOUT_S = 10.0
THRESHOLD = 20  # failures in a row, after which the circuit opens
RESTS_S = (5.0, 10.0, 20.0, 40.0, 60.0)  # before each probe; after the last one it is over
_POLL_S = 0.05
JSON = dict[str, Any]  # a ``read`` that takes the object as it is
_T = TypeVar("_T")
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]*)?")
_MOST_TOKENS = 10**9  # of one reply; more is not believed


class CircuitOpenError(Exception):
    """The server failed again after every rest."""


class CircuitBreaker:
    """Shared by all the questions to a server; used in one event loop at a time."""

    def __init__(self) -> None:
        self._failures = 0  # in a row
        self._rests = 0
        self._not_before = 0.0  # monotonic seconds
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether questions wait for a probe."""
        return self._rests > 0

    async def admit(self, stop: asyncio.Event) -> bool:
        """Wait until a question may go out, at once if nothing is wrong; return if it is a probe.

        Returns early when ``stop`` is set.

        Raises:
            CircuitOpenError: the last probe failed.
        """
        while not stop.is_set():
            if self._rests > len(RESTS_S):
                raise CircuitOpenError
            wait = self._not_before - time.monotonic()
            if wait > 0:
                await pause(wait, stop)
            elif not self.is_open:
                return False
            elif not self._probing:
                self._probing = True
                return True
            else:
                await pause(_POLL_S, stop)
        return False

    def succeeded(self) -> None:
        """Record that the server has answered: all may ask."""
        self._failures, self._rests, self._probing = 0, 0, False

    def failed(self, probe: bool) -> None:
        """Record that the server has not answered a question, or not usably."""
        self._failures += 1
        if probe or (self._failures >= THRESHOLD and not self.is_open):
            self._probing = False
            self._rests += 1
            if self._rests <= len(RESTS_S):
                self._not_before = time.monotonic() + RESTS_S[self._rests - 1]

    def wait(self, seconds: float) -> None:
        """Hold all questions back for so long, as the server asks (Retry-After)."""
        self._not_before = max(self._not_before, time.monotonic() + seconds)


async def pause(seconds: float, stop: asyncio.Event) -> None:
    """Sleep, but not once ``stop`` is set."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass


class Session:
    """Connections, their circuit breaker, and a way to end waiting; for one event loop.

    A new session forgets earlier failures: what was down an hour ago may be up.
    """

    def __init__(self, connections: HTTPConnections) -> None:
        self.connections = connections
        self.breaker = CircuitBreaker()
        self.last_error = AttemptError("nothing went wrong")  # the last one that any question met
        self.stop = asyncio.Event()  # set: finish what is on its way, repeat nothing

    async def open(self) -> None:
        """Get ready for requests."""
        await self.connections.__aenter__()

    async def close(self) -> None:
        """Close the connections."""
        await self.connections.__aexit__(None, None, None)

    async def __aenter__(self) -> Session:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class OpenAIClient:
    """An address, a key if there is one, and bounded retries.

    The address holds no secret: TeacherConfig refuses those that might.

    Raises:
        TeacherError: the address is not an http(s) URL.
    """

    def __init__(
        self, base_url: str, timeout_s: float, max_retries: int, api_key: str = ""
    ) -> None:
        try:
            url = urlsplit(base_url.strip())
            valid = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
        except ValueError as error:
            raise TeacherError(f"the base_url is not a URL ({error}); give http://…/v1") from error
        if not valid:
            raise TeacherError(
                f"the base_url {base_url!r} is not a server's address; give http://…/v1"
            )
        self._url = url
        path = url.path.rstrip("/").removesuffix("/chat/completions")  # some copy all of it
        self._path = quote(path, safe="/%:@") or "/v1"
        self.shown_url = f"{url.scheme}://{url.netloc}{self._path}"
        keys = (api_key.strip(), *(os.environ.get(v, "").strip() for v in KEY_VARIABLES))
        self._key = next(filter(None, keys), "")
        if not (self._key.isascii() and self._key.isprintable()):
            place = "that was handed in" if api_key else "in the environment"
            raise TeacherError(
                f"the API key {place} ({' or '.join(KEY_VARIABLES)}) holds characters "
                "that no key has; set it again"
            )
        self._headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        self._max_retries, self._timeout_s = max_retries, timeout_s
        self.errors = ServerErrors(self.shown_url, KEY_VARIABLES[0], self._key)

    def session(self) -> Session:
        """Return connections to the server; use them in ``async with``."""
        connect_s = min(self._timeout_s, CONNECT_TIMEOUT_S)
        return Session(HTTPConnections(self._url, self._headers, self._timeout_s, connect_s))

    async def request(
        self,
        session: Session,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        retries: int | None = None,
        usage: Usage | None = None,
        is_proven: bool = True,
        read: Callable[[dict[str, Any]], _T],
    ) -> _T:
        """POST ``body``, or GET without one; return what ``read`` makes of the JSON object.

        Asks again ``retries`` times at most, never more often than the client's ``max_retries``.

        Args:
            session: from `session`.
            path: below the base URL, or beside its ``/v1`` if it begins with a slash.
            body: a JSON object.
            retries: at most; by default the client's.
            usage: counts the tokens of every reply, those that are of no use included.
            is_proven: the server has answered such a request before. If not, a reply of another
                kind shows that it never will, and is not asked for again.
            read: raises `AttemptError` if the reply is of no use; then it is asked again.

        Raises:
            RefusedError: 400, 413 or 422, or a content filter.
            ReplyError: the server will not do.
            UnansweredError: no answer after all repetitions.
            GoneError: nothing has been answered for long, or will be for more than
                `LONGEST_RETRY_AFTER_S`.
            TeacherError: its certificate is not trusted.
        """
        data = b"" if body is None else orjson.dumps(body)
        retries = self._max_retries if retries is None else min(retries, self._max_retries)
        for attempt in range(retries + 1):
            probe = await self._admit(session)
            if attempt and session.stop.is_set():
                break  # what has begun is tried once, and not repeated
            try:
                value = await self._once(session, path, data, usage, read)
            except AttemptError as error:
                failure = session.last_error = error
            except TeacherError:
                session.breaker.succeeded()  # it has answered, if only to refuse
                raise
            else:
                session.breaker.succeeded()
                return value
            if failure.is_alive or (failure.is_wrong_kind and not is_proven):
                session.breaker.succeeded()
                if not failure.is_alive:
                    raise self.errors.wrong_kind(failure)
            else:
                session.breaker.failed(probe)
            if failure.wait_s > LONGEST_RETRY_AFTER_S:
                raise GoneError(self.errors.away(failure))
            session.breaker.wait(failure.wait_s)
            if attempt < retries:
                backoff = min(FIRST_WAIT_S * 2**attempt, LONGEST_WAIT_S)
                jitter = backoff * random.uniform(0.0, 0.5)
                await pause(max(backoff, failure.wait_s) + jitter, session.stop)
        unanswered = UnansweredError(self.errors.unanswered(attempt + 1, failure))
        unanswered.transient = not failure.is_wrong_kind  # another kind of server stays one
        unanswered.had_reply = failure.had_reply
        raise unanswered

    async def _once(
        self,
        session: Session,
        path: str,
        data: bytes,
        usage: Usage | None,
        read: Callable[[dict[str, Any]], _T],
    ) -> _T:
        beside = path.startswith("/")
        target = self._path.removesuffix("/v1") + path if beside else f"{self._path}/{path}"
        try:
            reply = await session.connections.request("POST" if data else "GET", target, data)
        except UntrustedError as error:
            raise TeacherError(
                f"the certificate of {self.shown_url} is not trusted ({error}); if it is one of "
                "your own, name the file of its CA in SSL_CERT_FILE"
            ) from None
        except TimeoutError:
            what = f"no reply within {self._timeout_s:g} s"
            raise AttemptError(what, CHECK_LOAD, had_reply=False) from None
        except EOFError:
            what = "it closed the connection in the middle of a reply"
            raise AttemptError(what, had_reply=False) from None
        except (OSError, BadReplyError) as error:
            raise AttemptError(str(error) or type(error).__name__, had_reply=False) from None
        content = content_of(reply)
        self.errors.raise_for_status(reply, content, _retry_after(reply))
        if not isinstance(content, dict | list):
            raise self._not_json(reply)
        self.errors.hide_in(content)
        if isinstance(content, dict) and usage is not None:
            usage.add(*_usage(content))
        return read(content if isinstance(content, dict) else {"data": content})

    def _not_json(self, reply: Reply) -> AttemptError:
        """A reply that is another kind of server's, or that broke off."""
        if is_stream(reply):
            return AttemptError("a stream of events that broke off, though none was asked for")
        kind = self.errors.hide(reply.headers.get("content-type", "nothing"))[:80]
        what = f"{kind} and not a JSON object{self.errors.server_message(reply)}"
        if reply.body.lstrip().startswith(b"{"):
            return AttemptError(f"broken JSON ({kind} of {len(reply.body):,} bytes)")
        return AttemptError(what, CHECK_KIND)

    async def _admit(self, session: Session) -> bool:
        try:
            return await session.breaker.admit(session.stop)
        except CircuitOpenError:
            raise GoneError(self.errors.gone(session.last_error)) from None


def _usage(content: dict[str, Any]) -> tuple[int, int, int]:
    """Return the tokens of prompts and completions, and those of the prompts from a cache."""
    usage = content.get("usage")
    if not isinstance(usage, dict):
        return 0, 0, 0
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    cached = cached or usage.get("prompt_cache_hit_tokens")  # DeepSeek's name
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    return _count(prompt), _count(completion), _count(cached)


def _count(value: Any) -> int:
    is_number = type(value) in (int, float) and 0 <= value < _MOST_TOKENS
    return int(value) if is_number else 0


def _retry_after(reply: Reply) -> float:
    """Return the seconds that the server asks to wait; 0 if it does not ask."""
    value = reply.headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(value):
        return float(value)
    try:
        at = parsedate_to_datetime(value)
        seconds = (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return max(seconds, 0.0)
