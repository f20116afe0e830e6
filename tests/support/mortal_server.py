"""A chat server in a process of its own, on a port that stays: to be killed and started again.

    python mortal_server.py PORT LATENCY_S LOG

LOG holds the number of questions that it has answered.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from bad_server import BadServer
from prefect_processes import free_port, wait_until_listening


class MortalServer:
    """The process; ``url`` holds however often it dies."""

    def __init__(self, folder: Path, latency_s: float = 0.1) -> None:
        self.port, self._latency_s, self._folder = free_port(), latency_s, folder
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self._logs: list[Path] = []

    def start(self) -> None:
        """Return once it listens."""
        self._logs.append(self._folder / f"answered-{len(self._logs)}")
        command = [sys.executable, __file__, self.port, self._latency_s, self._logs[-1]]
        self._process = subprocess.Popen([str(word) for word in command])
        wait_until_listening(self.port)

    def kill(self) -> None:
        """As an out-of-memory killer does."""
        self._process.kill()
        self._process.wait()

    def answered(self) -> list[int]:
        """Questions that it answered, by life; what it answered in its last moment may lack."""
        return [int(log.read_text() or 0) if log.exists() else 0 for log in self._logs]


def _main(port: str, latency_s: str, log: str) -> None:
    server = BadServer(port=int(port), latency_s=float(latency_s))
    new = Path(f"{log}.new")
    while True:
        new.write_text(str(server.met["good"]))
        new.replace(log)  # a kill leaves the last number, and no empty file
        time.sleep(0.005)


if __name__ == "__main__":
    _main(*sys.argv[1:])
