"""Real Prefect processes for tests: each in its own process group, always ended, with its log."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx

REPOSITORY = Path(__file__).resolve().parents[2]
PREFECT = str(Path(sys.executable).with_name("prefect"))


def free_port() -> int:
    """Return a port of 127.0.0.1 that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def prefect_environment(home: Path, port: int) -> dict[str, str]:
    """Return the environment of a Prefect set-up that shares nothing with the machine's own."""
    mine = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "LLM4TEACH_"))}
    return {
        **mine,
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_WORKER_QUERY_SECONDS": "1",  # 10 otherwise
        "COLUMNS": "200",
    }


@contextmanager
def background(command: list[str], env: Mapping[str, str], log: Path) -> Iterator[None]:
    """Run a command in the repository's root until the block ends."""
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield
        finally:
            for how in (signal.SIGINT, signal.SIGKILL):
                try:
                    os.killpg(process.pid, how)
                    process.wait(timeout=8)
                except (ProcessLookupError, subprocess.TimeoutExpired):
                    continue
            process.poll()


def prefect(env: Mapping[str, str], *arguments: str, timeout: float = 180) -> str:
    """Run ``prefect …`` to its end in the repository's root; return ``rc=<status>`` and output."""
    done = subprocess.run(
        [PREFECT, *arguments],
        cwd=REPOSITORY,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
    )
    return f"rc={done.returncode}\n{done.stdout}"


def wait_until_listening(port: int, timeout_s: float = 180) -> None:
    """Return as soon as something accepts connections on the port.

    Raises:
        TimeoutError: nothing did.
    """
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise TimeoutError(f"nothing listens on port {port} after {timeout_s} s")


@contextmanager
def own_server(folder: Path) -> Iterator[dict[str, str]]:
    """Let flow runs of this process report to a server of their own; yield its environment."""
    from prefect.events.worker import EventsWorker
    from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

    port = free_port()
    env = prefect_environment(folder / "home", port)
    serve = [PREFECT, "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    url = {"PREFECT_API_URL": env["PREFECT_API_URL"]}
    mine = {PREFECT_API_URL: env["PREFECT_API_URL"], PREFECT_LOGGING_TO_API_ENABLED: False}
    with background(serve, env, folder / "server.log"):
        wait_until_listening(port)
        with patch.dict(os.environ, url), temporary_settings(mine):
            yield env
            # What is still to be sent when the server ends would keep this process for minutes.
            EventsWorker.instance().drain()


def post(env: Mapping[str, str], path: str, body: Mapping[str, Any]) -> httpx.Response:
    """POST to the server, again while its database is busy (503), as Prefect's own client does."""
    for _ in range(30):
        url = f"{env['PREFECT_API_URL']}/{path}/"
        response = httpx.post(url, json=dict(body), timeout=300, follow_redirects=True)
        if response.status_code != 503:
            break
        time.sleep(1)
    return response.raise_for_status()
