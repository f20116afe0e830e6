"""The ``openai`` teacher: n sampled replies from any OpenAI-compatible server (vLLM first of all).

``P(k | c(s))`` is the share of the replies that end in plan k (arXiv 2311.13373, section 3.2).
Replies that are no plan are kept and count against the coverage.
"""

from __future__ import annotations

import asyncio
import hashlib
import queue
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import httpx

from llm4teach.envs.plan import Plan, PlanSyntaxError
from llm4teach.envs.task import State
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.grammar import parse_reply
from llm4teach.teacher_labeling.openai_client import OpenAIClient, RefusedError
from llm4teach.teacher_labeling.prompting import load_template
from llm4teach.teacher_labeling.teacher import (
    Advice,
    TeacherError,
    TeacherInfo,
    advice_from_weights,
)

START_RETRIES = 1  # a wrong address should show at once


class OpenAITeacher:
    """Asks a server over HTTP, several states at a time.

    Raises:
        TeacherError: the server cannot be reached, wants a key, or does not serve the model.
    """

    def __init__(self, config: TeacherConfig, family: str) -> None:
        self._config = config
        # Without chance all replies are one, and vLLM refuses n > 1.
        self._n_samples = config.n_samples if config.temperature > 0 else 1
        self._template = load_template(family, config.prompt or "sampling")
        self._client = OpenAIClient(config.base_url, config.timeout_s, config.max_retries)
        self._model = _in_thread(self._choose_model())
        self.info = TeacherInfo(
            backend="openai",
            model=self._model,
            model_revision=config.model_revision,
            method="sampling",
            settings=f"n={self._n_samples},temperature={config.temperature:g},"
            f"seed={config.seed},max_tokens={config.max_tokens}",
            prompt_version=self._template.version,
        )

    def advise(self, states: Sequence[State]) -> Iterable[Advice]:
        """Yield each state's advice as its replies come in.

        When a question fails for good, those under way are still finished and yielded, no new
        ones are asked, and then the failure is raised.
        """
        answers: queue.SimpleQueue[Advice | BaseException | None] = queue.SimpleQueue()
        stop = threading.Event()

        def work() -> None:
            try:
                asyncio.run(self._ask_all(states, answers, stop))
                answers.put(None)
            except BaseException as error:
                answers.put(error)

        # A thread of its own: the caller may itself run in an event loop.
        thread = threading.Thread(target=work, name="openai-teacher", daemon=True)
        thread.start()
        try:
            while (answer := answers.get()) is not None:
                if isinstance(answer, BaseException):
                    raise answer
                yield answer
        finally:
            stop.set()  # the caller may have stopped listening

    def close(self) -> None:
        """Nothing to free: connections live as long as a call of ``advise``."""

    async def _ask_all(
        self,
        states: Sequence[State],
        answers: queue.SimpleQueue[Advice | BaseException | None],
        stop: threading.Event,
    ) -> None:
        waiting = iter(states)
        failures: list[TeacherError] = []

        async def worker(session: httpx.AsyncClient) -> None:
            for state in waiting:  # shared: each state goes to one worker
                try:
                    answers.put(await self._ask(session, state))
                except TeacherError as error:
                    failures.append(error)
                if failures or stop.is_set():
                    return

        workers = min(self._config.max_in_flight, len(states))
        async with self._client.session(max(1, workers)) as session:
            await asyncio.gather(*(worker(session) for _ in range(workers)))
        if failures:
            raise failures[0]

    async def _ask(self, session: httpx.AsyncClient, state: State) -> Advice:
        begin = time.perf_counter()
        wanted = at_once = self._n_samples
        replies: list[str] = []
        tokens = {"prompt_tokens": 0, "completion_tokens": 0}
        while len(replies) < wanted:  # some servers ignore ``n``; each answer has one at least
            body = self._body(state, min(at_once, wanted - len(replies)), len(replies))
            try:
                content = await self._client.request(session, "chat/completions", body)
            except RefusedError:
                if at_once == 1:
                    raise
                at_once = 1  # some refuse n > 1
                continue
            replies += self._replies(content)
            usage = content.get("usage")
            for name in tokens:
                count = usage.get(name) if isinstance(usage, dict) else 0
                tokens[name] += count if isinstance(count, int) else 0
        votes: Counter[Plan] = Counter()
        for reply in replies[:wanted]:
            try:
                votes[parse_reply(reply)] += 1
            except PlanSyntaxError:
                continue
        dollars = (
            tokens["prompt_tokens"] * self._config.usd_per_million_prompt_tokens
            + tokens["completion_tokens"] * self._config.usd_per_million_completion_tokens
        ) / 1e6
        return advice_from_weights(
            state,
            {plan: count / wanted for plan, count in votes.items()},
            n_samples=wanted,
            replies=tuple(replies[:wanted]),
            latency_s=time.perf_counter() - begin,
            cost=dollars,
            **tokens,
        )

    def _body(self, state: State, n: int, have: int) -> dict[str, Any]:
        return {
            "model": self._model,
            "messages": self._template.messages(state.text),
            "n": n,
            "temperature": self._config.temperature,
            "max_tokens": self._config.max_tokens,
            "seed": self._seed(state, have),
        }

    def _seed(self, state: State, have: int) -> int:
        """Return a seed of the request's own, the same in every run.

        vLLM gives the n replies the seeds s, s+1, …: with ``seed`` itself, the replies of seeds 0
        and 1 would be the same but for one, and all states would share one run of luck.
        """
        text = f"{self._config.seed}/{state.key}/{have}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1  # 31 bits

    def _replies(self, content: dict[str, Any]) -> list[str]:
        try:
            texts = [choice["message"].get("content") or "" for choice in content["choices"]]
        except (KeyError, TypeError, AttributeError):
            texts = []
        if not texts or not all(isinstance(text, str) for text in texts):
            raise TeacherError(
                f"the server at {self._client.shown_url} answered without any choices; "
                "check that it is OpenAI-compatible and serves a chat model"
            )
        return texts

    async def _choose_model(self) -> str:
        async with self._client.session() as session:
            content = await self._client.request(session, "models", retries=START_RETRIES)
        try:
            names = [str(entry["id"]) for entry in content["data"]]
        except (KeyError, TypeError):
            raise TeacherError(
                f"the server at {self._client.shown_url} gives no list of models; "
                "check that base_url is an OpenAI-compatible server's"
            ) from None
        wanted = self._config.model or (names[0] if len(names) == 1 else "")
        if wanted not in names:
            asked = f"does not serve {wanted!r}" if wanted else "serves more or less than one model"
            raise TeacherError(
                f"the server at {self._client.shown_url} {asked}; set model to one of: "
                f"{', '.join(sorted(names)[:20]) or '(it serves none)'}"
            )
        return wanted


def _in_thread(question: Any) -> str:
    """Run a coroutine to its end, also where an event loop runs already."""
    outcome: list[str | BaseException] = []

    def work() -> None:
        try:
            outcome.append(asyncio.run(question))
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=work, name="openai-teacher-start", daemon=True)
    thread.start()
    thread.join()
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]
