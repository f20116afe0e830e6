"""Many states through one server: a bounded number in flight, failures asked again last."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NamedTuple

from llm4teach.envs.task import State
from llm4teach.teacher_labeling.elicitation import (
    Answer,
    Elicitation,
    Prices,
    Question,
    Spent,
    to_advice,
)
from llm4teach.teacher_labeling.openai_client import OpenAIClient, Session
from llm4teach.teacher_labeling.openai_engine import OpenAIEngine
from llm4teach.teacher_labeling.openai_errors import RefusedError, UnansweredError
from llm4teach.teacher_labeling.teacher import Advice, AdviceStatus, States, TeacherError

PASSES = 3  # of a state whose question fails
MOST_REFUSED = 8  # before any is answered: then it is not the state that the server dislikes
_MOST_MEMOS = 10_000
_GATHER_S = 0.008  # answers are judged and given together: one by one each costs 30 us more


class _Answered(NamedTuple):
    """What came back about a state, not judged yet."""

    state: State
    answers: list[Answer]  # none: there was nothing to ask
    spent: Spent
    latency_s: float


class Labelling:
    """One call of ``advise``: runs in an event loop of its own, and is stopped from outside it."""

    def __init__(
        self,
        client: OpenAIClient,
        engine: OpenAIEngine,
        elicitation: Elicitation,
        prices: Prices,
        memos: dict[str, Answer],
    ) -> None:
        self._client, self._engine = client, engine
        self._elicitation, self._prices = elicitation, prices
        self._memos = memos  # answers that several states need, those of earlier calls too
        self._asking: dict[str, asyncio.Lock] = {}  # by memo
        self._spent: dict[str, Spent] = {}  # on states without an answer so far, by key
        self._refused: list[RefusedError] = []
        self._stopped = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._session: Session | None = None
        self._begun = asyncio.Event()  # the caller has taken an answer
        self._ready: list[_Answered] = []

    def stop(self) -> None:
        """Ask nothing more, finish what is on its way; from any thread, at any time."""
        self._stopped.set()
        loop, session = self._loop, self._session
        if loop is not None and session is not None:
            with suppress(RuntimeError):  # it has ended by itself
                loop.call_soon_threadsafe(session.stop.set)

    async def run(self, states: States, workers: int, give: Callable[[list[Advice]], None]) -> None:
        """Ask about every state and give the answers.

        Raises:
            TeacherError: some state got no answer. The others' have been given; the error tells
                what was spent on those that have none.
        """
        try:
            await self._run(states, workers, give)
        except TeacherError as error:
            wasted = Spent()
            for spent in self._spent.values():
                wasted.add(spent.prompt_tokens, spent.completion_tokens)
            error.prompt_tokens = wasted.prompt_tokens
            error.completion_tokens = wasted.completion_tokens
            error.cost = self._prices.cost(wasted)
            raise

    async def _run(
        self, states: States, workers: int, give: Callable[[list[Advice]], None]
    ) -> None:
        waiting: Iterable[State] = states
        async with self._client.session() as session:
            self._loop, self._session = asyncio.get_running_loop(), session
            for _ in range(PASSES):
                failed: list[tuple[State, UnansweredError]] = []
                asked = await self._pass(session, waiting, workers, give, failed)
                if not failed or self._stopped.is_set():
                    break
                if len(failed) == asked:  # asking again will not help
                    break
                waiting = [state for state, _ in failed]
        if self._stopped.is_set():
            return
        if failed:
            raise failed[0][1]
        if self._refused:
            n = len(self._refused)
            more = f" (so it did for {n} states; the others have their advice)" if n > 1 else ""
            raise RefusedError(f"{self._refused[0]}{more}")

    async def _pass(
        self,
        session: Session,
        states: Iterable[State],
        workers: int,
        give: Callable[[list[Advice]], None],
        failed: list[tuple[State, UnansweredError]],
    ) -> int:
        """Ask about each state once; return how many were asked about."""
        waiting, asked = iter(states), 0
        fatal: list[TeacherError] = []

        async def worker() -> None:
            nonlocal asked
            for state in waiting:  # shared: each state goes to one worker
                asked += 1
                try:
                    answered = await self._ask(session, state)
                except UnansweredError as error:
                    failed.append((state, error))
                except RefusedError as error:
                    self._refused.append(error)
                    none_answered = not self._ready and not self._begun.is_set()
                    if none_answered and len(self._refused) >= MOST_REFUSED:
                        fatal.append(error)
                except TeacherError as error:
                    fatal.append(error)
                else:
                    self._ready.append(answered)
                    if len(self._ready) in (1, workers):
                        early = self._begun.is_set() and len(self._ready) < workers
                        wait_s = _GATHER_S if early else 0.0
                        asyncio.get_running_loop().call_later(wait_s, self._flush, give)
                if fatal or self._stopped.is_set():
                    return
                if self._ready and not self._begun.is_set():
                    await self._begun.wait()  # a budget knows nothing before its first answer
                while len(self._ready) >= workers:  # a kill would lose them
                    await asyncio.sleep(0)

        try:
            await asyncio.gather(*(worker() for _ in range(workers)))
        finally:
            self._flush(give)
        if fatal:
            raise fatal[0]
        return asked

    def _flush(self, give: Callable[[list[Advice]], None]) -> None:
        """Judge and give what has come in, while the next questions are on their way."""
        if self._ready:
            ready, self._ready = self._ready, []
            give([self._judge(answered) for answered in ready])
            asyncio.get_running_loop().call_soon(self._begun.set)  # when the caller has taken them

    def _judge(self, answered: _Answered) -> Advice:
        state, answers, spent, latency_s = answered
        if not answers:
            return Advice(state, AdviceStatus.NO_ADVICE)
        verdict = self._elicitation.judge(state, answers)
        return to_advice(state, verdict, spent, latency_s, self._prices)

    async def _ask(self, session: Session, state: State) -> _Answered:
        begin = time.perf_counter()
        spent = self._spent.setdefault(state.key, Spent())
        questions = self._elicitation.questions(state)
        answers = [await self._answer(session, question, spent) for question in questions]
        del self._spent[state.key]
        return _Answered(state, answers, spent, time.perf_counter() - begin)

    async def _answer(self, session: Session, question: Question, spent: Spent) -> Answer:
        memo = question.memo
        if not memo:
            return await self._engine.ask(session, question, spent)
        async with self._asking.setdefault(memo, asyncio.Lock()):  # one asks, the others wait
            if memo in self._memos:
                return self._memos[memo]
            answer = await self._engine.ask(session, question, spent)
            if len(self._memos) < _MOST_MEMOS:
                self._memos[memo] = answer
            return answer
