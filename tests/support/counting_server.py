"""A chat server over real sockets that writes down who asks what, before it answers.

    python counting_server.py LOG DELAY_MS [CERTIFICATE KEY]

Prints its URL; LOG gets a line ``pid key`` for each question, where the pid came as the API key and
the key stands in the state's text. ``…/v1/chat/completions`` and ``…/v1/models`` are all it knows.
"""

from __future__ import annotations

import asyncio
import os
import re
import ssl
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from aiohttp import web

_STATE = re.compile(rb"state ([0-9a-f]{16})")


async def _serve(log: Path, delay_s: float, tls: list[str]) -> None:
    file = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)

    async def chat(request: web.Request) -> web.Response:
        pid = request.headers["authorization"].removeprefix("Bearer pid-")
        key = _STATE.findall(await request.read())[-1].decode()
        os.write(file, f"{pid} {key}\n".encode())
        await asyncio.sleep(delay_s)
        content = f"1. This is the reply to {key}.\n2. So be it.\n3. Action: {{explore}}"
        message = {"role": "assistant", "content": content}
        usage = {"prompt_tokens": 10, "completion_tokens": 5}
        return web.json_response({"choices": [{"index": 0, "message": message}], "usage": usage})

    async def models(request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "counting"}]})

    application = web.Application()
    application.add_routes([web.post("/v1/chat/completions", chat), web.get("/v1/models", models)])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    print(f"http{'s' if tls else ''}://127.0.0.1:{runner.addresses[0][1]}/v1", flush=True)
    await asyncio.Event().wait()


@contextmanager
def counting_server(log: Path, delay_ms: float = 1.0, tls: Sequence[Path] = ()) -> Iterator[str]:
    """Start the server as a process; yield its URL."""
    command = [sys.executable, __file__, str(log), str(delay_ms), *map(str, tls)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


def questions_by_process(log: Path) -> dict[int, list[str]]:
    """The state keys that each process has asked about, in its order."""
    found: dict[int, list[str]] = {}
    for line in log.read_text().splitlines():
        pid, key = line.split()
        found.setdefault(int(pid), []).append(key)
    return found


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), float(sys.argv[2]) / 1e3, sys.argv[3:]))
