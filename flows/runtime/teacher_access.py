"""Teachers as the flows open them: with a secret block's key, and no more askers than allowed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.datasets.storage.paths import StoragePath
from llm4teach.datasets.workspace import Workspace
from llm4teach.envs.task import State
from llm4teach.errors import TeacherError
from llm4teach.flows.runtime.prefect_env import has_own_server, prepare_environment
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.elicitation.token_counts import TokenCounts, tokens_of
from llm4teach.teacher_labeling.factory import BACKENDS, make_teacher, resolve_model
from llm4teach.teacher_labeling.teacher import Advice, States, Teacher, TeacherInfo


def resolve_teacher(config: TeacherConfig) -> TeacherConfig:
    """Return the settings with the model's name; asks a server for it only if they lack it.

    Raises:
        TeacherError: the server cannot be reached, or serves more or less than one model.
    """
    if config.model or limit_of(config) is None:
        return config
    return resolve_model(config, _key(config.api_key_block))


def open_teacher(config: TeacherConfig, family: str) -> Teacher:
    """Make a teacher; its key is read now, and kept in memory only.

    It makes no request before the first question, unless the model's name is missing. Where runs
    report to a Prefect server, no more of them than the teacher's limit ask it at a time.

    Raises:
        TeacherError: the teacher cannot be made, or there is no such block.
    """
    key = _key(config.api_key_block)
    teacher = make_teacher(resolve_model(config, key), family, key)
    limit = limit_of(config)
    return teacher if limit is None else LimitedTeacher(teacher, limit)


def advice_of(
    info: TeacherInfo, workspace: Workspace, family: str, folder: StoragePath | None = None
) -> AdviceStore:
    """A teacher's advice on a family of tasks; ``folder`` is where it is not the workspace's."""
    place = folder or workspace.advice(family, info.slug)
    return AdviceStore(place, info.teacher_id, info.prompt_version)


def limit_of(teacher: TeacherConfig) -> str | None:
    """Name of the server's concurrency limit; None for a teacher that is no server."""
    backend = BACKENDS.get(teacher.teacher)
    if backend is None or not backend.served:
        return None
    place = urlsplit(teacher.base_url)
    return f"llm4teach.teacher.{place.hostname}-{place.port or place.scheme}"


class LimitedTeacher:
    """Asks only while it holds a slot of a global concurrency limit, wherever questions come from.

    `llm4teach up` and `serve` set the limit, as does
    ``prefect gcl create llm4teach.teacher.<host>-<port> --limit 1``. Without a limit, and without a
    Prefect server, it asks at once.

    Args:
        teacher: the one that is asked.
        limit: name of the limit.
    """

    def __init__(self, teacher: Teacher, limit: str) -> None:
        self.info, self._teacher, self._limit = teacher.info, teacher, limit
        self._is_limited: bool | None = None  # not known before the first question

    def advise(self, states: States) -> Iterator[Advice]:
        if not states:
            return
        with self._slot():
            yield from self._teacher.advise(states)

    def count_tokens(self, states: Sequence[State]) -> TokenCounts | None:
        return tokens_of(self._teacher, states)

    def close(self) -> None:
        self._teacher.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._teacher, name)  # such as what a server says of itself

    @contextmanager
    def _slot(self) -> Iterator[None]:
        if self._is_limited is None:
            self._is_limited = has_own_server() and _limit_exists(self._limit)
        if not self._is_limited:
            yield
            return
        from prefect.concurrency.sync import concurrency

        with concurrency(self._limit, occupy=1):
            yield


def _limit_exists(name: str) -> bool:
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    try:
        with get_client(sync_client=True) as client:
            client.read_global_concurrency_limit_by_name(name)
    except ObjectNotFound:  # Prefect would warn of it at every question
        return False
    return True


def _key(block: str) -> str:
    if not block:
        return ""
    create = f"prefect block create secret, or Secret(value=…).save({block!r}) in Python"
    if not has_own_server():
        raise TeacherError(
            f"the secret block {block!r} is on a Prefect server, and none is configured: set "
            "PREFECT_API_URL, or give the key as LLM4TEACH_API_KEY and leave api_key_block out"
        )
    prepare_environment(Path())  # before Prefect is imported; with a server it needs no folder

    from prefect.blocks.system import Secret
    from prefect.utilities.asyncutils import run_coro_as_sync

    try:
        secret = run_coro_as_sync(Secret.aload(block))
    except ValueError:
        raise TeacherError(f"there is no secret block {block!r}; make one: {create}") from None
    value = secret.get() if secret is not None else ""
    if not isinstance(value, str) or not value.strip():
        raise TeacherError(f"the secret block {block!r} holds no text; set it again: {create}")
    return value
