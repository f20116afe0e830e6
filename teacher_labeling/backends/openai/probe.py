"""A look at a server before anything is asked: what it serves, its version, whether it fits."""

from __future__ import annotations

from dataclasses import dataclass

from llm4teach.teacher_labeling.backends.openai.client import JSON, OpenAIClient, Session
from llm4teach.teacher_labeling.backends.openai.openai_replies import models_of
from llm4teach.teacher_labeling.backends.openai.protocol import START_RETRIES
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.teacher import TeacherError


@dataclass(frozen=True)
class ServerFacts:
    """What a server says of itself."""

    model: str  # the one that is asked
    served: tuple[str, ...]
    version: str = ""  # of the server's software, where it tells
    context_tokens: int = 0  # prompt and reply together; 0 if it does not tell


async def look_at_server(
    client: OpenAIClient, session: Session, config: TeacherConfig
) -> ServerFacts:
    """Read the list of models and the version, and choose the model.

    Raises:
        TeacherError: the server is not there, is none, wants a key, does not serve the model, or
            the model's context is shorter than the replies that are asked for.
    """
    content = await client.request(session, "models", read=JSON, retries=START_RETRIES)
    models = dict(models_of(content))
    if not isinstance(content.get("data"), list):
        raise TeacherError(
            f"the server at {client.shown_url} gives no list of models; "
            "check that base_url is an OpenAI-compatible server's"
        )
    model = config.model or (next(iter(models)) if len(models) == 1 else "")
    if model not in models:
        asked = f"does not serve {model!r}" if model else "serves more or less than one model"
        raise TeacherError(
            f"the server at {client.shown_url} {asked}; set model to one of: "
            f"{', '.join(sorted(models)[:20]) or '(it serves none)'}"
        )
    length = models[model].get("max_model_len")  # vLLM
    context = length if type(length) is int and length > 0 else 0
    if context and config.method != "logprobs" and config.max_tokens >= context:
        raise TeacherError(
            f"the server at {client.shown_url} serves {model} with a context of {context} tokens, "
            f"which max_tokens ({config.max_tokens}) fills alone; lower max_tokens, or serve the "
            "model with a longer context"
        )
    return ServerFacts(model, tuple(sorted(models)), await _version(client, session), context)


async def _version(client: OpenAIClient, session: Session) -> str:
    try:  # vLLM's; others have none
        told = await client.request(session, "/version", read=JSON, retries=0)
    except TeacherError:
        return ""
    version = told.get("version")
    return str(version)[:40] if isinstance(version, str) else ""
