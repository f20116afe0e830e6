"""What a server is asked before, or beside, questions: its models, its tokens, prompt lengths.

Requests here are set-up: one list of models when the first question is asked, and the tokens of the
option letters, which are learned once per server and model.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llm4teach.errors import TeacherError
from llm4teach.teacher_labeling.backends.openai.client import JSON, OpenAIClient, Session
from llm4teach.teacher_labeling.backends.openai.errors import ReplyError, UnansweredError
from llm4teach.teacher_labeling.backends.openai.replies import models_of
from llm4teach.teacher_labeling.config import TeacherConfig, cache_folder
from llm4teach.teacher_labeling.elicitation.base import ChatRequest
from llm4teach.teacher_labeling.elicitation.token_counts import CHARACTERS_PER_TOKEN

START_RETRIES = 1  # a wrong address should show at once
_COUNTS_IN_FLIGHT = 8  # requests for prompt lengths


@dataclass(frozen=True)
class ServerFacts:
    """What a server reports about itself."""

    model: str  # the one that is asked
    served: tuple[str, ...]
    version: str = ""  # of the server's software, where it reports one
    context_tokens: int = 0  # prompt and reply together; 0 if it does not report it
    root: str = ""  # the weights behind the served name, where it reports them (vLLM)

    @property
    def note(self) -> str:
        """What to add to a refusal: the list of models, where it lacks the one that is asked."""
        if not self.served or self.model in self.served:
            return ""
        return f"; its list of models does not name {self.model!r}: {', '.join(self.served[:20])}"


async def look_at_server(
    client: OpenAIClient, session: Session, config: TeacherConfig
) -> ServerFacts:
    """Read the list of models (one request), and choose the model.

    Where the settings name the model, the list is only a hint: there are servers without one, or
    whose list has other names than they answer to.

    Raises:
        TeacherError: the server is not reachable, or the model's context is shorter than the
            replies that are asked for; without a model's name also if it is no such server, wants
            a key, or has more or less than one model.
    """
    models: dict[str, dict[str, Any]] = {}
    try:
        content = await client.request(session, "models", read=JSON, retries=START_RETRIES)
        models = dict(models_of(content))
        if not config.model and not isinstance(content.get("data", content.get("models")), list):
            raise TeacherError(
                f"the server at {client.shown_url} gives no list of models; set --teacher.model to "
                "the model's name, or check that base_url is an OpenAI-compatible server's"
            )
    except UnansweredError as error:
        if not (config.model and error.had_reply):
            raise
    except ReplyError:
        if not config.model:
            raise
    served = tuple(sorted(models))
    if not config.model and (len(models) != 1 or "*" in served[0]):
        raise TeacherError(
            f"the server at {client.shown_url} serves {len(models)} models; set --teacher.model to "
            f"one of: {', '.join(served[:20]) or '(it serves none)'}"
        )
    model = config.model or served[0]
    facts = models.get(model, {})
    length, root = facts.get("max_model_len"), facts.get("root")  # vLLM
    context = length if type(length) is int and length > 0 else 0
    if context and config.method != "logprobs" and config.max_tokens >= context:
        raise TeacherError(
            f"the server at {client.shown_url} serves {model} with a context of {context} tokens, "
            f"which max_tokens ({config.max_tokens}) fills alone; lower max_tokens, or serve the "
            "model with a longer context"
        )
    return ServerFacts(model, served, "", context, root if isinstance(root, str) else "")


async def with_version(client: OpenAIClient, session: Session, facts: ServerFacts) -> ServerFacts:
    """Return the facts with the version of the server's software, if it reports one (vLLM)."""
    try:
        content = await client.request(session, "/version", read=JSON, retries=0)
    except TeacherError:
        return facts
    version = content.get("version")
    return replace(facts, version=version[:40]) if isinstance(version, str) else facts


async def label_tokens(
    client: OpenAIClient, session: Session, facts: ServerFacts, labels: Sequence[str]
) -> dict[str, int]:
    """Return each label's token id, or {} if the server cannot report them.

    The server is asked about every label once; the answers are stored in the user's cache folder
    by base URL and model. A stored table is checked with one request, about one label.

    Raises:
        TeacherError: the server is busy or gone, and so did not say whether it can. Going on would
            let a moment's load decide the protocol, and with it the scores, of a whole run.
    """
    file = _token_file(client.shown_url, facts.model, labels)
    tokens = _read_tokens(file, facts, labels)
    if tokens and await _token_of(client, session, facts.model, labels[-1]) == tokens[labels[-1]]:
        return tokens
    tokens = {}
    for label in labels:
        token = await _token_of(client, session, facts.model, label)
        if token is None:
            return {}
        tokens[label] = token
    content = {"base_url": client.shown_url, "model": facts.model, "root": facts.root}
    _write_json(file, content | {"tokens": tokens})
    return tokens


async def _token_of(client: OpenAIClient, session: Session, model: str, label: str) -> int | None:
    body = {"model": model, "prompt": label, "add_special_tokens": False}
    try:
        content = await client.request(session, "/tokenize", body, is_proven=False, read=JSON)
    except TeacherError as error:
        if error.transient:
            raise
        return None  # it has no such page, or not for us, or not in this form
    tokens = content.get("tokens")
    is_one = isinstance(tokens, list) and len(tokens) == 1 and type(tokens[0]) is int
    return tokens[0] if is_one and tokens else None


def _token_file(base_url: str, model: str, labels: Sequence[str]) -> Path:
    what = f"{base_url}\n{model}\n{' '.join(labels)}"
    name = hashlib.sha256(what.encode()).hexdigest()[:16]
    return cache_folder() / "label_tokens" / f"{name}.json"


def _read_tokens(file: Path, facts: ServerFacts, labels: Sequence[str]) -> dict[str, int]:
    """Return the stored table; {} where there is none for these weights, or it is not valid."""
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    tokens = content.get("tokens") if isinstance(content, dict) else None
    if not isinstance(tokens, dict) or content.get("root") != facts.root:
        return {}
    is_valid = tokens.keys() == {*labels} and all(
        type(token) is int and token >= 0 for token in tokens.values()
    )
    return tokens if is_valid else {}


def _write_json(file: Path, content: dict[str, Any]) -> None:
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    with suppress(OSError):  # a cache that cannot be written costs requests, and nothing else
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(content), "utf-8")
        temporary.replace(file)


async def prompt_tokens(
    client: OpenAIClient, session: Session, model: str, questions: Sequence[ChatRequest]
) -> tuple[list[int], bool]:
    """Return the prompt tokens of each question, and whether the server has counted them all.

    vLLM counts a chat at ``/tokenize``, beside its ``/v1``. For a server that does not, four
    characters count as a token.
    """
    turns = asyncio.Semaphore(_COUNTS_IN_FLIGHT)

    async def count(question: ChatRequest) -> int | None:
        async with turns:
            return await _count_prompt(client, session, model, question)

    counts: list[int | None] = []
    if questions:  # one alone shows whether there is any use in asking
        counts.append(await count(questions[0]))
    if counts and counts[0] is not None:
        counts += await asyncio.gather(*(count(question) for question in questions[1:]))
    counted = [number for number in counts if number is not None]
    if len(counted) == len(questions):
        return counted, True
    return [_characters(question) // CHARACTERS_PER_TOKEN for question in questions], False


async def _count_prompt(
    client: OpenAIClient, session: Session, model: str, question: ChatRequest
) -> int | None:
    body = {"model": model, "messages": question.messages, "add_generation_prompt": True}
    try:
        content = await client.request(
            session, "/tokenize", body, read=JSON, retries=START_RETRIES, is_proven=False
        )
    except TeacherError:
        return None
    count = content.get("count")
    return count if type(count) is int and count > 0 else None


def _characters(question: ChatRequest) -> int:
    return sum(len(message["content"]) for message in question.messages)
