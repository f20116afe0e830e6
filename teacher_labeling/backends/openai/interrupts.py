"""Signals while a teacher is asked: what is in flight is finished; a second Ctrl-C is obeyed."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

HELD = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)  # Prefect's time limits are an alarm
Handler = Callable[[int, Any], Any] | int | None
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
    except Exception:
        if pending:  # whatever went wrong after it, this was an interrupt
            _put_back(before, first)
            signal.raise_signal(pending[0])
        raise
    finally:
        _put_back(before, first)
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
    is_over = False

    def hold(number: int, frame: object) -> None:
        held.append(number)
        if is_over or len(held) > 1:  # who asks twice does not wait, whatever the block is at
            _put_back(before, hold)
            deliver()
        else:
            wake()

    def deliver() -> None:
        while held:
            number = held.pop(0)
            handler = signal.getsignal(number)
            if callable(handler):
                handler(number, None)

    found = {n: signal.getsignal(n) for n in HELD}
    before = {n: handler for n, handler in found.items() if callable(handler)}
    try:
        for n in before:
            signal.signal(n, hold)
        yield
    finally:
        is_over = True  # an exception in the next line leaves no handler that only holds
        _put_back(before, hold)
        deliver()


def _put_back(before: Mapping[signal.Signals, Handler], now: Callable[..., object]) -> None:
    """Have signals handled as before, where they still are by ``now``."""
    if _handles_signals():
        for n, handler in before.items():
            if signal.getsignal(n) is now:
                signal.signal(n, handler)


def _handles_signals() -> bool:
    return threading.current_thread() is threading.main_thread()
