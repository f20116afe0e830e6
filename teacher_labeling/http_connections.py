"""HTTP/1.1 over kept connections: just what asking a server needs, at a tenth of a client's CPU.

httpx spends over a millisecond of CPU on a request; a labelling run makes millions of them. This
does one thing, POST or GET with a bounded reply, over asyncio's streams. Proxies are taken from the
environment (``HTTP_PROXY``, ``HTTPS_PROXY``, ``NO_PROXY``); TLS certificates are always checked.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

MAX_REPLY_BYTES = 8_000_000  # 10 replies of 20,000 characters are 0.2 MB
_MAX_HEADER_BYTES = 64 * 1024


class BadReplyError(Exception):
    """What came back is no HTTP, or more of it than is read; the connection is closed."""


@dataclass(frozen=True)
class Reply:
    """An HTTP reply, read to its end."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes


class HTTPConnections:
    """At most as many connections to one server as there are callers at a time.

    Args:
        url: scheme, host and port of the server.
        connect_timeout_s: longest wait for a connection, TLS included.
    """

    def __init__(self, url: SplitResult, connect_timeout_s: float) -> None:
        self._host, self._tls = url.hostname or "", url.scheme == "https"
        self._port = url.port or (443 if self._tls else 80)
        self._connect_timeout_s = connect_timeout_s
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        shown = f"[{self._host}]" if ":" in self._host else self._host
        self._netloc = f"{shown}:{self._port}" if url.port else shown
        proxy = None if proxy_bypass(self._host) else getproxies().get(url.scheme)
        self._proxy = urlsplit(proxy if "://" in proxy else f"http://{proxy}") if proxy else None

    async def __aenter__(self) -> HTTPConnections:
        return self

    async def __aexit__(self, *_: object) -> None:
        for _reader, writer in self._idle:
            writer.close()
        self._idle.clear()

    async def request(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, timeout_s: float
    ) -> Reply:
        """Send one request and read its reply.

        Raises:
            BadReplyError: the reply is no HTTP or longer than `MAX_REPLY_BYTES`.
            TimeoutError: it took longer than ``timeout_s``, the connection not counted.
            OSError, EOFError: there is no connection, or it broke.
        """
        reader, writer = await self._connection()
        kept = False
        try:
            writer.write(self._head(method, target, headers, len(body)) + body)
            async with asyncio.timeout(timeout_s):
                await writer.drain()
                reply, kept = await _read_reply(reader)
        except (ValueError, asyncio.LimitOverrunError, zlib.error) as error:
            raise BadReplyError(f"no HTTP reply ({error})") from error
        finally:
            if kept:
                self._idle.append((reader, writer))
            else:
                writer.close()
        return reply

    def _head(self, method: str, target: str, headers: Mapping[str, str], length: int) -> bytes:
        if self._proxy and not self._tls:
            target = f"http://{self._netloc}{target}"
            headers = {**headers, **_proxy_authorization(self._proxy)}
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self._netloc}", "Accept: application/json"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if method == "POST":
            lines += ["Content-Type: application/json", f"Content-Length: {length}"]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    @cached_property
    def _certificates(self) -> ssl.SSLContext:
        return ssl.create_default_context()

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._idle:
            reader, writer = self._idle.pop()
            if not (reader.at_eof() or writer.is_closing()):
                return reader, writer
            writer.close()
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                return await self._connect()
        except TimeoutError:
            raise ConnectionError(f"no connection within {self._connect_timeout_s:g} s") from None

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        context = self._certificates if self._tls else None
        if self._proxy is None:
            return await asyncio.open_connection(
                self._host, self._port, ssl=context, limit=_MAX_HEADER_BYTES
            )
        reader, writer = await asyncio.open_connection(
            self._proxy.hostname, self._proxy.port or 8080, limit=_MAX_HEADER_BYTES
        )
        if context is None:
            return reader, writer
        place = f"{self._host}:{self._port}"
        lines = [f"CONNECT {place} HTTP/1.1", f"Host: {place}"]
        lines += [f"{n}: {v}" for n, v in _proxy_authorization(self._proxy).items()]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        answer = await reader.readuntil(b"\r\n\r\n")
        if answer.split(b" ", 2)[1:2] != [b"200"]:
            writer.close()
            raise ConnectionError(f"the proxy said {answer[:60]!r}")
        await writer.start_tls(context, server_hostname=self._host)
        return reader, writer


async def _read_reply(reader: asyncio.StreamReader) -> tuple[Reply, bool]:
    """Return the reply, and whether the connection may be used again."""
    status = 100
    while status < 200:  # 1xx: more is to come
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head[:-4].split("\r\n")
        version, _, rest = first.partition(" ")
        if not version.startswith("HTTP/1."):
            raise ValueError(f"it begins with {first[:40]!r}")
        status = int(rest[:3])
        pairs = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    kept = version != "HTTP/1.0" and headers.get("connection", "").lower() != "close"
    if status in (204, 304):
        body = b""
    elif "chunked" in headers.get("transfer-encoding", "").lower():
        body = await _read_chunks(reader)
    elif (length := headers.get("content-length")) is not None:
        body = await reader.readexactly(_checked(int(length)))
    else:
        body, kept = await _read_to_the_end(reader), False
    if headers.get("content-encoding", "").lower() in ("gzip", "deflate"):  # not asked for
        unpack = zlib.decompressobj(zlib.MAX_WBITS | 32)
        body = unpack.decompress(body, MAX_REPLY_BYTES)
        _checked(len(body) + len(unpack.unconsumed_tail))
    return Reply(status, headers, body), kept


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        _checked(len(body) + size)
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass  # trailers
    return bytes(body)


async def _read_to_the_end(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while piece := await reader.read(64 * 1024):
        body += piece
        _checked(len(body))
    return bytes(body)


def _checked(size: int) -> int:
    if not 0 <= size <= MAX_REPLY_BYTES:
        raise BadReplyError(f"the reply is larger than {MAX_REPLY_BYTES / 1e6:g} MB")
    return size


def _proxy_authorization(proxy: SplitResult) -> dict[str, str]:
    return {"Proxy-Authorization": basic(proxy)} if proxy.username else {}


def basic(url: SplitResult) -> str:
    """Return the header value for the name and password that stand in a URL."""
    pair = f"{unquote(url.username or '')}:{unquote(url.password or '')}"
    return "Basic " + base64.b64encode(pair.encode()).decode()
