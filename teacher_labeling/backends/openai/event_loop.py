"""An event loop in a thread of its own, for a caller that is plain synchronous code."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

_T = TypeVar("_T")
NOTICE = "interrupted: waiting for the questions in flight; Ctrl-C again stops at once"


class LoopThread:
    """Runs coroutines while the block lasts; at its end, those that still run are canceled.

    Time limits inside the loop do not depend on what the caller does meanwhile. It also works where
    the caller's thread runs an event loop of its own, as in a notebook.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop
        self._end: asyncio.Event
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._main, name="teacher-requests", daemon=True)

    def __enter__(self) -> LoopThread:
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self.call(self._end.set)
        self._thread.join()

    def submit(self, coroutine: Coroutine[Any, Any, _T]) -> Future[_T]:
        """Start a coroutine; canceling the future cancels it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine, and wait for it."""
        return self.submit(coroutine).result()

    def call(self, function: Callable[[], object]) -> None:
        """Have a function called in the loop, soon."""
        self._loop.call_soon_threadsafe(function)

    def _main(self) -> None:
        async def serve() -> None:
            self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
            self._started.set()
            await self._end.wait()

        asyncio.run(serve())  # cancels what is still running


def run_in_thread(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Run one coroutine to its end, also where an event loop runs already."""
    with LoopThread() as thread:
        return thread.run(coroutine)


@contextmanager
def first_interrupt(stop: Callable[[], None]) -> Iterator[None]:
    """Call ``stop`` on the first SIGINT or SIGTERM, and obey it only when the block has ended.

    A second signal is obeyed at once. Only the main thread handles signals; elsewhere nothing
    changes. Neither does what is ignored, as SIGINT is by a job that a script puts in the
    background.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {n: signal.getsignal(n) or signal.SIG_DFL for n in (signal.SIGINT, signal.SIGTERM)}
    before = {n: handler for n, handler in handlers.items() if handler != signal.SIG_IGN}
    received: list[int] = []

    def restore() -> None:
        for n, handler in before.items():
            if signal.getsignal(n) is first:
                signal.signal(n, handler)

    def first(number: int, frame: object) -> None:
        received.append(number)
        restore()
        stop()
        with suppress(OSError, ValueError):  # the same Ctrl-C may have ended what reads this
            print(f"llm4teach: {NOTICE}", file=sys.stderr, flush=True)

    for n in before:
        signal.signal(n, first)
    try:
        yield
    except Exception:
        restore()
        if received:  # whatever failed after it, this was an interrupt
            signal.raise_signal(received[0])
        raise
    finally:
        restore()
    if received:
        signal.raise_signal(received[0])
