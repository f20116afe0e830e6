"""The length of prompts in a server's own tokens, or nearly so where it does not tell."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from llm4teach.teacher_labeling.backends.openai.client import JSON, OpenAIClient, Session
from llm4teach.teacher_labeling.backends.openai.protocol import START_RETRIES
from llm4teach.teacher_labeling.elicitation.base import Question
from llm4teach.teacher_labeling.elicitation.token_counts import CHARACTERS_PER_TOKEN
from llm4teach.teacher_labeling.teacher import TeacherError

_AT_A_TIME = 8  # requests


async def prompt_tokens(
    client: OpenAIClient, model: str, questions: Sequence[Question]
) -> tuple[list[int], bool]:
    """Return the prompt tokens of each question, and whether the server has counted them all.

    vLLM counts a chat at ``/tokenize``, beside its ``/v1``. Of a server that does not, four
    characters are a token.
    """
    counted: list[int | None] = []
    turns = asyncio.Semaphore(_AT_A_TIME)

    async def count(session: Session, question: Question) -> int | None:
        async with turns:
            return await _counted(client, session, model, question)

    async with client.session() as session:
        if questions:  # one alone shows whether there is any use in asking
            counted.append(await count(session, questions[0]))
        if counted and counted[0] is not None:
            counted += await asyncio.gather(*(count(session, q) for q in questions[1:]))
    known = [number for number in counted if number is not None]
    if len(known) == len(questions):
        return known, True
    return [_characters(question) // CHARACTERS_PER_TOKEN for question in questions], False


async def _counted(
    client: OpenAIClient, session: Session, model: str, question: Question
) -> int | None:
    body = {"model": model, "messages": question.messages, "add_generation_prompt": True}
    try:
        told = await client.request(session, "/tokenize", body, read=JSON, retries=START_RETRIES)
    except TeacherError:
        return None
    count = told.get("count")
    return count if type(count) is int and count > 0 else None


def _characters(question: Question) -> int:
    return sum(len(message["content"]) for message in question.messages)
