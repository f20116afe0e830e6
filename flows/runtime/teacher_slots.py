"""One teacher endpoint for many flow runs: a global concurrency limit keeps them in line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from llm4teach.flows.runtime.prefect_env import has_own_server
from llm4teach.teacher_labeling.config import TeacherConfig


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
