"""Teachers as the flows make them: with the API key of a Prefect secret block, if one is named."""

from __future__ import annotations

from llm4teach.flows.quiet import has_own_server
from llm4teach.teacher_labeling.backends import make_teacher
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.teacher import Teacher, TeacherError


def open_teacher(config: TeacherConfig, family: str) -> Teacher:
    """Make a teacher; its key is read now, and kept in memory only.

    Raises:
        TeacherError: the teacher cannot be made, or there is no such block.
    """
    return make_teacher(config, family, _key(config.api_key_block))


def _key(block: str) -> str:
    if not block:
        return ""
    create = f"prefect block create secret, or Secret(value=…).save({block!r}) in Python"
    if not has_own_server():
        raise TeacherError(
            f"the secret block {block!r} stands on a Prefect server, and none is configured: set "
            "PREFECT_API_URL, or give the key as LLM4TEACH_API_KEY and leave api_key_block out"
        )
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
