"""Teachers as the flows open them, with the key of a secret block and a limit on concurrency."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.datasets.storage.paths import StoragePath
from llm4teach.datasets.workspace import Workspace
from llm4teach.flows.runtime.prefect_env import has_own_server, prepare_environment
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.factory import make_teacher, resolve_model
from llm4teach.teacher_labeling.teacher import Teacher, TeacherError, TeacherInfo


def open_teacher(config: TeacherConfig, family: str) -> Teacher:
    """Make a teacher; its key is read now, and kept in memory only.

    Raises:
        TeacherError: the teacher cannot be made, or there is no such block.
    """
    key = _key(config.api_key_block)
    return make_teacher(resolve_model(config, key), family, key)


def advice_of(
    info: TeacherInfo, workspace: Workspace, family: str, folder: StoragePath | None = None
) -> AdviceStore:
    """A teacher's advice on a family of tasks; ``folder`` is where it is not the workspace's."""
    place = folder or workspace.advice(family, info.slug)
    return AdviceStore(place, info.teacher_id, info.prompt_version)


def _key(block: str) -> str:
    if not block:
        return ""
    create = f"prefect block create secret, or Secret(value=…).save({block!r}) in Python"
    if not has_own_server():
        raise TeacherError(
            f"the secret block {block!r} stands on a Prefect server, and none is configured: set "
            "PREFECT_API_URL, or give the key as LLM4TEACH_API_KEY and leave api_key_block out"
        )
    prepare_environment(Path())  # before Prefect is imported; with a server it needs no folder

    from prefect.blocks.system import Secret
    from prefect.utilities.asyncutils import run_coro_as_sync

    try:
        found = run_coro_as_sync(Secret.aload(block))
    except ValueError:
        raise TeacherError(f"there is no secret block {block!r}; make one: {create}") from None
    value = found.get() if found is not None else ""
    if not isinstance(value, str) or not value.strip():
        raise TeacherError(f"the secret block {block!r} holds no text; set it again: {create}")
    return value


def limit_name(teacher: TeacherConfig) -> str | None:
    """Name of the endpoint's limit; None for a teacher that is no server."""
    if not teacher.teacher.startswith("openai"):
        return None
    place = urlsplit(teacher.base_url)
    return f"llm4teach.teacher.{place.hostname}-{place.port or place.scheme}"


@contextmanager
def teacher_slot(teacher: TeacherConfig) -> Iterator[None]:
    """Wait until the endpoint's limit has a slot, and hold it; nothing where there is no limit.

    `llm4teach up` and `serve` set the limit, as does
    ``prefect gcl create llm4teach.teacher.<host>-<port> --limit 1``.
    """
    name = limit_name(teacher)
    if name is None or not has_own_server():
        yield
        return
    from prefect.concurrency.sync import concurrency

    with concurrency(name, occupy=1):
        yield
