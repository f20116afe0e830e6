"""An opened run: what every stage works with. One `opened` serves a whole pipeline."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.datasets.runs import Run
from llm4teach.datasets.storage.paths import StoragePath
from llm4teach.datasets.trajectories import Trajectories
from llm4teach.datasets.workspace import Workspace, new_run_id
from llm4teach.envs.registry import get_task, get_training_task
from llm4teach.envs.task import State, Task
from llm4teach.flows.runtime.flow_runs import begun_by, own_flow_run, runs_again
from llm4teach.flows.runtime.progress import say
from llm4teach.flows.runtime.settings import Settings
from llm4teach.flows.runtime.teacher_access import advice_of, open_teacher, resolve_teacher
from llm4teach.flows.stages.run_settings import SECTIONS, resumed_settings, stored_settings
from llm4teach.flows.stages.warm_up import warm_up
from llm4teach.student.collection.reweighting import (
    ReweightedPlan,
    read_reweighted,
    reweight_trajectories,
)
from llm4teach.student.collection.states import states_of
from llm4teach.student.config import PretrainConfig
from llm4teach.teacher_labeling.ask_policy import AskPolicy
from llm4teach.teacher_labeling.config import LabelConfig, LiveConfig
from llm4teach.teacher_labeling.factory import check_installed, questions_of
from llm4teach.teacher_labeling.labeling.budget import Budget, priced
from llm4teach.teacher_labeling.live import LiveTeacher
from llm4teach.teacher_labeling.live_labelers import BackgroundLabeler, LiveLabeler, labeler_of
from llm4teach.teacher_labeling.questions import Questions
from llm4teach.teacher_labeling.teacher import Teacher

_ASK_NOTHING = ("collect", "pretrain")  # kinds of runs that use stored advice only


@dataclass(frozen=True)
class Context:
    """What every stage works with."""

    workspace: Workspace
    task: Task
    run: Run
    settings: Settings  # those that the run was started with
    seed: int
    advisor: Teacher | None  # its connection opens at the first question
    advice_folder: StoragePath | None = None  # where it is not the workspace's
    limits: LabelConfig = field(default_factory=LabelConfig)
    budget: Budget = field(default_factory=lambda: Budget(LabelConfig()))
    live: LiveConfig = field(default_factory=LiveConfig)

    @property
    def teacher(self) -> Teacher:
        """The run's teacher.

        Raises:
            RuntimeError: the run was opened without one.
        """
        if self.advisor is None:
            raise RuntimeError(f"run {self.run.run_id} was opened without a teacher")
        return self.advisor

    @property
    def store(self) -> AdviceStore:
        """This teacher's advice on this task."""
        info = self.teacher.info
        return advice_of(info, self.workspace, self.task.family, self.advice_folder)

    @property
    def questions(self) -> Questions:
        """What this task's states take with this teacher."""
        return questions_of(self.task, self.settings.teacher, self.teacher.info)

    def live_teacher(
        self,
        ask: bool,
        reweighted_by: str | None = None,
        policy: AskPolicy | None = None,
        in_background: bool = False,
    ) -> LiveTeacher:
        """Stored advice; with ``ask``, states that have none are asked about.

        ``reweighted_by`` is a run whose returns reweight the advice, if it has any; ``policy`` says
        which states to ask about, by default all.
        """
        advice = read_reweighted(self.workspace.run(reweighted_by)) if reweighted_by else {}
        store = self.store
        asked = (self.teacher, store, self.limits, self.budget)
        asking: LiveLabeler | None = None
        if ask:
            asking = BackgroundLabeler(*asked, _warn) if in_background else labeler_of(*asked)
        return LiveTeacher(self.task, store, asking, advice, policy, self.questions)

    def reweighted(
        self, trajectories: Trajectories, config: PretrainConfig | None = None
    ) -> dict[State, list[ReweightedPlan]]:
        """Reweight the stored advice by returns; a state without advice has all its plans.

        Args:
            trajectories: whose returns count.
            config: by default the settings'. A temperature of 0 is taken for the usual one.
        """
        config = config or self.settings.pretrain
        if not config.reweight_temperature:
            usual = PretrainConfig.model_fields["reweight_temperature"].default
            config = config.model_copy(update={"reweight_temperature": usual})
        states = states_of(self.task, trajectories)
        advice = self.live_teacher(ask=False).mixtures
        return reweight_trajectories(trajectories, states, advice, config, self.task.return_scale)


def _warn(message: str) -> None:
    say(f"llm4teach: {message}")


@contextmanager
def opened(
    kind: str,
    settings: Settings,
    *,
    join: str | None = None,
    resume: str | None = None,
    config: Mapping[str, Any] | None = None,
    with_teacher: bool = True,
    revive: bool = True,
) -> Iterator[Context]:
    """Open a new run and finish it on leaving; or resume one; or join one that another finishes.

    A flow run that Prefect starts again, because its worker died, resumes the run that it had
    started.

    Args:
        kind: of the run, which says what of the settings is stored with it (`SECTIONS`).
        settings: of a new run. A resumed or joined run has those that are stored with it.
        join: run of another process to work on; that process finishes it.
        resume: unfinished run of this kind.
        config: stored instead of the kind's sections, with settings that count as they are: for
            trials, which know their runs by it.
        with_teacher: whether the run has a teacher at all.
        revive: off where one flow run has several runs at a time.

    Raises:
        TaskError, DatasetError, TeacherError: a name or path is wrong, before anything is written.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        # So small a network gains little from a second thread, and loses much where another
        # program wants the core: docs/LOG.md has the figures.
        torch.set_num_threads(1)
    workspace = Workspace(settings.workspace)
    flow_run = own_flow_run() if revive else None
    revived = begun_by(workspace, flow_run) if flow_run and runs_again() else None
    existing = join or resume or revived
    if existing and config is None:
        read_settings = partial(resumed_settings, kind=kind) if resume else stored_settings
        settings = read_settings(settings, run_id=existing)
    elif existing:
        workspace.existing_run(existing)
    task = get_task(settings.task) if kind == "evaluate" else get_training_task(settings.task)
    advisor = None
    if with_teacher:
        teacher = resolve_teacher(settings.teacher)
        settings = settings.model_copy(update={"teacher": teacher})
        if config is None and kind not in _ASK_NOTHING:
            check_installed(teacher)
        advisor = open_teacher(teacher, task.family)
    sections = SECTIONS[kind] if config is None else ()
    limits = settings.label if "label" in sections else LabelConfig()
    if advisor is not None:
        limits = priced(settings.teacher, limits, advisor.info)
    run = Run(workspace, existing or new_run_id(kind), kind)
    if not existing:
        stored = {"task": settings.task, "seed": settings.seed}
        stored |= {"teacher": settings.teacher} if advisor is not None else {}
        stored |= {name: getattr(settings, name) for name in sections} | dict(config or {})
        run.start({name: _plain(value) for name, value in stored.items()})
        by = {"flow_run_id": flow_run} if flow_run else {}
        run.note(task=settings.task, advice_family=task.family, **_identity(advisor), **by)
    try:
        if not join:  # the process that opened the run has done it, or does it on its own
            warm_up(task)
        yield Context(
            workspace,
            task,
            run,
            settings,
            settings.seed,
            advisor,
            limits=limits,
            budget=_spent_so_far(run, limits),
            live=settings.live if "live" in sections else LiveConfig(),
        )
        run.flush()
        if not join:
            run.finish()
    except BaseException:
        if not existing:
            run.discard_if_empty()
        raise
    finally:
        if advisor is not None:
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


def _identity(teacher: Teacher | None) -> dict[str, str]:
    if teacher is None:
        return {}
    info = teacher.info
    return {
        "teacher_id": info.teacher_id,
        "prompt_version": info.prompt_version,
        "teacher_slug": info.slug,
    }
