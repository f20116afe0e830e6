"""Requests in a thread of their own: time limits, signals, and what is left behind."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from asking import Make, make_states, make_teacher
from bad_server import BadServer

from llm4teach.envs.task import State
from llm4teach.teacher_labeling.backends.openai.event_loop import (
    LoopThread,
    first_interrupt,
    run_in_thread,
)
from llm4teach.teacher_labeling.teacher import Advice

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.005)
    assert condition()


def request_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "teacher-requests"]


async def value(number: int) -> int:
    await asyncio.sleep(0)
    return number


async def failure() -> None:
    raise ValueError("no more")


def test_a_coroutine_runs_to_its_end_in_another_thread() -> None:
    async def where() -> int:
        return threading.get_ident()

    assert run_in_thread(value(3)) == 3
    assert run_in_thread(where()) != threading.get_ident()
    with pytest.raises(ValueError, match="no more"):
        run_in_thread(failure())
    assert request_threads() == []


def test_it_works_where_an_event_loop_runs() -> None:
    async def notebook() -> int:
        return run_in_thread(value(3))

    assert asyncio.run(notebook()) == 3


def test_what_still_runs_at_the_end_is_canceled() -> None:
    ended = []

    async def long() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0)  # as closing connections does
            ended.append(1)

    with LoopThread() as thread:
        thread.submit(long())
        thread.run(value(1))
    assert ended == [1] and request_threads() == []


def test_answers_that_come_while_the_caller_is_away_are_in_time(serve: Make) -> None:
    """The time limit passes while the caller looks at an answer; nothing is asked again."""
    server = serve()
    teacher = make_teacher(server, timeout_s=3, max_in_flight=4, n_samples=1)
    first, *states = make_states(9)
    assert len(list(teacher.advise([first]))) == 1  # the first question is asked alone
    for i, _ in enumerate(teacher.advise(states)):
        if i == 0:
            wait_until(lambda: server.met["good"] >= 5)
            time.sleep(3.5)
    assert set(server.asked.values()) == {1} and len(server.asked) == 9


def test_it_is_never_ahead_of_who_takes_its_answers(serve: Make) -> None:
    """A state is taken once an earlier answer has been passed on, by the caller's thread."""
    taken: list[str] = []
    threads = set()

    class Watched(list[State]):
        def __iter__(self) -> Iterator[State]:
            for state in super().__iter__():
                taken.append(state.key)
                threads.add(threading.get_ident())
                yield state

    teacher = make_teacher(serve(), max_in_flight=3, n_samples=1)
    for number, _ in enumerate(teacher.advise(Watched(make_states(20)))):
        assert len(taken) <= number + 3
    assert len(taken) == 20 and threads == {threading.get_ident()}


@contextmanager
def stuck(server: BadServer) -> Iterator[None]:
    """Chat requests are taken and not answered, until the block ends."""
    server.latency_s = 3600.0
    yield
    server.latency_s = 0.0


def test_who_stops_listening_ends_it(serve: Make) -> None:
    server = serve()
    answers = iter(make_teacher(server, max_in_flight=2, timeout_s=3600).advise(make_states(9)))
    assert isinstance(next(answers), Advice)
    with stuck(server):
        answers.close()  # type: ignore[attr-defined]
    assert request_threads() == []
    assert len(list(make_teacher(server).advise(make_states(2)))) == 2
    assert len(server.asked) <= 3, "the answered state, and those in flight"


def test_a_callers_own_failure_ends_it(serve: Make) -> None:
    teacher = make_teacher(serve(), max_in_flight=2)
    with pytest.raises(RuntimeError, match="disk full"):
        for _ in teacher.advise(make_states(9)):
            raise RuntimeError("disk full")
    wait_until(lambda: not request_threads())


class LimitError(BaseException):
    """What the handler of a time limit raises."""


@pytest.mark.parametrize("in_a_loop", [False, True])
def test_a_time_limit_ends_what_waits_for_long(in_a_loop: bool, serve: Make) -> None:
    """As Prefect limits a task: by an alarm whose handler raises wherever the program is."""

    def handler(number: int, frame: object) -> None:
        raise LimitError

    server = serve(latency_s=3600.0)
    teacher = make_teacher(server, timeout_s=3600)
    before = [signal.getsignal(number) for number in SIGNALS]

    async def notebook() -> None:
        list(teacher.advise(make_states(3)))

    signal.signal(signal.SIGALRM, handler)
    try:
        with pytest.raises(LimitError):
            signal.setitimer(signal.ITIMER_REAL, 0.5)
            if in_a_loop:
                asyncio.run(notebook())
            else:
                list(teacher.advise(make_states(3)))
    finally:
        signal.signal(signal.SIGALRM, before[2])
    assert [signal.getsignal(number) for number in SIGNALS] == before
    wait_until(lambda: not request_threads())


def test_the_first_interrupt_waits_and_the_second_does_not() -> None:
    stops = []
    before = [signal.getsignal(number) for number in SIGNALS]
    with pytest.raises(KeyboardInterrupt):
        with first_interrupt(lambda: stops.append(1)):
            os.kill(os.getpid(), signal.SIGINT)
            wait_until(lambda: bool(stops))
            reached = True
        raise AssertionError("it is obeyed when the block ends")
    assert reached and stops == [1]
    assert [signal.getsignal(number) for number in SIGNALS] == before
    with pytest.raises(KeyboardInterrupt), first_interrupt(lambda: stops.append(1)):
        os.kill(os.getpid(), signal.SIGINT)
        wait_until(lambda: len(stops) == 2)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_a_signal_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with first_interrupt(lambda: pytest.fail("it was obeyed")):
            signal.raise_signal(signal.SIGINT)
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL, "others are handled"
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_interrupt_goes_before_the_failure_after_it() -> None:
    with pytest.raises(KeyboardInterrupt), first_interrupt(lambda: None):
        signal.raise_signal(signal.SIGINT)
        raise ValueError("the server is gone, too")


def test_an_interrupt_of_the_caller_loses_no_answer(serve: Make) -> None:
    """It comes while the caller stores an answer; what is in flight is yielded before it."""
    server, kept = serve(), list[Advice]()
    with pytest.raises(KeyboardInterrupt):
        for advice in make_teacher(server, max_in_flight=4, n_samples=1).advise(make_states(99)):
            kept.append(advice)
            if len(kept) == 5:
                signal.raise_signal(signal.SIGINT)
    assert len(kept) == server.asked.total() < 99
