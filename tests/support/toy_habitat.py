"""A habitat worker without habitat-lab: the real loop and protocol around a world that only counts.

``LLM4TEACH_TOY_FAULT`` is ``die``, ``hang``, ``garbage`` or ``error``, what it does at action 3, or
``version``, ``silent`` or ``mute``, at its start.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from llm4teach.envs.habitat.worker import protocol
from llm4teach.envs.habitat.worker.layout import MEASURES, STATE_BYTES
from llm4teach.envs.habitat.worker.loop import serve

FAULT = os.environ.get("LLM4TEACH_TOY_FAULT", "")
LENGTH = 7  # steps of an episode


class CountingEnv:
    """Says its seed and its steps; ends after `LENGTH` steps, well where the seed is even."""

    observation_shape = (STATE_BYTES,)

    def reset(self, seed: int, out: Any) -> None:
        self.seed, self.steps = seed, 0
        self._write(out)

    def step(self, action: int, out: Any) -> tuple[float, bool, bool]:
        if action == 3:
            _misbehave()
        self.steps += 1
        self._write(out)
        even, over = self.seed % 2 == 0, self.steps >= LENGTH
        return float(even and over), even and over, over and not even

    def _write(self, out: Any) -> None:
        out[:3] = self.seed % 256, self.steps, 1

    def measures(self) -> list[float]:
        return [float(self.steps)] * len(MEASURES)

    def render(self) -> Any:
        return np.full((2, 3, 3), self.steps, np.uint8)

    def close(self) -> None:
        pass


def _misbehave() -> None:
    if FAULT == "die":
        os._exit(7)
    if FAULT == "hang":
        time.sleep(60)
    if FAULT == "garbage":
        os.write(1, b"I am not a message, but I am quite long")
        time.sleep(60)
    if FAULT == "error":
        raise ValueError("the toy was told to fail")


def _make(settings: dict[str, Any]) -> Any:
    return CountingEnv()


def main() -> int:
    if FAULT == "version":
        protocol.VERSION = 99  # type: ignore[misc]
    if FAULT == "mute":
        return 3
    if FAULT == "silent":
        time.sleep(60)
    return serve(sys.stdin.buffer, sys.stdout.buffer, _make, {"toy": True})


def write_interpreter(folder: Path) -> Path:
    """An executable that is called like the interpreter with habitat-lab, and starts the toy."""
    path = folder / "python"
    # PYTHONPATH is what the core keeps from its workers; the toy needs this environment's.
    paths = os.pathsep.join(sys.path)
    path.write_text(f'#!/bin/sh\nPYTHONPATH="{paths}" exec "{sys.executable}" "{__file__}"\n')
    path.chmod(0o755)
    return path


if __name__ == "__main__":
    sys.exit(main())
