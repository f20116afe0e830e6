"""A chat server on a real socket that misbehaves as servers and the proxies before them do.

Which fault a request meets is drawn from a seeded generator, so that a test can be repeated.
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

GOOD_REPLY = "1. Seen.\n2. Done.\n3. Action: {explore}"
FAULTS = (
    *("500", "503", "429", "408", "reset", "reset mid-body", "hang", "html", "not utf-8", "utf-16"),
    *("10 MB", "endless", "no choices", "duplicated choices", "nan", "no logprobs", "nested"),
    *("ignored fields", "wrong types", "cut short", "no http", "surrogate"),
)


class BadServer:
    """Serves ``/v1/models``, ``/version``, ``/tokenize`` and chat on 127.0.0.1, in a thread.

    Args:
        faults: what may go wrong with a chat request, by name.
        rate: share of the chat requests that goes wrong.
        seed: of the draw.
        latency_s: before each good reply.
        port: to listen on; any that is free by default.
        fields: what the server knows beyond plain chat: "n", "logprob_token_ids", "logprobs",
            "structured_outputs". What it does not know it ignores, with 200.
    """

    def __init__(
        self,
        faults: Sequence[str] = (),
        rate: float = 0.3,
        seed: int = 0,
        latency_s: float = 0.0,
        fields: Sequence[str] = ("n", "logprob_token_ids", "logprobs", "structured_outputs"),
        port: int = 0,
    ) -> None:
        self.faults, self.rate, self.latency_s = list(faults), rate, latency_s
        self.fields = set(fields)
        self._port = port
        self.reply, self.finish_reason = GOOD_REPLY, "stop"
        self.key = ""  # without which nothing is answered
        self.retry_after, self.retry_after_with = "0.05", {"429"}
        self.hang_s = 8.0
        self.refused = ""  # chat requests with this in their last message get 400
        self.useless: set[str] = set()  # with one of these: billed, 200 and no choices
        self.useless_times = 1 << 30
        self.same_index = False  # every choice says that it is the first
        self.most_logprobs = 20
        self.tokenize: list[int | str] = []  # what the next such requests get: a status, or a body
        self.tells_usage = True
        self.good_first = 0  # so many chat requests are answered before anything goes wrong
        self.down = False  # every chat request gets 503
        self.down_for = self.fault_times = 1 << 30  # until so many 503, or faults, were sent
        self.times: list[float] = []  # of the first thousand chat requests, monotonic seconds
        self.met: Counter[str] = Counter()  # faults and good replies, as sent
        self.asked: Counter[str] = Counter()  # last messages of chat requests
        self.bodies: list[dict[str, Any]] = []  # the first thousand
        self.targets: list[str] = []  # of the first requests, as they stand there
        self.in_flight = self.most_in_flight = 0
        self.slow = 0  # chat requests that met a latency of a second or more
        self.connections = 0
        self.scores: dict[str, float] = {"A": -0.3, "B": -2.0, "C": -3.0}  # log p, nats
        self._rng = random.Random(seed)
        self._loop: asyncio.AbstractEventLoop
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        started.wait()

    def close(self) -> None:
        """Stop at once; a second time does no harm."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    def _run(self, started: threading.Event) -> None:
        async def serve() -> None:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
            started.set()
            await self._stop.wait()
            server.close()

        asyncio.run(serve())  # cancels what is still being served

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                lines = head.lower().split("\r\n")
                length = next((x[15:] for x in lines if x.startswith("content-length:")), "0")
                body = await reader.readexactly(int(length))
                target = head.split(" ")[1]
                if len(self.targets) < 1000:
                    self.targets.append(target)
                if f"authorization: bearer {self.key}" not in head.lower() and self.key:
                    if not await send(writer, {"error": {"message": "who are you?"}}, 401):
                        break
                elif not await self._reply_to(urlsplit(target).path, body, writer):
                    break
        except (EOFError, OSError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _reply_to(self, path: str, raw: bytes, writer: asyncio.StreamWriter) -> bool:
        if path == "/v1/models":
            return await send(writer, {"data": [{"id": "m", "max_model_len": 4096}]})
        if path == "/version":
            return await send(writer, {"version": "9.9"})
        body = json.loads(raw)
        if path == "/tokenize" and self.tokenize:
            said = self.tokenize.pop(0)
            if isinstance(said, int):
                return await send(writer, {"error": {"message": "busy"}}, said)
            return await send(writer, said)
        if path == "/tokenize":
            known = "logprob_token_ids" in self.fields
            chat = "".join(message["content"] for message in body.get("messages", ()))
            ids = [ord(letter) for letter in body.get("prompt", chat)]  # a character is a token
            tokens = {"tokens": ids, "count": len(ids)}
            return await send(writer, tokens if known else {"error": "?"}, 200 if known else 404)
        if len(self.bodies) < 1000:
            self.bodies.append(body)
        self.asked[body["messages"][-1]["content"]] += 1
        if body.get("top_logprobs", 0) > self.most_logprobs:
            return await send(writer, {"error": {"message": "top_logprobs: too many"}}, 400)
        if self.refused and self.refused in body["messages"][-1]["content"]:
            return await send(writer, {"error": {"message": "too long"}}, 400)
        if self.useless_times > 0 and any(key in str(body["messages"][-1]) for key in self.useless):
            self.useless_times -= 1
            return await send(writer, self._content(body) | {"choices": []})
        if len(self.times) < 1000:
            self.times.append(time.monotonic())
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            self.down = self.down and self.met["503"] < self.down_for
            fault = "503" if self.down else ""
            faults = self.met.total() - self.met["good"]
            is_late = self.met["good"] >= self.good_first
            if (
                self.faults
                and is_late
                and self._rng.random() < self.rate
                and faults < self.fault_times
            ):
                fault = self._rng.choice(self.faults)
            self.met[fault or "good"] += 1
            if self.latency_s:
                self.slow += self.latency_s >= 1
                await asyncio.sleep(self.latency_s)
            return await self._misbehave(fault, body, writer)
        finally:
            self.in_flight -= 1

    async def _misbehave(
        self, fault: str, body: dict[str, Any], writer: asyncio.StreamWriter
    ) -> bool:
        content = self._content(body)
        text = json.dumps(content)
        if fault.isdigit():
            headers = {"Retry-After": self.retry_after} if fault in self.retry_after_with else {}
            return await send(writer, {"error": {"message": "busy"}}, int(fault), headers)
        if fault == "reset":
            writer.transport.abort()
            return False
        if fault in ("reset mid-body", "cut short"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + text.encode()[:40])
            await writer.drain()
            if fault == "reset mid-body":
                writer.transport.abort()
            return False
        if fault == "hang":
            await asyncio.sleep(self.hang_s)
            return False
        if fault == "endless":
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            begin = time.monotonic()
            while time.monotonic() - begin < 20:
                writer.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
                await writer.drain()
            return False
        if fault == "no http":
            writer.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
            return False
        if not fault:
            return await send(writer, text)
        bodies: dict[str, Any] = {
            "html": "<html>Welcome</html>",
            "not utf-8": text.encode()[:-2] + b'\xff\xfe\x80"}',
            "utf-16": text.encode("utf-16"),
            "10 MB": b'{"padding": "' + b"x" * 10_000_000 + b'"}',
            "no choices": {**content, "choices": []},
            "duplicated choices": {**content, "choices": [content["choices"][0]] * 10},
            "nan": text.replace("-0.3", "NaN") if "logprobs" in text else '{"choices": NaN}',
            "no logprobs": {
                **content,
                "choices": [{**c, "logprobs": None} for c in content["choices"]],
            },
            "nested": "[" * 100_000,
            "ignored fields": {**content, "choices": content["choices"][:1]},
            "wrong types": {"choices": {"0": 1}, "usage": [1], "id": 7},
            "surrogate": text.replace("Seen", "\\ud800"),
        }
        return await send(writer, bodies[fault])

    def _content(self, body: dict[str, Any]) -> dict[str, Any]:
        n = body.get("n", 1) if "n" in self.fields else 1
        choice = {
            "message": {"role": "assistant", "content": self.reply},
            "finish_reason": self.finish_reason,
        }
        choices = [{"index": i, **choice} for i in range(n)]
        if self.same_index:
            choices = [choice | {"index": 0} for choice in choices]
        if body.get("logprobs") and "logprobs" in self.fields:
            choices[0]["logprobs"] = {"content": [self._logprobs(body)]}
        usage = {"prompt_tokens": 100, "completion_tokens": 10 * n}
        told = {"usage": usage} if self.tells_usage else {}
        return {"id": "chat-1", "choices": choices, **told}

    def _logprobs(self, body: dict[str, Any]) -> dict[str, Any]:
        """Scores of the letters asked for, else of the likeliest tokens."""
        table = {"The": -1.5, " the": -4.0, **self.scores}
        most = body.get("top_logprobs", 0)
        if "logprob_token_ids" in body and "logprob_token_ids" in self.fields:
            told = [(f"token_id:{i}", table.get(chr(i), -9.0)) for i in body["logprob_token_ids"]]
            most = len(told)
        elif "structured_outputs" in body and "structured_outputs" in self.fields:
            told = [(c, table.get(c, -9.0)) for c in body["structured_outputs"]["choice"]]
        else:
            told, most = list(table.items()), min(most, 4)
        told.sort(key=lambda entry: -entry[1])
        entries = [{"token": token, "logprob": score} for token, score in told]
        return {**entries[0], "top_logprobs": entries[:most]}


async def send(
    writer: asyncio.StreamWriter, content: Any, status: int = 200, headers: Any = None
) -> bool:
    """Send a reply with a length."""
    data = content if isinstance(content, bytes) else None
    if data is None:
        data = (content if isinstance(content, str) else json.dumps(content)).encode()
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(data)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + data)
    await writer.drain()
    return True
