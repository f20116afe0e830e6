"""Puts questions to an OpenAI-compatible server, by the best protocol that it turns out to have.

Servers answer 200 to fields that they do not know, and ignore them. So each reply is held against
what was asked, and when it does not fit, the next way of asking is taken:

- ``n`` replies at once, else one by one;
- labels scored by ``logprob_token_ids`` (vLLM), exactly; else looked for in ``top_logprobs``, and
  those that are not in that list by letting the model choose among the labels only
  (``structured_outputs``), set to the same scale.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from enum import Enum
from functools import partial
from typing import Any, TypeVar

from llm4teach.teacher_labeling.backends.openai.client import OpenAIClient, Session
from llm4teach.teacher_labeling.backends.openai.errors import CHECK_KIND, RefusedError, Trouble
from llm4teach.teacher_labeling.backends.openai.openai_replies import (
    first_token_scores,
    matching,
    texts_of,
)
from llm4teach.teacher_labeling.elicitation.base import Answer, ChatRequest
from llm4teach.teacher_labeling.teacher import Usage

_T = TypeVar("_T")
TOP_LOGPROBS, FEWER_LOGPROBS = 20, 5  # the most that the protocol allows; that any server does


class Scoring(Enum):
    """Ways to score labels, best first."""

    TOKEN_IDS = "logprob_token_ids"
    TOP = "top_logprobs"


class OpenAIEngine:
    """Knows a server's model and ways; safe to use for many questions at a time."""

    def __init__(self, client: OpenAIClient, model: str) -> None:
        self._client, self._model = client, model
        self._at_once = True  # several replies to a request
        self._scoring = Scoring.TOKEN_IDS
        self._scoring_proven = False  # has worked once
        self._top = TOP_LOGPROBS
        self._can_choose = True  # knows structured_outputs
        self._token_ids: dict[str, int] = {}

    async def ask(self, session: Session, question: ChatRequest, spent: Usage) -> Answer:
        """Put one question.

        Raises:
            UnansweredError: no usable reply, however often it was repeated.
            TeacherError: the server refuses, or will not do.
        """
        if question.labels:
            return await self._score(session, question, spent)
        return await self._reply(session, question, spent)

    async def _reply(self, session: Session, question: ChatRequest, spent: Usage) -> Answer:
        texts: list[str] = []
        at_once = self._at_once
        while len(texts) < question.n:  # some servers ignore ``n``; each answer has one at least
            n = question.n - len(texts) if at_once else 1
            body = self._body(question) | {
                "n": n,
                "temperature": question.temperature,
                "max_tokens": question.max_tokens,
                "seed": question.seed(len(texts)),
            }
            try:
                texts += await self._chat(session, body, spent, partial(texts_of, n=n))
            except RefusedError:
                if n == 1:
                    raise  # it is the state that is refused, and not how we ask
                at_once = False  # some refuse n > 1
            else:
                self._at_once = self._at_once and at_once
        return Answer(tuple(texts[: question.n]))

    async def _score(self, session: Session, question: ChatRequest, spent: Usage) -> Answer:
        by_ids = self._scoring is Scoring.TOKEN_IDS and self._token_ids.keys() >= {*question.labels}
        if by_ids:
            answer = await self._score_by_ids(session, question, spent)
            if answer is not None:
                return answer
        body = self._one_token(question)
        try:
            seen = await self._chat(session, body, spent, first_token_scores)
        except RefusedError:
            if body["top_logprobs"] == FEWER_LOGPROBS:
                raise
            body["top_logprobs"] = FEWER_LOGPROBS  # some allow no more
            seen = await self._chat(session, body, spent, first_token_scores)
            self._top = FEWER_LOGPROBS
        if by_ids and not self._scoring_proven:  # not so a state that is refused in every way
            self._scoring = Scoring.TOP
        scores = matching(seen, question.labels)
        if len(scores) < len(question.labels) <= self._top and self._can_choose:
            forced = await self._score_by_choice(session, question, spent)
            scores = rescaled(forced, scores, min(seen.values())) if forced else scores
        return Answer(scores=scores, protocol=Scoring.TOP.value)

    async def _score_by_ids(
        self, session: Session, question: ChatRequest, spent: Usage
    ) -> Answer | None:
        """Return the exact scores, or None if the server does not know how."""
        ids = {label: self._token_ids[label] for label in question.labels}
        body = self._one_token(question) | {
            "logprob_token_ids": list(ids.values()),
            "return_tokens_as_token_ids": True,
        }
        del body["top_logprobs"]

        def scores_of(content: dict[str, Any]) -> dict[str, float]:
            seen = first_token_scores(content)
            names = {label: (f"token_id:{number}", label) for label, number in ids.items()}
            found = {label: seen[n] for label, both in names.items() for n in both if n in seen}
            if len(found) < len(ids) and self._scoring_proven:
                raise Trouble("it left labels out that were to be scored", CHECK_KIND)
            return found

        try:
            scores = await self._chat(session, body, spent, scores_of)
        except RefusedError:
            if self._scoring_proven:  # this question is refused, not the way of asking
                raise
            return None
        if len(scores) < len(ids):
            return None
        self._scoring_proven |= len(ids) > 1  # the one label may just be what it has chosen
        return Answer(scores=scores, protocol=Scoring.TOKEN_IDS.value)

    async def _score_by_choice(
        self, session: Session, question: ChatRequest, spent: Usage
    ) -> dict[str, float]:
        """Return scores among the labels only; empty if the server does not know how."""
        body = self._one_token(question)
        body["structured_outputs"] = {"choice": list(question.labels)}
        try:
            seen = await self._chat(session, body, spent, first_token_scores)
        except RefusedError:
            self._can_choose = False
            return {}
        scores = matching(seen, question.labels)
        self._can_choose = len(scores) == len(question.labels)
        return scores if self._can_choose else {}

    def use_tokens(self, tokens: dict[str, int]) -> None:
        """Score labels by their token ids; without any, by the list of the likeliest tokens."""
        self._token_ids = tokens
        self._scoring = Scoring.TOKEN_IDS if tokens else Scoring.TOP

    def _body(self, question: ChatRequest) -> dict[str, Any]:
        return {"model": self._model, "messages": question.messages}

    def _one_token(self, question: ChatRequest) -> dict[str, Any]:
        return self._body(question) | {
            "max_tokens": 1,
            "temperature": 0.0,
            "logprobs": True,
            "top_logprobs": self._top,
        }

    async def _chat(
        self,
        session: Session,
        body: dict[str, Any],
        spent: Usage,
        read: Callable[[dict[str, Any]], _T],
    ) -> _T:
        return await self._client.request(session, "chat/completions", body, spent=spent, read=read)


def rescaled(
    forced: Mapping[str, float], free: Mapping[str, float], least: float
) -> dict[str, float]:
    """Set scores among labels only to the scale of the free ones, so that the mass stays true.

    Args:
        forced: log p of every label, given that the reply is one of them, nats.
        free: log p of some labels with nothing given, nats.
        least: the smallest log p that the server told: labels it did not name are below.
    """
    if free:
        given = math.log(math.fsum(math.exp(forced[label]) for label in free) or 1e-300)
        shift = math.log(math.fsum(map(math.exp, free.values())) or 1e-300) - given
    else:
        shift = least
    return {label: free.get(label, min(score + shift, least)) for label, score in forced.items()}
