"""Many states through one server: a bounded number in flight, failures asked again last."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

from llm4teach.envs.task import State
from llm4teach.teacher_labeling.backends.openai.client import OpenAIClient, Session
from llm4teach.teacher_labeling.backends.openai.errors import RefusedError, UnansweredError
from llm4teach.teacher_labeling.backends.openai.protocol import OpenAIEngine
from llm4teach.teacher_labeling.config import Price
from llm4teach.teacher_labeling.elicitation.base import (
    Answer,
    ChatRequest,
    Elicitation,
    to_advice,
)
from llm4teach.teacher_labeling.teacher import Advice, AdviceStatus, Metered, States, Usage

PASSES = 3  # of a state whose question fails
MOST_REFUSED = 8  # before any is answered: then it is not the state that the server dislikes
_MOST_MEMOS = 10_000
_LONG_S = 0.25  # for a caller to be away: some servers close connections that are idle so long
_TURNS = 3  # of the event loop, until it has seen that
_GLANCE_S = 0.25  # between looks whether it is over
_GATHER_S = 0.008  # answers are judged and given together: one by one each costs 30 us more


class _Answered(NamedTuple):
    """What came back about a state, not judged yet."""

    state: State
    answers: list[Answer]  # none: there was nothing to ask
    spent: Usage
    latency_s: float


class Labelling:
    """One call of ``advise``: runs in an event loop of its own, and is stopped from outside it."""

    def __init__(
        self,
        client: OpenAIClient,
        engine: OpenAIEngine,
        elicitation: Elicitation,
        price: Price,
        memos: dict[str, Answer],
        start: Callable[[Session], Awaitable[None]],
    ) -> None:
        self._client, self._engine = client, engine
        self._elicitation, self._price = elicitation, price
        self._memos = memos  # answers that several states need, those of earlier calls too
        self._start = start  # opens the teacher; awaited before the first state is taken
        self._asking: dict[str, asyncio.Lock] = {}  # by memo
        self._wasted: dict[str, Usage] = {}  # on states without an answer so far, by key
        self._refused: dict[str, RefusedError] = {}  # by state key
        self._is_unpaid = False  # some were not asked about again, for lack of budget
        self._fatal: list[Exception] = []
        self._stopped = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._session: Session | None = None
        self._task: asyncio.Task[None] | None = None
        self._begun = asyncio.Event()  # the caller has taken an answer
        self._ready: list[_Answered] = []
        self._given_at, self._stood = 0.0, False

    def stop(self) -> None:
        """Ask nothing more, finish what is on its way; from any thread, at any time."""
        self._stopped.set()
        if self._session is not None:
            self._tell(self._session.stop.set)

    def abandon(self) -> None:
        """End at once, whatever is on its way; from any thread, at any time."""
        self._stopped.set()
        if self._task is not None:
            self._tell(self._task.cancel)

    def _tell(self, what: Callable[[], object]) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # it has ended by itself
                self._loop.call_soon_threadsafe(what)

    async def run(self, states: States, workers: int, give: Callable[[list[Advice]], None]) -> None:
        """Ask about every state and give the answers.

        States that are on a budget (`Metered`) are told of what was spent in vain.

        Raises:
            TeacherError: some state got no answer. The others' have been given.
            Exception: of the states, when one more was to be taken; what was in flight is given.
        """
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        meter = states if isinstance(states, Metered) else None
        waiting: Iterable[State] = states
        failed: list[tuple[State, UnansweredError]] = []
        async with self._client.session() as session:
            self._session = session
            await self._start(session)
            watch = asyncio.ensure_future(self._watch(meter, session))
            try:
                for _ in range(PASSES):
                    failed = []
                    asked = await self._pass(session, waiting, workers, give, failed, meter)
                    if not failed or len(failed) == asked:  # asking again will not help
                        break
                    waiting = self._again([state for state, _ in failed], meter)
            finally:
                watch.cancel()
        if self._stopped.is_set() or (meter is not None and meter.is_over()):
            return
        if failed and not self._is_unpaid:
            raise failed[0][1]
        if self._refused:
            n, first = len(self._refused), next(iter(self._refused.values()))
            more = f" (so it did for {n} states; the others have their advice)" if n > 1 else ""
            raise self._refusal(f"{first}{more}")

    async def _watch(self, meter: Metered | None, session: Session) -> None:
        """Have nothing repeated, and nobody wait for it, once nothing more is wanted."""
        if meter is None:
            return
        while not meter.is_over():
            await asyncio.sleep(_GLANCE_S)
        session.stop.set()

    def _again(self, failed: list[State], meter: Metered | None) -> Iterator[State]:
        """Those that failed, as long as there is something left to pay for them."""
        for state in failed:
            if meter is not None and not meter.may_retry():
                self._is_unpaid = True
                return
            yield state

    def _refusal(self, message: str) -> RefusedError:
        error = RefusedError(message)
        error.failed_states = frozenset(self._refused)
        return error

    async def _pass(
        self,
        session: Session,
        states: Iterable[State],
        workers: int,
        give: Callable[[list[Advice]], None],
        failed: list[tuple[State, UnansweredError]],
        meter: Metered | None,
    ) -> int:
        """Ask about each state once; return how many were asked about."""
        waiting, asked = iter(states), 0

        async def worker() -> None:
            nonlocal asked
            while not (self._fatal or self._stopped.is_set()):
                try:
                    state = next(waiting, None)  # shared: each state goes to one worker
                except Exception as error:  # the others finish what is in flight
                    self._fatal.append(error)
                    return
                if state is None or self._stopped.is_set():
                    return
                asked += 1
                for _ in range(_TURNS if self._stood else 0):
                    await asyncio.sleep(0)
                wasted = self._wasted.get(state.key, Usage())  # on it, in earlier passes
                spent = replace(wasted)
                try:
                    answered = await self._ask(session, state, spent)
                except Exception as error:
                    self._wasted[state.key] = spent
                    self._in_vain(meter, spent, wasted)
                    self._note(state, error, failed)
                else:
                    self._in_vain(meter, Usage(), wasted)  # it counts with the answer
                    self._ready.append(answered)
                    if len(self._ready) in (1, workers):
                        early = self._begun.is_set() and len(self._ready) < workers
                        wait_s = _GATHER_S if early else 0.0
                        asyncio.get_running_loop().call_later(wait_s, self._flush, give)
                if self._ready and not self._begun.is_set():
                    await self._begun.wait()  # a budget knows nothing before its first answer
                while len(self._ready) >= workers:  # a kill would lose them
                    await asyncio.sleep(0)

        if self._stopped.is_set():
            session.stop.set()
        try:
            await asyncio.gather(*(worker() for _ in range(workers)))
        finally:
            self._flush(give)
        if self._fatal:
            raise self._fatal[0]
        return asked

    def _in_vain(self, meter: Metered | None, now: Usage, before: Usage) -> None:
        prompt = now.prompt_tokens - before.prompt_tokens
        completion = now.completion_tokens - before.completion_tokens
        if meter is not None and (prompt or completion):
            meter.charge(prompt, completion, self._price.of(prompt, completion))

    def _note(
        self, state: State, error: Exception, failed: list[tuple[State, UnansweredError]]
    ) -> None:
        """Remember why a state has no answer."""
        if isinstance(error, UnansweredError):
            failed.append((state, error))
        elif isinstance(error, RefusedError):
            self._refused[state.key] = error
            none_answered = not self._ready and not self._begun.is_set()
            if none_answered and len(self._refused) >= MOST_REFUSED:
                self._fatal.append(self._refusal(str(error)))
        else:
            self._fatal.append(error)

    def _flush(self, give: Callable[[list[Advice]], None]) -> None:
        """Judge and give what has come in, while the next questions are on their way."""
        if not self._ready:
            return
        ready, self._ready = self._ready, []
        try:
            give([self._judge(answered) for answered in ready])
        except Exception as error:
            self._fatal.append(error)
        self._given_at, self._stood = time.monotonic(), True  # as far as one knows by now
        asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        """The caller has taken what was given."""
        self._stood = time.monotonic() - self._given_at > _LONG_S
        self._begun.set()

    def _judge(self, answered: _Answered) -> Advice:
        state, answers, spent, latency_s = answered
        if not answers:
            return Advice(state, AdviceStatus.NO_ADVICE)
        verdict = self._elicitation.judge(state, answers)
        return to_advice(state, verdict, spent, latency_s, self._price)

    async def _ask(self, session: Session, state: State, spent: Usage) -> _Answered:
        begin = time.perf_counter()
        questions = self._elicitation.requests(state)
        answers = [await self._answer(session, question, spent) for question in questions]
        return _Answered(state, answers, spent, time.perf_counter() - begin)

    async def _answer(self, session: Session, question: ChatRequest, spent: Usage) -> Answer:
        memo = question.shared
        if not memo:
            return await self._engine.ask(session, question, spent)
        async with self._asking.setdefault(memo, asyncio.Lock()):  # one asks, the others wait
            if memo in self._memos:
                return self._memos[memo]
            answer = await self._engine.ask(session, question, spent)
            if len(self._memos) < _MOST_MEMOS:
                self._memos[memo] = answer
            return answer
