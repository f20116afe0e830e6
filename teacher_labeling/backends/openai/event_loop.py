"""An event loop in the caller's own thread, which stands still while results are looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from llm4teach.teacher_labeling.backends.openai.interrupts import held_back

_T = TypeVar("_T")


class StandingLoop(asyncio.SelectorEventLoop):
    """While nobody runs it its clock stands too, and with it the time limits of what it awaits.

    So a reply that came in meanwhile is in time, and not asked for, and paid, again.
    """

    def __init__(self) -> None:
        self._may_pause = False
        self._stood_s = 0.0
        self._stands_at: float | None = None
        super().__init__()

    def time(self) -> float:
        """Monotonic seconds, but for those in which it did not run."""
        return super().time() - self._stood_s if self._stands_at is None else self._stands_at

    def run_forever(self) -> None:
        """Go on where it stood."""
        if self._stands_at is not None:
            self._stood_s, self._stands_at = super().time() - self._stands_at, None
        try:
            super().run_forever()
        finally:
            self._stands_at = self.time()

    def run_on(self) -> None:
        """Run until `pause` is called, or a signal comes.

        The signal's handler is called, and may raise, when no callback is under way.
        """
        self._may_pause = True
        try:
            with held_back(partial(self.call_soon_threadsafe, self.pause)):
                self.run_forever()
        finally:
            self._may_pause = False

    def pause(self) -> None:
        """Stand as soon as the callbacks that are due have run; of no use outside `run_on`."""
        if self._may_pause:
            self.stop()


def results_of(
    work: Callable[[Callable[[_T], None]], Coroutine[Any, Any, None]],
) -> Generator[_T, None, None]:
    """Yield what a coroutine gives, at once; until the next is asked for, nothing moves.

    So the coroutine is never ahead of who takes its results. A thread for it would cost more than
    it does itself: to wake one and to hand it the interpreter takes some 50 us of CPU.

    Args:
        work: makes the coroutine; it is called with the function that takes the results.

    Raises:
        BaseException: what the coroutine or the handler of a signal raises, after all that was
            given.
        RuntimeError: this thread runs an event loop already (see `beside_a_loop`).
    """
    results: list[_T] = []
    runner = asyncio.Runner(loop_factory=StandingLoop)
    try:
        with held_back(lambda: None):
            loop = runner.get_loop()
        assert isinstance(loop, StandingLoop)

        def give(result: _T) -> None:
            results.append(result)
            loop.pause()

        task = loop.create_task(work(give))
        task.add_done_callback(lambda _: loop.pause())

        def end() -> None:
            task.cancel()
            while not task.done():
                loop.run_on()

        try:
            while not task.done():
                loop.run_on()
                given, results = results, []
                yield from given
            task.result()
        except GeneratorExit:  # nobody listens any more
            end()
            raise
        except BaseException:
            end()
            yield from results
            raise
    finally:
        with closing(runner), held_back(lambda: None):  # closing: where a signal comes just before
            runner.close()


def beside_a_loop(
    results: Generator[_T, None, None], abandon: Callable[[], None]
) -> Generator[_T, None, None]:
    """Yield the same; from another thread if this one runs an event loop, as in a notebook.

    Args:
        results: of `results_of`.
        abandon: makes the coroutine end soon, whatever it waits for; from any thread.
    """
    if not _runs_a_loop():
        yield from results
        return
    with ThreadPoolExecutor(1, "beside-a-loop") as thread:
        try:
            while one := thread.submit(lambda: list(islice(results, 1))).result():
                yield from one
        except BaseException:
            abandon()
            raise
        finally:
            thread.submit(results.close).result()


def _runs_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
