"""Many states through one server: a bounded number in flight, failures asked again last."""

from __future__ import annotations

import asyncio
import queue
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from typing import NamedTuple

from llm4teach.envs.task import State
from llm4teach.teacher_labeling.backends.openai.client import OpenAIClient, Session
from llm4teach.teacher_labeling.backends.openai.errors import RefusedError, UnansweredError
from llm4teach.teacher_labeling.backends.openai.event_loop import LoopThread, first_interrupt
from llm4teach.teacher_labeling.backends.openai.protocol import OpenAIEngine
from llm4teach.teacher_labeling.config import Price
from llm4teach.teacher_labeling.elicitation.base import (
    MAX_SHARED_ANSWERS,
    Answer,
    ChatRequest,
    Elicitation,
    to_advice,
)
from llm4teach.teacher_labeling.teacher import Advice, AdviceStatus, Metered, States, Usage

PASSES = 3  # over a state whose question fails
MOST_REFUSED = 8  # before any is answered: then it is not the state that the server dislikes
MOST_UNANSWERED = 2  # likewise, each with all its retries
_POLL_S = 0.25  # between looks whether the budget is over

_Answers = tuple[list[Answer], float]  # one a request, none if there was nothing to ask; seconds


class _InFlight(NamedTuple):
    """A state that is being asked about."""

    state: State
    usage: Usage  # grows with each reply; it starts with `wasted`
    wasted: Usage  # in earlier passes, and charged then


class Scheduler:
    """One call of ``advise``.

    As long as the server has not answered this teacher, one state alone is asked about: what it
    refuses is learned, and a server that will not do is noticed, at the price of one question.

    The caller's thread takes states, judges answers and passes them on: a state is taken only when
    an earlier answer has been passed on, so that a budget is up to date and a killed process loses
    no more than what is in flight. Requests run in a thread of their own: however long the caller
    takes over an answer, those that come in meanwhile are in time, and not asked for again.
    """

    def __init__(
        self,
        client: OpenAIClient,
        engine: OpenAIEngine,
        elicitation: Elicitation,
        price: Price,
        shared: dict[str, Answer],
        start: Callable[[Session], Awaitable[None]],
    ) -> None:
        self._client, self._engine = client, engine
        self._elicitation, self._price = elicitation, price
        self._shared = shared  # answers that several states need, those of earlier calls too
        self._start = start  # opens the teacher; awaited before the first state is taken
        self._asking: dict[str, asyncio.Lock] = {}  # by key of a shared request
        self._in_flight: dict[Future[_Answers], _InFlight] = {}
        self._finished: queue.SimpleQueue[Future[_Answers] | None] = queue.SimpleQueue()
        self._wasted: dict[str, Usage] = {}  # on states without an answer so far, by key
        self._failed: list[tuple[State, UnansweredError]] = []  # in this pass
        self._refused: dict[str, RefusedError] = {}  # by state key
        self._fatal: Exception | None = None
        self._asked = 0  # in this pass
        self._is_unpaid = False  # some were not asked about again, for lack of budget
        self._answered: Counter[AdviceStatus] = Counter()
        self._stopped = False

    def run(self, states: States, workers: int) -> Iterator[Advice]:
        """Ask about every state, ``workers`` at a time, and yield the answers as they come.

        On the first Ctrl-C nothing more is asked, and what is in flight is yielded before it is
        obeyed; a second one does not wait. Closing the generator cancels what is in flight.

        Raises:
            TeacherError: some state got no answer. The others' have been yielded.
            Exception: from the states, when one more was taken; what was in flight is yielded.
        """
        self._meter = states if isinstance(states, Metered) else None
        self._workers, self._session = workers, self._client.session()
        with LoopThread() as self._thread:
            self._thread.run(self._open())
            try:
                with first_interrupt(self._stop):
                    yield from self._passes(states)
            finally:
                for future in self._in_flight:
                    future.cancel()
                self._thread.run(self._session.close())

    async def _open(self) -> None:
        await self._session.open()
        try:
            await self._start(self._session)
        except BaseException:
            await self._session.close()
            raise

    def _stop(self) -> None:
        """Ask nothing more, finish what is on its way; called by a signal's handler."""
        self._stopped = True
        self._finished.put(None)  # wakes the caller's thread

    def _passes(self, states: Iterable[State]) -> Iterator[Advice]:
        for _ in range(PASSES):
            self._failed, self._asked = [], 0
            yield from self._pass(iter(states))
            if self._fatal is not None:
                raise self._fatal
            if not self._failed or len(self._failed) == self._asked:  # again will not help
                break
            states = self._again([state for state, _ in self._failed])
        if self._is_over():
            return
        if self._failed and not self._is_unpaid:
            error = self._failed[0][1]
            error.failed_states = frozenset(state.key for state, _ in self._failed)
            raise error
        if self._refused:
            raise self._refusal(f"{next(iter(self._refused.values()))}{self._others()}")

    def _others(self) -> str:
        """What became of the other states, beside the first one that was refused."""
        n, answered = len(self._refused), self._answered.total()
        if not answered:
            return f" (so it did for all {n} states that it was asked about)" if n > 1 else ""
        if self._answered[AdviceStatus.OK] < answered:
            others = f"it has answered {answered} others"
        else:
            others = "the others have their advice"
        return f" (so it did for {n} state{'s' if n > 1 else ''}; {others})"

    def _pass(self, states: Iterator[State]) -> Iterator[Advice]:
        """Ask about each state once."""
        has_more = True
        while True:
            while has_more and len(self._in_flight) < self._workers and self._may_take():
                has_more = self._send_next(states)
            if not self._in_flight:
                return
            advice = self._receive()
            if advice is not None:
                yield advice

    def _may_take(self) -> bool:
        """Whether a state may be taken beside those in flight; always, if there are none."""
        if not self._in_flight:
            return True
        return self._engine.is_proven and (self._meter is None or self._meter.may_take())

    def _send_next(self, states: Iterator[State]) -> bool:
        """Take a state and ask about it; return whether there was one."""
        if self._fatal is not None or self._stopped:
            return False
        try:
            state = next(states, None)
        except Exception as error:  # what is in flight is still waited for
            self._fatal = error
            return False
        if state is None or self._stopped:
            return False
        self._asked += 1
        wasted = self._wasted.get(state.key, Usage())
        usage = replace(wasted)
        future = self._thread.submit(self._ask(state, usage))
        self._in_flight[future] = _InFlight(state, usage, wasted)
        future.add_done_callback(self._finished.put)
        return True

    def _receive(self) -> Advice | None:
        """Wait for the next answer, failure or signal; return the advice if it is an answer."""
        try:
            future = self._finished.get(timeout=None if self._meter is None else _POLL_S)
        except queue.Empty:
            future = None
        if self._is_over():
            self._thread.call(self._session.stop.set)  # nothing is repeated any more
        if future is None:
            return None
        state, usage, wasted = self._in_flight.pop(future)
        try:
            answers, latency_s = future.result()
        except Exception as error:
            self._wasted[state.key] = usage
            self._charge(usage, wasted)
            self._note(state, error)
            return None
        self._charge(Usage(), wasted)  # it counts with the answer
        if not answers:
            return Advice(state, AdviceStatus.NO_ADVICE)
        verdict = self._elicitation.judge(state, answers)
        floor = self._elicitation.min_coverage
        advice = to_advice(state, verdict, usage, latency_s, self._price, floor)
        self._answered[advice.status] += 1
        return replace(advice, dropped=self._engine.dropped)

    def _is_over(self) -> bool:
        return self._stopped or (self._meter is not None and self._meter.is_over())

    def _again(self, failed: list[State]) -> Iterator[State]:
        """Yield those that failed, as long as there is something left to pay for them."""
        for state in failed:
            if self._meter is not None and not self._meter.may_retry():
                self._is_unpaid = True
                return
            yield state

    def _charge(self, now: Usage, before: Usage) -> None:
        prompt = now.prompt_tokens - before.prompt_tokens
        completion = now.completion_tokens - before.completion_tokens
        cached = now.cached_prompt_tokens - before.cached_prompt_tokens
        if self._meter is not None and (prompt or completion):
            cost = self._price.of(prompt, completion)
            self._meter.charge(Usage(prompt, completion, cached), cost)

    def _note(self, state: State, error: Exception) -> None:
        """Remember why a state has no answer."""
        if isinstance(error, UnansweredError):
            self._failed.append((state, error))
            if not self._engine.is_proven and len(self._failed) >= MOST_UNANSWERED:
                self._fatal = self._fatal or error
        elif isinstance(error, RefusedError):
            self._refused[state.key] = error
            if not self._answered and len(self._refused) >= MOST_REFUSED:
                self._fatal = self._fatal or self._refusal(str(error))
        else:
            self._fatal = self._fatal or error

    def _refusal(self, message: str) -> RefusedError:
        error = RefusedError(message)
        error.failed_states = frozenset(self._refused)
        return error

    async def _ask(self, state: State, usage: Usage) -> _Answers:
        begin = time.perf_counter()
        requests = self._elicitation.requests(state)
        answers = [await self._answer(request, usage) for request in requests]
        return answers, time.perf_counter() - begin

    async def _answer(self, request: ChatRequest, usage: Usage) -> Answer:
        key = request.shared
        if not key:
            return await self._engine.ask(self._session, request, usage)
        async with self._asking.setdefault(key, asyncio.Lock()):  # one asks, the others wait
            if key in self._shared:
                return self._shared[key]
            answer = await self._engine.ask(self._session, request, usage)
            if len(self._shared) < MAX_SHARED_ANSWERS:
                self._shared[key] = answer
            return answer
