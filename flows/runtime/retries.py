"""A stage as a Prefect task: retried while the teacher's server is gone, with a time limit."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from llm4teach.errors import DatasetError, TeacherError
from llm4teach.flows.runtime.progress import say
from llm4teach.flows.runtime.settings import PatienceConfig, Settings
from llm4teach.flows.runtime.teacher_access import limit_of, resolve_teacher

if TYPE_CHECKING:
    from prefect import Task
    from prefect.client.schemas.objects import State, TaskRun

T = TypeVar("T")


class StageTimeoutError(DatasetError):
    """A stage took longer than it was given; what it has stored is kept."""


def with_retries(config: PatienceConfig) -> Callable[[str, Callable[[], T]], T]:
    """Return what runs a stage's work as a Prefect task: `run_stage` with these settings."""
    return partial(run_stage, config)


def run_stage(config: PatienceConfig, stage: str, work: Callable[[], T]) -> T:
    """Do a stage's work as a Prefect task, and again after a pause if the teacher's server is gone.

    Outside a flow run, in a person's single command, it is done once and as long as it takes: the
    person repeats the command. ``work`` has to resume from what an earlier attempt has stored.

    Raises:
        StageTimeoutError: an attempt took longer than ``config`` allows.
        TeacherError: the server is still gone after the last attempt.
    """
    from prefect import task
    from prefect.cache_policies import NO_CACHE
    from prefect.context import FlowRunContext
    from prefect.task_engine import TaskRunTimeoutError

    if FlowRunContext.get() is None:
        return work()
    left = config.retries

    def attempt() -> T:
        nonlocal left
        try:
            return work()
        except TeacherError as error:
            if error.transient and left:
                say(f"{stage}: {error} It is retried in {config.pause_s:g} s.")
            left -= 1
            raise

    limit_s = config.limit_s(stage)
    run = task(
        name=stage,
        retries=config.retries,
        retry_delay_seconds=config.pause_s,
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


def with_resolved_teacher(settings: Settings) -> Settings:
    """Return the settings with the name of the server's model, once the server can tell it.

    Raises:
        TeacherError: the server is still gone after the last retry, or serves several models.
    """
    teacher = settings.teacher
    if teacher.model or limit_of(teacher) is None:
        return settings
    resolved = run_stage(settings.patience, "resolve-model", lambda: resolve_teacher(teacher))
    return settings.model_copy(update={"teacher": resolved})


def is_transient(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Whether a failed task is worth a retry: its teacher's server may come back."""
    error = state.data
    return isinstance(error, TeacherError) and error.transient


def is_worth_a_retry(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Whether a failed shard is worth a retry: its worker was lost, or the teacher's server.

    Errors whose message is ours need a person first.
    """
    error = state.data
    return is_transient(task, task_run, state) or not isinstance(error, (TeacherError, ValueError))
