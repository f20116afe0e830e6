"""Kept HTTP connections to one server, and replies of bounded size, over aiohttp.

httpx, which Prefect brings along, spends over a millisecond of CPU on a request; a labeling run
makes millions of them. Proxies are taken from the environment, certificates are always checked.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import SplitResult
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

MAX_REPLY_BYTES = 8_000_000  # 10 replies of 20,000 characters are 0.2 MB
_PIECE = 256 * 1024  # bytes read at a time


class BadReplyError(Exception):
    """The reply is no HTTP, or too long; the connection is closed."""


class UntrustedError(Exception):
    """The server's certificate is not trusted; the message says why."""


@dataclass(frozen=True)
class Reply:
    """An HTTP reply, read to its end."""

    status: int
    headers: Mapping[str, str]  # names in any case
    body: bytes


class HTTPConnections:
    """At most as many connections to one server as there are callers at a time.

    Args:
        url: scheme, host and port of the server.
        headers: of every request, beside the usual ones.
        timeout_s: longest wait for a whole reply.
        connect_timeout_s: longest wait for a connection, TLS included.
    """

    def __init__(
        self,
        url: SplitResult,
        headers: Mapping[str, str],
        timeout_s: float,
        connect_timeout_s: float,
    ) -> None:
        self._server = f"{url.scheme}://{url.netloc}"
        self._headers = {"Accept": "application/json", **headers}
        self._timeout = aiohttp.ClientTimeout(timeout_s, connect=connect_timeout_s)
        # Looked up once: aiohttp's own way (trust_env) does it, and reads netrc, at every request.
        proxy = None if proxy_bypass(url.hostname or "") else getproxies().get(url.scheme)
        self._proxy = proxy if not proxy or "://" in proxy else f"http://{proxy}"
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> HTTPConnections:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),  # the callers are bounded
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=self._headers,
            timeout=self._timeout,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def request(self, method: str, target: str, body: bytes) -> Reply:
        """Send one request and read its reply.

        Args:
            method: GET or POST.
            target: path, encoded.
            body: JSON, for POST.

        Raises:
            BadReplyError: the reply is no HTTP or longer than `MAX_REPLY_BYTES`.
            UntrustedError: the certificate is not trusted.
            TimeoutError: it took longer than the connections' ``timeout_s``.
            OSError, EOFError: there is no connection, or it broke.
        """
        assert self._session is not None, "use the connections in `async with`"
        data = aiohttp.BytesPayload(body, content_type="application/json") if body else None
        try:
            async with self._session.request(
                method,
                URL(self._server + target, encoded=True),
                data=data,
                proxy=self._proxy,
                allow_redirects=False,  # the key is for this server alone
            ) as response:
                return Reply(response.status, response.headers, await _read(response))
        except (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError) as error:
            cause = getattr(error, "certificate_error", error)
            raise UntrustedError(getattr(cause, "verify_message", "") or str(cause)) from error
        except aiohttp.ConnectionTimeoutError:
            message = f"no connection within {self._timeout.connect:g} s"
            raise ConnectionError(message) from None
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError) as error:
            raise EOFError(str(error)) from error
        except (aiohttp.ClientResponseError, aiohttp.InvalidURL, ValueError) as error:
            raise BadReplyError(f"no HTTP reply ({error})") from error


async def _read(response: aiohttp.ClientResponse) -> bytes:
    length = response.content_length
    if (
        length is not None
        and length <= MAX_REPLY_BYTES
        and "Content-Encoding" not in response.headers
    ):
        return await response.read()  # short by its header, and not compressed
    body = bytearray()
    async for piece in response.content.iter_chunked(_PIECE):
        body += piece
        if len(body) > MAX_REPLY_BYTES:
            response.close()
            raise BadReplyError(f"the reply is larger than {MAX_REPLY_BYTES / 1e6:g} MB")
    return bytes(body)
