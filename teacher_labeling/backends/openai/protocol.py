"""Sends chat requests to an OpenAI-compatible server, by the best protocol that it supports.

Servers answer 200 to fields that they do not know, and ignore them. So each reply is checked
against the request, and when it does not fit, the next way of asking is tried:

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
from llm4teach.teacher_labeling.backends.openai.errors import (
    CHECK_KIND,
    AttemptError,
    RefusedError,
    ReplyError,
)
from llm4teach.teacher_labeling.backends.openai.fields import RequestFields
from llm4teach.teacher_labeling.backends.openai.replies import (
    REFUSED_REPLY,
    ChatReply,
    first_token_scores,
    matching,
    replies_of,
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
    """Remembers what a server supports; safe to use for many requests at a time.

    Args:
        client: for its address.
        model: the served name.
        extra_body: further fields of every chat request.
    """

    def __init__(self, client: OpenAIClient, model: str, extra_body: Mapping[str, Any]) -> None:
        self._client, self._model = client, model
        self._fields = RequestFields(extra_body)
        self.is_proven = False  # it has answered a question
        self.note = ""  # after the server's refusals: what may be their cause
        self._at_once = True  # several replies to a request
        self._scoring = Scoring.TOKEN_IDS
        self._scoring_proven = False  # has worked once
        self._top = TOP_LOGPROBS
        self._can_choose = True  # knows structured_outputs
        self._token_ids: dict[str, int] = {}

    @property
    def dropped(self) -> tuple[str, ...]:
        """The request fields that the server made us leave out or rename."""
        return self._fields.dropped

    async def ask(self, session: Session, request: ChatRequest, usage: Usage) -> Answer:
        """Put one request.

        Raises:
            UnansweredError: no usable reply, however often it was repeated.
            TeacherError: the server refuses, or will not do.
        """
        if not request.labels:
            return await self._reply(session, request, usage)
        try:
            return await self._score(session, request, usage)
        except RefusedError as error:
            if not error.is_filtered:
                raise
            return Answer(refused=1, protocol="refused by a content filter")

    async def _reply(self, session: Session, request: ChatRequest, usage: Usage) -> Answer:
        replies: list[ChatReply] = []
        at_once = self._at_once
        while len(replies) < request.n:  # some servers ignore ``n``; each answer has one at least
            at_once = at_once and self._fields.takes("n")
            n = request.n - len(replies) if at_once else 1
            body = self._body(
                request,
                n=n,
                temperature=request.temperature,
                max_tokens=request.max_tokens,
                seed=request.seed(len(replies)),
            )
            try:
                replies += await self._chat(session, body, usage, partial(replies_of, n=n))
            except RefusedError as error:
                if error.is_filtered:  # the prompt: it would be refused each time
                    replies += [REFUSED_REPLY] * (request.n - len(replies))
                elif self._fields.learn(error, body):
                    continue
                elif n == 1:
                    raise  # it is the state that is refused, and not how we ask
                else:
                    at_once = False  # some refuse n > 1
            else:
                self._at_once = self._at_once and at_once
        replies = replies[: request.n]
        return Answer(
            tuple(reply.text for reply in replies),
            truncated=sum(reply.is_truncated for reply in replies),
            refused=sum(reply.is_refused for reply in replies),
        )

    async def _score(self, session: Session, request: ChatRequest, usage: Usage) -> Answer:
        by_ids = self._scoring is Scoring.TOKEN_IDS and self._token_ids.keys() >= {*request.labels}
        if by_ids:
            answer = await self._score_by_ids(session, request, usage)
            if answer is not None:
                return answer
        seen = await self._first_token(session, request, usage)
        if by_ids and not self._scoring_proven:  # not so a state that is refused in every way
            self._scoring = Scoring.TOP
        scores = matching(seen, request.labels)
        if len(scores) < len(request.labels) <= self._top and self._can_choose:
            forced = await self._score_by_choice(session, request, usage)
            scores = rescaled(forced, scores, min(seen.values())) if forced else scores
        return Answer(scores=scores, protocol=Scoring.TOP.value)

    async def _first_token(
        self, session: Session, request: ChatRequest, usage: Usage
    ) -> dict[str, float]:
        """Return the scores of the likeliest first tokens, as many as the server lists."""
        top = self._top
        while True:
            body = self._one_token(request, top_logprobs=top)
            try:
                seen = await self._chat(session, body, usage, first_token_scores)
            except RefusedError as error:
                if not error.is_filtered and self._fields.learn(error, body):
                    continue
                if error.is_filtered or top == FEWER_LOGPROBS:
                    raise
                top = FEWER_LOGPROBS  # some allow no more
            else:
                self._top = top
                return seen

    async def _score_by_ids(
        self, session: Session, request: ChatRequest, usage: Usage
    ) -> Answer | None:
        """Return the exact scores, or None if the server does not know how."""
        ids = {label: self._token_ids[label] for label in request.labels}
        body = self._one_token(
            request, logprob_token_ids=list(ids.values()), return_tokens_as_token_ids=True
        )

        def scores_of(content: dict[str, Any]) -> dict[str, float]:
            seen = first_token_scores(content)
            names = {label: (f"token_id:{number}", label) for label, number in ids.items()}
            scores = {label: seen[n] for label, both in names.items() for n in both if n in seen}
            if len(scores) < len(ids) and self._scoring_proven:
                raise AttemptError("it left labels out that were to be scored", CHECK_KIND)
            return scores

        try:
            scores = await self._chat(session, body, usage, scores_of)
        except RefusedError as error:
            if not error.is_filtered and self._fields.learn(error, body):
                return await self._score_by_ids(session, request, usage)
            if self._scoring_proven or error.is_filtered:  # not the way of asking is refused
                raise
            return None
        if len(scores) < len(ids):
            return None
        self._scoring_proven |= len(ids) > 1  # the one label may just be what it has chosen
        return Answer(scores=scores, protocol=Scoring.TOKEN_IDS.value)

    async def _score_by_choice(
        self, session: Session, request: ChatRequest, usage: Usage
    ) -> dict[str, float]:
        """Return scores among the labels only; empty if the server does not know how."""
        body = self._one_token(
            request,
            top_logprobs=self._top,
            structured_outputs={"choice": list(request.labels)},
        )
        try:
            seen = await self._chat(session, body, usage, first_token_scores)
        except RefusedError:
            self._can_choose = False
            return {}
        scores = matching(seen, request.labels)
        self._can_choose = len(scores) == len(request.labels)
        return scores if self._can_choose else {}

    def use_tokens(self, tokens: dict[str, int]) -> None:
        """Score labels by their token ids; without any, by the list of the likeliest tokens."""
        self._token_ids = tokens
        self._scoring = Scoring.TOKEN_IDS if tokens else Scoring.TOP

    def _body(self, request: ChatRequest, **fields: Any) -> dict[str, Any]:
        return self._fields.body(self._model, request.messages, fields)

    def _one_token(self, request: ChatRequest, **fields: Any) -> dict[str, Any]:
        return self._body(request, max_tokens=1, temperature=0.0, logprobs=True, **fields)

    async def _chat(
        self,
        session: Session,
        body: dict[str, Any],
        usage: Usage,
        read: Callable[[dict[str, Any]], _T],
    ) -> _T:
        try:
            value = await self._client.request(
                session,
                "chat/completions",
                body,
                usage=usage,
                is_proven=self.is_proven,
                read=read,
            )
        except ReplyError as error:
            error.args = (f"{error}{self.note}",)
            raise
        self.is_proven = True
        return value


def rescaled(
    forced: Mapping[str, float], free: Mapping[str, float], least: float
) -> dict[str, float]:
    """Set scores among labels only to the scale of the free ones, so that the mass stays true.

    Args:
        forced: log p of every label, given that the reply is one of them, nats.
        free: log p of some labels with nothing given, nats.
        least: the smallest log p in the server's list: labels that it does not name are below.
    """
    if free:
        forced_mass = math.log(math.fsum(math.exp(forced[label]) for label in free) or 1e-300)
        shift = math.log(math.fsum(map(math.exp, free.values())) or 1e-300) - forced_mass
    else:
        shift = least
    return {label: free.get(label, min(score + shift, least)) for label, score in forced.items()}
