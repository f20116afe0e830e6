"""Ctrl-C while a teacher is asked: what is in flight is finished; a second one is obeyed."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

NOTICE = "interrupted: waiting for the questions in flight; Ctrl-C again stops at once"


@contextmanager
def finishing_on_interrupt(stop: Callable[[], None]) -> Iterator[None]:
    """Call ``stop`` on the first SIGINT or SIGTERM, and obey it when the block has ended.

    Only in the main thread, where Python handles signals; elsewhere nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {n: signal.getsignal(n) or signal.SIG_DFL for n in (signal.SIGINT, signal.SIGTERM)}
    pending: list[int] = []

    def first(number: int, frame: object) -> None:
        pending.append(number)
        for n, handler in before.items():
            signal.signal(n, handler)  # who asks twice does not wait
        print(f"llm4teach: {NOTICE}", file=sys.stderr, flush=True)
        stop()

    for n in before:
        signal.signal(n, first)
    try:
        yield
    finally:
        for n, handler in before.items():
            if signal.getsignal(n) is first:
                signal.signal(n, handler)
    if pending:
        signal.raise_signal(pending[0])
