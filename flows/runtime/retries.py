"""A stage as a Prefect task: begun again when the teacher's server is gone, ended when too long."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from llm4teach.datasets.workspace import DatasetError
from llm4teach.envs.registry import get_training_task
from llm4teach.flows.runtime.progress import say
from llm4teach.flows.runtime.settings import PatienceConfig
from llm4teach.flows.runtime.teacher_access import limit_name, open_teacher
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.teacher import TeacherError

if TYPE_CHECKING:
    from prefect import Task
    from prefect.client.schemas.objects import State, TaskRun

T = TypeVar("T")


class StageTimeoutError(DatasetError):
    """A stage took longer than it was given; what it has stored is kept."""


def patiently(stage: str, work: Callable[[], T], patience: PatienceConfig) -> T:
    """Do a stage's work, again after a pause where the teacher's server is gone.

    Outside a flow run, a person's single command, it is done once and as long as it takes: the
    person repeats the command. ``work`` has to go on from what an earlier attempt has stored.

    Raises:
        StageTimeoutError: an attempt took longer than ``patience`` allows.
        TeacherError: the server is still gone after the last attempt.
    """
    from prefect import task
    from prefect.cache_policies import NO_CACHE
    from prefect.context import FlowRunContext
    from prefect.task_engine import TaskRunTimeoutError

    if FlowRunContext.get() is None:
        return work()
    left = patience.retries

    def attempt() -> T:
        nonlocal left
        try:
            return work()
        except TeacherError as error:
            if error.transient and left:
                say(f"{stage}: {error} It is begun again in {patience.pause_s:g} s.")
            left -= 1
            raise

    limit_s = patience.limit_s(stage)
    run = task(
        name=stage,
        retries=patience.retries,
        retry_delay_seconds=patience.pause_s,
        retry_condition_fn=is_transient,
        timeout_seconds=limit_s,
        cache_policy=NO_CACHE,
        persist_result=False,
    )(attempt)
    try:
        return run()
    except TaskRunTimeoutError:
        raise StageTimeoutError(
            f"the stage {stage} took longer than patience.{stage}_s ({limit_s:g} s) allows; what "
            "it has stored is kept: raise it, and repeat the command or resume the run"
        ) from None


def reach_teacher(teacher: TeacherConfig, task: str, patience: PatienceConfig) -> None:
    """Wait, if need be, until the teacher's server answers; nothing for one that is no server."""
    if limit_name(teacher) is not None:
        family = get_training_task(task).family
        patiently("reach-teacher", lambda: open_teacher(teacher, family).close(), patience)


def is_transient(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Whether a failed task is worth repeating: its teacher's server may come back."""
    error = state.data
    return isinstance(error, TeacherError) and error.transient


def is_nobodys_fault(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Whether a failed shard is worth repeating: its worker was lost, or the teacher's server.

    Everything that a message of ours explains has to be mended by a person first.
    """
    error = state.data
    return is_transient(task, task_run, state) or not isinstance(error, (TeacherError, ValueError))
