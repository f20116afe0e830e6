"""Requests to an OpenAI-compatible server: bounded retries, and one clear sentence when it fails.

The API key comes from the environment (``LLM4TEACH_API_KEY``, else ``OPENAI_API_KEY``), is sent as
a header, and stands in no message.
"""

from __future__ import annotations

import asyncio
import os
import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from llm4teach.teacher_labeling.teacher import TeacherError

KEY_VARIABLES = ("LLM4TEACH_API_KEY", "OPENAI_API_KEY")
RETRIED = {408, 409, 429}  # and every 5xx: busy or broken for now
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 60.0
CHECK_ADDRESS = "check that it runs and that base_url is right"
CHECK_LOAD = "if it is only slow, raise timeout_s, or lower max_in_flight or n_samples"


class RefusedError(TeacherError):
    """The server understood and refused (400 or 422): asking in another way may help."""


class OpenAIClient:
    """An address, a key if there is one, and the patience to ask again.

    Raises:
        TeacherError: the address is not an http(s) URL.
    """

    def __init__(self, base_url: str, timeout_s: float, max_retries: int) -> None:
        try:
            url = httpx.URL(base_url.strip().rstrip("/"))
        except httpx.InvalidURL as error:
            raise TeacherError(f"the base_url is not a URL ({error}); give http://…/v1") from error
        if url.scheme not in ("http", "https") or not url.host:
            raise TeacherError(
                f"the base_url {base_url!r} is not a server's address; give http://…/v1"
            )
        if url.path in ("", "/"):
            url = url.copy_with(path="/v1")
        self.shown_url = str(url.copy_with(userinfo=b"", query=None))  # without secrets
        self._key = next(filter(None, (os.environ.get(v, "").strip() for v in KEY_VARIABLES)), "")
        self._max_retries, self._timeout_s = max_retries, timeout_s
        self._settings: dict[str, Any] = {
            "base_url": url,
            "timeout": httpx.Timeout(timeout_s, connect=min(timeout_s, 10.0)),
            "headers": {"Authorization": f"Bearer {self._key}"} if self._key else {},
        }

    def session(self, connections: int = 1) -> httpx.AsyncClient:
        """Return an HTTP session; use it in ``async with``."""
        limits = httpx.Limits(max_connections=connections)
        return httpx.AsyncClient(**self._settings, limits=limits)

    async def request(
        self,
        session: httpx.AsyncClient,
        path: str,
        body: dict[str, Any] | None = None,
        retries: int | None = None,
    ) -> dict[str, Any]:
        """POST ``body``, or GET without one; return the JSON object that comes back.

        Asks again ``retries`` times at most, never more often than the client's ``max_retries``.

        Raises:
            RefusedError: 400 or 422.
            TeacherError: any other answer than JSON, or none after all repetitions.
        """
        method = "GET" if body is None else "POST"
        failure = ""
        check = CHECK_ADDRESS
        retries = self._max_retries if retries is None else min(retries, self._max_retries)
        for attempt in range(retries + 1):
            wait = FIRST_WAIT_S * 2**attempt
            try:
                response = await session.request(method, path, json=body)
            except httpx.ReadTimeout:
                failure, check = f"no reply within {self._timeout_s:g} s", CHECK_LOAD
            except httpx.TransportError as error:
                failure, check = str(error) or type(error).__name__, CHECK_ADDRESS
            else:
                if response.status_code < 500 and response.status_code not in RETRIED:
                    return self._content(response)
                failure, check = f"HTTP {response.status_code}{self._said(response)}", CHECK_ADDRESS
                wait = max(wait, _retry_after(response))
            if attempt < retries:
                await asyncio.sleep(min(wait, LONGEST_WAIT_S) * random.uniform(0.75, 1.25))
        raise TeacherError(
            f"the server at {self.shown_url} did not answer in {retries + 1} attempt(s) "
            f"(last: {self._hide(failure)}); {check}"
        )

    def _content(self, response: httpx.Response) -> dict[str, Any]:
        status = response.status_code
        if status in (401, 403):
            has = "was refused the API key" if self._key else "wants an API key and none is set"
            raise TeacherError(
                f"the server at {self.shown_url} {has} (HTTP {status}); set {KEY_VARIABLES[0]}"
            )
        if status in (400, 422):
            raise RefusedError(
                f"the server at {self.shown_url} refused the request "
                f"(HTTP {status}{self._said(response)}); "
                "check model, max_tokens and the server's context length"
            )
        if status != 200:
            raise TeacherError(
                f"the server at {self.shown_url} answered HTTP {status}{self._said(response)}; "
                "check that base_url ends in /v1 and that the server is OpenAI-compatible"
            )
        try:
            content = response.json()
        except ValueError:
            content = None
        if not isinstance(content, dict):
            kind = response.headers.get("content-type", "nothing")
            raise TeacherError(
                f"the server at {self.shown_url} answered {self._hide(kind)} and not a JSON "
                "object; check that base_url is an OpenAI-compatible server's, /v1 included"
            )
        return content

    def _said(self, response: httpx.Response) -> str:
        """Return the server's own error message, shortened."""
        try:
            content = response.json()
            error = content.get("error", content)
            message = error.get("message", "") if isinstance(error, dict) else error
        except (ValueError, AttributeError):
            message = ""
        text = " ".join(str(message).split())
        return f": {self._hide(text)[:200]}" if text else ""

    def _hide(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


def _retry_after(response: httpx.Response) -> float:
    """Return the seconds that the server asks to wait; 0 if it does not say."""
    value = response.headers.get("retry-after", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 0.0
