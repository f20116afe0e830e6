"""Habitat workers that wait to be used again: starting one takes seconds."""

from __future__ import annotations

import atexit
import os
from collections.abc import Mapping
from threading import Lock
from typing import Any

from llm4teach.envs.habitat.client import HabitatWorker

MOST_IDLE = 4
_idle: list[HabitatWorker] = []
_owner = os.getpid()
_lock = Lock()


def borrow(settings: Mapping[str, Any]) -> HabitatWorker:
    """Return a worker with these settings that nobody else uses.

    Raises:
        TaskError: there is none, and none can be started.
    """
    global _owner
    with _lock:
        if _owner != os.getpid():  # after a fork: these are the parent's
            _idle.clear()
            _owner = os.getpid()
        for worker in _idle:
            if worker.alive and worker.settings == dict(settings):
                _idle.remove(worker)
                return worker
    return HabitatWorker(settings)


def give_back(worker: HabitatWorker) -> None:
    """Let others have it; end it if there are enough."""
    with _lock:
        if worker.alive and not worker.waiting and len(_idle) < MOST_IDLE:
            _idle.append(worker)
            return
    worker.close()


@atexit.register
def close_idle() -> None:
    """End the workers that nobody uses."""
    with _lock:
        workers = list(_idle) if _owner == os.getpid() else []
        _idle.clear()
    for worker in workers:
        worker.close()
