"""Signals while a teacher is asked: what is in flight is finished; a second Ctrl-C is obeyed."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

HELD = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)  # Prefect's time limits are an alarm
NOTICE = "interrupted: waiting for the questions in flight; Ctrl-C again stops at once"


@contextmanager
def finishing_on_interrupt(stop: Callable[[], None]) -> Iterator[None]:
    """Call ``stop`` on the first SIGINT or SIGTERM, and obey it when the block has ended.

    Only in the main thread, where Python handles signals; elsewhere nothing changes.
    """
    if not _handles_signals():
        yield
        return
    before = {n: signal.getsignal(n) or signal.SIG_DFL for n in (signal.SIGINT, signal.SIGTERM)}
    pending: list[int] = []

    def first(number: int, frame: object) -> None:
        pending.append(number)
        for n, handler in before.items():
            signal.signal(n, handler)  # who asks twice does not wait
        stop()
        with suppress(OSError, ValueError):  # the same Ctrl-C may have ended who reads this
            print(f"llm4teach: {NOTICE}", file=sys.stderr, flush=True)

    for n in before:
        signal.signal(n, first)
    try:
        yield
    finally:
        for n, handler in before.items():
            if signal.getsignal(n) is first and _handles_signals():
                signal.signal(n, handler)
    if pending:
        signal.raise_signal(pending[0])


@contextmanager
def held_back(wake: Callable[[], object]) -> Iterator[None]:
    """While the block runs a signal only calls ``wake``; its handler is called at the end.

    A handler may raise, wherever the program happens to be just then. In the callbacks of an event
    loop that would be logged and forgotten, and what they had in hand with it.
    """
    if not _handles_signals():
        yield
        return
    held: list[int] = []

    def hold(number: int, frame: object) -> None:
        held.append(number)
        wake()

    found = {n: signal.getsignal(n) for n in HELD}
    before = {n: handler for n, handler in found.items() if callable(handler)}
    for n in before:
        signal.signal(n, hold)
    try:
        yield
    finally:
        for n, handler in before.items():
            signal.signal(n, handler)
        for number in held:
            before[signal.Signals(number)](number, None)


def _handles_signals() -> bool:
    return threading.current_thread() is threading.main_thread()
