"""A coroutine's results in the caller's thread: in order, never ahead, and cleaned up behind."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from llm4teach.teacher_labeling.backends.openai.event_loop import beside_a_loop, results_of
from llm4teach.teacher_labeling.backends.openai.interrupts import HELD


class Counting:
    """Gives 0, 1, 2, …, from several tasks at a time; knows how far it is and how it ended."""

    def __init__(self, n: int, failure: Exception | None = None) -> None:
        self.n, self.failure = n, failure
        self.steps = 0
        self.thread = 0
        self.ended = False
        self.sleep_s = 0.001
        self.loop: asyncio.AbstractEventLoop
        self.task: asyncio.Task[None] | None = None

    def abandon(self) -> None:
        if self.task is not None and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.task.cancel)

    async def run(self, give: Callable[[int], None]) -> None:
        numbers = iter(range(self.n))

        async def worker() -> None:
            for number in numbers:
                give(number)
                self.steps += 1
                await asyncio.sleep(self.sleep_s)

        self.loop, self.task = asyncio.get_running_loop(), asyncio.current_task()
        self.thread = threading.get_ident()
        try:
            await asyncio.gather(worker(), worker(), worker())
            if self.failure is not None:
                raise self.failure
        finally:
            await asyncio.sleep(0)  # as closing connections does
            self.ended = True


def test_all_results_in_their_order_from_this_thread() -> None:
    counting = Counting(100)
    assert list(results_of(counting.run)) == list(range(100))
    assert counting.ended and counting.thread == threading.get_ident()


def test_a_failure_comes_after_all_that_was_given_before() -> None:
    seen = []
    with pytest.raises(ValueError, match="no more"):
        for number in results_of(Counting(10, ValueError("no more")).run):
            seen.append(number)
    assert seen == list(range(10))


def test_it_is_never_ahead_of_who_takes_its_results() -> None:
    counting = Counting(100)
    for number in results_of(counting.run):
        assert counting.steps <= number + 3  # one turn: each of three tasks once


def test_who_stops_listening_ends_it() -> None:
    counting = Counting(100)
    results = results_of(counting.run)
    assert next(results) == 0
    results.close()
    assert counting.ended and counting.steps <= 3


def test_a_callers_own_failure_ends_it() -> None:
    counting = Counting(100)
    with pytest.raises(KeyboardInterrupt):
        for _ in results_of(counting.run):
            raise KeyboardInterrupt
    assert counting.ended


def test_time_limits_stand_while_it_stands() -> None:
    clock = []

    async def run(give: Callable[[int], None]) -> None:
        loop = asyncio.get_running_loop()
        for number in range(5):
            clock.append(loop.time())
            async with asyncio.timeout(0.15):
                asyncio.get_running_loop().call_later(0.01, give, number)
                await asyncio.sleep(0.05)
        with pytest.raises(TimeoutError):  # those that it reaches itself are still kept
            async with asyncio.timeout(0.05):
                await asyncio.sleep(5)
        clock.append(loop.time())

    begin, seen = time.monotonic(), []
    for number in results_of(run):
        seen.append(number)
        time.sleep(0.2)
    assert seen == list(range(5))
    assert 0.3 <= clock[-1] - clock[0] <= time.monotonic() - begin - 1.0


class LimitError(BaseException):
    """What the handler of a signal raises."""


@contextmanager
def limit(seconds: float) -> Iterator[None]:
    """As Prefect limits a task: by an alarm whose handler raises wherever the program is."""

    def handler(number: int, frame: object) -> None:
        raise LimitError

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_signal_is_obeyed_when_no_callback_is_under_way() -> None:
    """A callback that it fell into would lose what it had in hand, and swallow the exception."""

    async def run(give: Callable[[int], None]) -> None:
        def callback() -> None:
            time.sleep(0.3)
            give(1)

        asyncio.get_running_loop().call_soon(callback)
        await asyncio.sleep(30)

    seen = []
    with limit(0.1), pytest.raises(LimitError):
        for number in results_of(run):
            seen.append(number)
    assert seen == [1]


def test_a_second_signal_does_not_wait_for_a_callback() -> None:
    """Such as one that waits for a lock."""

    async def run(give: Callable[[int], None]) -> None:
        asyncio.get_running_loop().call_soon(time.sleep, 8)
        await asyncio.sleep(30)

    timers = [threading.Timer(s, os.kill, (os.getpid(), signal.SIGINT)) for s in (0.2, 0.5)]
    for timer in timers:
        timer.start()
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        list(results_of(run))
    assert time.monotonic() - begin < 4
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_signals_at_any_time_are_obeyed_and_leave_the_handlers_as_they_were() -> None:
    """Also in what the loop does before it is closed, such as waiting for its threads."""

    async def run(give: Callable[[int], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(None, time.sleep, 0.002)
        for number in range(3):
            give(number)
            await asyncio.sleep(0.001)

    before = [signal.getsignal(number) for number in HELD]
    obeyed = 0
    for i in range(60):
        try:
            with limit(0.002 + 0.0002 * i):
                list(results_of(run))
                time.sleep(0.02)
        except LimitError:
            obeyed += 1
        assert [signal.getsignal(number) for number in HELD] == before
    assert obeyed >= 58  # one that falls into a destructor is lost, in any program


def test_a_signal_ends_what_waits_for_long_also_beside_a_running_loop() -> None:
    for runs_beside in (False, True):
        counting = Counting(100)
        counting.sleep_s = 20

        async def run(counting: Counting = counting) -> None:
            for _ in beside_a_loop(results_of(counting.run), counting.abandon):
                pass

        begin = time.monotonic()
        with limit(0.2), pytest.raises(LimitError):
            if runs_beside:
                asyncio.run(run())
            else:
                list(results_of(counting.run))
        assert counting.ended and time.monotonic() - begin < 5


@pytest.mark.parametrize("listen_to", [1, 100])
def test_beside_a_running_loop(listen_to: int) -> None:
    counting = Counting(100)

    async def run() -> list[int]:
        results = beside_a_loop(results_of(counting.run), counting.abandon)
        seen = [number for number, _ in zip(results, range(listen_to), strict=False)]
        results.close()
        return seen

    assert asyncio.run(run()) == list(range(listen_to))
    assert counting.ended and counting.thread != threading.get_ident()


def test_a_failure_beside_a_running_loop() -> None:
    async def run() -> None:
        counting = Counting(3, ValueError("no more"))
        results = beside_a_loop(results_of(counting.run), counting.abandon)
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(ValueError, match="no more"):
            next(results)

    asyncio.run(run())
