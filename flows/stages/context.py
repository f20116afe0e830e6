"""The pipeline's stages as plain functions; the Prefect flows only wrap them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.datasets.runs import Run, read_config
from llm4teach.datasets.storage.paths import StoragePath
from llm4teach.datasets.workspace import Workspace, new_run_id
from llm4teach.envs.registry import get_task, get_training_task
from llm4teach.envs.task import Task
from llm4teach.flows.runtime.flow_runs import begun_by, own_flow_run, runs_again
from llm4teach.flows.runtime.progress import say
from llm4teach.flows.runtime.teacher_access import advice_of, open_teacher
from llm4teach.flows.stages.warm_up import warm_up
from llm4teach.student.collection.reweighting import read_reweighted
from llm4teach.teacher_labeling.ask_policy import AskPolicy
from llm4teach.teacher_labeling.config import LabelConfig, LiveConfig, TeacherConfig
from llm4teach.teacher_labeling.labeling.budget import Budget, priced
from llm4teach.teacher_labeling.live import BackgroundLabeler, LiveLabeler, LiveTeacher
from llm4teach.teacher_labeling.teacher import Teacher


@dataclass(frozen=True)
class Context:
    """What every stage works with."""

    workspace: Workspace
    task: Task
    teacher: Teacher
    run: Run
    seed: int
    advice_folder: StoragePath | None = None  # where it is not the workspace's
    limits: LabelConfig = field(default_factory=LabelConfig)
    budget: Budget = field(default_factory=lambda: Budget(LabelConfig()))
    live: LiveConfig = field(default_factory=LiveConfig)

    @property
    def store(self) -> AdviceStore:
        """This teacher's advice on this task."""
        info = self.teacher.info
        return advice_of(info, self.workspace, self.task.family, self.advice_folder)

    def live_teacher(
        self,
        ask: bool,
        weighed_by: str | None = None,
        policy: AskPolicy | None = None,
        in_background: bool = False,
    ) -> LiveTeacher:
        """Stored advice; with ``ask``, states that have none are asked about.

        ``weighed_by`` is a run whose outcomes, if it has any, weigh the advice; ``policy`` says
        which states to ask about, by default all.
        """
        weighed = read_reweighted(self.workspace.run(weighed_by)) if weighed_by else {}
        store = self.store
        asked = (self.teacher, store, self.limits, self.budget)
        asking: LiveLabeler | None = None
        if ask:
            asking = BackgroundLabeler(*asked, _warn) if in_background else LiveLabeler(*asked)
        return LiveTeacher(self.task, store, asking, weighed, policy)


def _warn(message: str) -> None:
    say(f"llm4teach: {message}")


@contextmanager
def opened(
    kind: str,
    workspace: str,
    task: str,
    teacher: TeacherConfig,
    seed: int,
    *,
    join: str | None = None,
    resume: str | None = None,
    revive: bool = True,
    **config: Any,
) -> Iterator[Context]:
    """Open a new run and finish it on leaving; or resume one; or join one that another finishes.

    A flow run that Prefect starts again, because its worker died, goes on with the run that it had
    begun, unless ``revive`` is off: where a flow run has several runs at a time.

    Raises:
        TaskError, DatasetError, TeacherError: a name or path is wrong, before anything is written.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        # So small a network gains little from a second thread, and loses much where another
        # program wants the core: docs/LOG.md has the figures.
        torch.set_num_threads(1)
    place = Workspace(workspace)
    made = get_task(task) if kind == "evaluate" else get_training_task(task)
    advisor = open_teacher(teacher, made.family)
    flow_run = own_flow_run() if revive else None
    begun = begun_by(place, flow_run) if flow_run and runs_again() else None
    existing = join or resume or begun
    if existing:
        place.existing_run(existing)
    run = Run(place, existing or new_run_id(kind), kind)
    if not existing:
        priced(teacher, config.get("label", LabelConfig()), advisor.info)  # before it is begun
        settings = {"task": task, "teacher": teacher, "seed": seed, **config}
        run.start({name: _plain(value) for name, value in settings.items()})
        by = {"flow_run_id": flow_run} if flow_run else {}
        run.note(task=task, advice_family=made.family, **_identity(advisor), **by)
    try:
        if not join:  # who opened the run has done it in this process
            warm_up(made)
        started = read_config(run.folder)  # also where another stage has started the run
        limits = priced(teacher, LabelConfig(**started.get("label", {})), advisor.info)
        yield Context(
            place,
            made,
            advisor,
            run,
            seed,
            limits=limits,
            budget=_spent_so_far(run, limits),
            live=LiveConfig(**started.get("live", {})),
        )
        run.flush()
        if not join:
            run.finish()
    except BaseException as error:
        goes_on = flow_run and getattr(error, "transient", False)  # see `patience`
        if not existing and not goes_on:
            run.discard_if_empty()
        raise
    finally:
        advisor.close()


_TOKENS = ("prompt", "completion", "evaluation")


def _spent_so_far(run: Run, limits: LabelConfig) -> Budget:
    """The budget of the whole run, less what its earlier stages have spent."""
    before = run.results
    return Budget(
        limits,
        requests=sum(before.get(name, 0) for name in ("questions", "evaluation_questions")),
        tokens=sum(before.get(f"{name}_tokens", 0) for name in _TOKENS),
        cost=before.get("cost", 0.0) + before.get("evaluation_cost", 0.0),
    )


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value


def _identity(teacher: Teacher) -> dict[str, str]:
    info = teacher.info
    return {
        "teacher_id": info.teacher_id,
        "prompt_version": info.prompt_version,
        "teacher_slug": info.slug,
    }
