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
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from functools import partial
from typing import Any, TypeVar

from llm4teach.teacher_labeling.backends.openai.client import OpenAIClient, Session
from llm4teach.teacher_labeling.backends.openai.errors import CHECK_KIND, AttemptError, RefusedError
from llm4teach.teacher_labeling.elicitation.base import FORBIDDEN, Answer, ChatRequest, reply_text
from llm4teach.teacher_labeling.teacher import Usage

_T = TypeVar("_T")
ASK_OTHERWISE = "use --teacher.method sampling or verbalized with this server"
_ABOVE_ZERO = 1e-3  # rounding; a log probability is at most 0
TOP_LOGPROBS, FEWER_LOGPROBS = 20, 5  # the most that the protocol allows; that any server does


class Scoring(Enum):
    """Ways to score labels, best first."""

    TOKEN_IDS = "logprob_token_ids"
    TOP = "top_logprobs"


class OpenAIEngine:
    """Remembers what a server supports; safe to use for many requests at a time."""

    def __init__(self, client: OpenAIClient, model: str) -> None:
        self._client, self._model = client, model
        self._at_once = True  # several replies to a request
        self._scoring = Scoring.TOKEN_IDS
        self._scoring_proven = False  # has worked once
        self._top = TOP_LOGPROBS
        self._can_choose = True  # knows structured_outputs
        self._token_ids: dict[str, int] = {}

    async def ask(self, session: Session, request: ChatRequest, usage: Usage) -> Answer:
        """Put one request.

        Raises:
            UnansweredError: no usable reply, however often it was repeated.
            TeacherError: the server refuses, or will not do.
        """
        if request.labels:
            return await self._score(session, request, usage)
        return await self._reply(session, request, usage)

    async def _reply(self, session: Session, request: ChatRequest, usage: Usage) -> Answer:
        texts: list[str] = []
        at_once = self._at_once
        while len(texts) < request.n:  # some servers ignore ``n``; each answer has one at least
            n = request.n - len(texts) if at_once else 1
            body = self._body(request) | {
                "n": n,
                "temperature": request.temperature,
                "max_tokens": request.max_tokens,
                "seed": request.seed(len(texts)),
            }
            try:
                texts += await self._chat(session, body, usage, partial(texts_of, n=n))
            except RefusedError:
                if n == 1:
                    raise  # it is the state that is refused, and not how we ask
                at_once = False  # some refuse n > 1
            else:
                self._at_once = self._at_once and at_once
        return Answer(tuple(texts[: request.n]))

    async def _score(self, session: Session, request: ChatRequest, usage: Usage) -> Answer:
        by_ids = self._scoring is Scoring.TOKEN_IDS and self._token_ids.keys() >= {*request.labels}
        if by_ids:
            answer = await self._score_by_ids(session, request, usage)
            if answer is not None:
                return answer
        body = self._one_token(request)
        try:
            seen = await self._chat(session, body, usage, first_token_scores)
        except RefusedError:
            if body["top_logprobs"] == FEWER_LOGPROBS:
                raise
            body["top_logprobs"] = FEWER_LOGPROBS  # some allow no more
            seen = await self._chat(session, body, usage, first_token_scores)
            self._top = FEWER_LOGPROBS
        if by_ids and not self._scoring_proven:  # not so a state that is refused in every way
            self._scoring = Scoring.TOP
        scores = matching(seen, request.labels)
        if len(scores) < len(request.labels) <= self._top and self._can_choose:
            forced = await self._score_by_choice(session, request, usage)
            scores = rescaled(forced, scores, min(seen.values())) if forced else scores
        return Answer(scores=scores, protocol=Scoring.TOP.value)

    async def _score_by_ids(
        self, session: Session, request: ChatRequest, usage: Usage
    ) -> Answer | None:
        """Return the exact scores, or None if the server does not know how."""
        ids = {label: self._token_ids[label] for label in request.labels}
        body = self._one_token(request) | {
            "logprob_token_ids": list(ids.values()),
            "return_tokens_as_token_ids": True,
        }
        del body["top_logprobs"]

        def scores_of(content: dict[str, Any]) -> dict[str, float]:
            seen = first_token_scores(content)
            names = {label: (f"token_id:{number}", label) for label, number in ids.items()}
            scores = {label: seen[n] for label, both in names.items() for n in both if n in seen}
            if len(scores) < len(ids) and self._scoring_proven:
                raise AttemptError("it left labels out that were to be scored", CHECK_KIND)
            return scores

        try:
            scores = await self._chat(session, body, usage, scores_of)
        except RefusedError:
            if self._scoring_proven:  # this request is refused, not the way of asking
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
        body = self._one_token(request)
        body["structured_outputs"] = {"choice": list(request.labels)}
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

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        return {"model": self._model, "messages": request.messages}

    def _one_token(self, request: ChatRequest) -> dict[str, Any]:
        return self._body(request) | {
            "max_tokens": 1,
            "temperature": 0.0,
            "logprobs": True,
            "top_logprobs": self._top,
        }

    async def _chat(
        self,
        session: Session,
        body: dict[str, Any],
        usage: Usage,
        read: Callable[[dict[str, Any]], _T],
    ) -> _T:
        return await self._client.request(session, "chat/completions", body, usage=usage, read=read)


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


def texts_of(content: Mapping[str, Any], n: int) -> list[str]:
    """Return the text of each choice; of choices with one index, which are one, the first.

    Where there are ``n`` of them, as asked for, each is one: some servers give all the same index.

    Raises:
        AttemptError: there is none, or one is not text.
    """
    by_index: dict[int, str] = {}
    choices = _list(content.get("choices"))
    for place, choice in enumerate(choices):
        message = choice.get("message") if isinstance(choice, dict) else None
        text = message.get("content") if isinstance(message, dict) else 0
        if text is not None and not isinstance(text, str):
            raise AttemptError("it answered without any choices", CHECK_KIND)
        index = choice.get("index", place) if len(choices) != n else place
        reply = reply_text(text or "", choice.get("finish_reason"))
        by_index.setdefault(index if type(index) is int else place, reply)
    if not by_index:
        raise AttemptError("it answered without any choices", CHECK_KIND)
    return list(by_index.values())


def first_token_scores(content: Mapping[str, Any]) -> dict[str, float]:
    """Return log p of each token that the reply lists for its first place, in nats.

    Raises:
        AttemptError: it lists none, or a value is not a log probability.
    """
    choices = _list(content.get("choices"))
    first = choices[0] if choices and isinstance(choices[0], dict) else {}
    logprobs = first.get("logprobs")
    places = _list(logprobs.get("content")) if isinstance(logprobs, dict) else []
    place = places[0] if places and isinstance(places[0], dict) else {}
    scores: dict[str, float] = {}
    for entry in (*_list(place.get("top_logprobs")), place):
        token = entry.get("token") if isinstance(entry, dict) else None
        score = entry.get("logprob") if isinstance(entry, dict) else None
        if not isinstance(token, str):
            continue
        scores.setdefault(token, _log_probability(score))
    if not scores:
        raise AttemptError("it answered without logprobs", ASK_OTHERWISE)
    return scores


def _log_probability(value: Any) -> float:
    try:
        score = float(value) if type(value) in (int, float) else math.nan
    except OverflowError:  # JSON has integers of any length
        score = math.nan
    if math.isnan(score) or score > _ABOVE_ZERO:
        raise AttemptError(f"it gave {str(value)[:20]!r} for a log probability", ASK_OTHERWISE)
    return min(max(score, FORBIDDEN), 0.0)


def matching(scores: Mapping[str, float], labels: Sequence[str]) -> dict[str, float]:
    """Return log p of those labels that some token spells, white space aside, in nats."""
    mass: dict[str, float] = {}
    for token, score in scores.items():
        if (label := token.strip()) in labels:
            mass[label] = mass.get(label, 0.0) + math.exp(score)
    return {label: math.log(m) for label, m in mass.items() if m > 0}


def models_of(content: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each served model's name and what else the server reports about it."""
    for entry in _list(content.get("data")):
        if isinstance(entry, dict) and isinstance(entry.get("id"), str):
            yield entry["id"], entry


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
