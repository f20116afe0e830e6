"""Start habitat workers side by side, and report how far that is."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from llm4teach.envs.habitat.client import HabitatWorker, borrow

REPORT_EVERY_S = 10.0
_logger = logging.getLogger(__name__)


def start_workers(settings: Mapping[str, Any], n_envs: Sequence[int]) -> list[HabitatWorker]:
    """Return one worker with so many environments for each of ``n_envs``.

    As many start at once as there are cores, so that each has its time limit to itself. A start of
    more than `REPORT_EVERY_S` logs a line about its progress from then on.

    Raises:
        TaskError: one of them does not start; the others are closed.
    """
    began = last = time.monotonic()
    pool = ThreadPoolExecutor(min(len(n_envs), os.cpu_count() or 1))
    futures = [pool.submit(_start, settings, n) for n in n_envs]
    pending: set[Future[HabitatWorker]] = set(futures)
    try:
        while pending:
            done, pending = wait(pending, REPORT_EVERY_S, FIRST_COMPLETED)
            for future in done:
                future.result()
            if pending and time.monotonic() - last >= REPORT_EVERY_S:
                last = time.monotonic()
                _logger.warning(
                    "starting habitat simulators: %d of %d run after %.0f s",
                    len(futures) - len(pending),
                    len(futures),
                    last - began,
                )
    except BaseException:
        pool.shutdown(cancel_futures=True)  # waits for those that are starting
        for future in futures:
            if not future.cancelled() and future.exception() is None:
                future.result().close()
        raise
    pool.shutdown()
    return [future.result() for future in futures]


def _start(settings: Mapping[str, Any], n_envs: int) -> HabitatWorker:
    worker = borrow(settings)
    try:
        worker.prepare(n_envs)
    except BaseException:
        worker.close()
        raise
    return worker
