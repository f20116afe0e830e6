"""The ``openai`` teacher: any OpenAI-compatible server, vLLM first of all."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace

from llm4teach.envs.task import State
from llm4teach.errors import TeacherError
from llm4teach.teacher_labeling.backends.openai.client import OpenAIClient, Session
from llm4teach.teacher_labeling.backends.openai.event_loop import run_in_thread
from llm4teach.teacher_labeling.backends.openai.probe import (
    ServerFacts,
    label_tokens,
    look_at_server,
    prompt_tokens,
    with_version,
)
from llm4teach.teacher_labeling.backends.openai.protocol import OpenAIEngine
from llm4teach.teacher_labeling.backends.openai.scheduler import Scheduler
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.elicitation.base import Answer, ChatRequest
from llm4teach.teacher_labeling.elicitation.factory import make_elicitation
from llm4teach.teacher_labeling.elicitation.token_counts import (
    CHARACTERS_PER_TOKEN,
    TokenCounts,
    count_requests,
)
from llm4teach.teacher_labeling.teacher import Advice, States, TeacherInfo


class OpenAITeacher:
    """Asks a server over HTTP; without an ``api_key`` with the one in the environment, if any.

    Nothing is requested before the first question.

    Raises:
        TeacherError: no model is set, the address or the key cannot be one, or there is no prompt
            for the method.
    """

    def __init__(self, config: TeacherConfig, family: str, api_key: str = "") -> None:
        self._elicitation = make_elicitation(config, family)
        self._client = _client(config, api_key)
        if not config.model:
            raise TeacherError(
                "the teacher openai needs the name of the model: set --teacher.model to one of "
                f"those that {self._client.shown_url}/models lists"
            )
        self._config = config
        self._engine = OpenAIEngine(self._client, config.model, json.loads(config.extra_body))
        self._is_open = False
        self._shared: dict[str, Answer] = {}
        self.info = TeacherInfo(
            backend="openai",
            model=config.model,
            model_revision=config.model_revision,
            method=self._elicitation.method,
            settings=self._elicitation.settings + _extra_setting(config),
            prompt_version=self._elicitation.prompt_version,
            remote=True,
        )

    def advise(self, states: States) -> Iterable[Advice]:
        """Yield each state's advice as its replies come in.

        A state whose question fails is asked again after the others. When the server is gone, or
        on Ctrl-C, what is under way is finished and yielded, nothing new is asked, and then the
        failure or the interrupt is raised; a second Ctrl-C does not wait.

        Raises:
            TeacherError: also if the server cannot be reached, wants a key, does not serve the
                model, or its context is too short.
        """
        if not states:
            return
        scheduler = Scheduler(
            self._client,
            self._engine,
            self._elicitation,
            self._config.price,
            self._shared,
            self._open,
        )
        yield from scheduler.run(states, min(self._config.max_in_flight, len(states)))

    def count_tokens(self, states: Sequence[State]) -> TokenCounts:
        """Have the server count the prompts, or guess them from their characters.

        Questions that a server needs twice are not foreseen: scores where it has no
        ``logprob_token_ids``, n replies where it ignores ``n``.
        """
        all_counted = True

        async def count(questions: Sequence[ChatRequest]) -> tuple[list[int], bool]:
            async with self._client.session() as session:
                return await prompt_tokens(self._client, session, self.info.model, questions)

        def lengths(questions: Sequence[ChatRequest]) -> list[int]:
            nonlocal all_counted
            counts, all_counted = run_in_thread(count(questions))
            return counts

        counts = count_requests(self._elicitation, states, lengths)
        guessed = f"{CHARACTERS_PER_TOKEN} characters a token, as the server has no /tokenize"
        how = "the server's tokenizer" if all_counted else guessed
        return replace(counts, is_guess=not all_counted, how=how)

    def server_facts(self) -> ServerFacts:
        """Ask the server what it serves, and for its version.

        Raises:
            TeacherError: as `advise`.
        """

        async def look() -> ServerFacts:
            async with self._client.session() as session:
                facts = await look_at_server(self._client, session, self._config)
                return await with_version(self._client, session, facts)

        return run_in_thread(look())

    def close(self) -> None:
        """Nothing to free: connections live as long as a call of ``advise``."""

    async def _open(self, session: Session) -> None:
        """Check the server, and learn what the method needs; once."""
        if self._is_open:
            return
        facts = await look_at_server(self._client, session, self._config)
        self._engine.note = facts.note
        if labels := self._elicitation.labels:
            self._engine.use_tokens(await label_tokens(self._client, session, facts, labels))
        self._is_open = True


def only_model(config: TeacherConfig, api_key: str = "") -> str:
    """Return the name of the one model that a server has (one request).

    Raises:
        TeacherError: the server cannot be reached, or it has more or less than one.
    """
    client = _client(config, api_key)

    async def look() -> str:
        async with client.session() as session:
            return (await look_at_server(client, session, config)).model

    return run_in_thread(look())


def _extra_setting(config: TeacherConfig) -> str:
    """Return the extra fields among the teacher's settings: with others it is another teacher."""
    return "" if config.extra_body == "{}" else f",extra_body={config.extra_body}"


def _client(config: TeacherConfig, api_key: str) -> OpenAIClient:
    return OpenAIClient(config.base_url, config.timeout_s, config.max_retries, api_key)
