"""Trials of experiments: one method under given settings and one seed, and which run is its own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import BaseModel

from llm4teach.datasets.runs import CONFIG, MANIFEST, PROGRESS
from llm4teach.datasets.storage.parquet import read_json
from llm4teach.datasets.workspace import Workspace
from llm4teach.envs.registry import get_task
from llm4teach.errors import DatasetError
from llm4teach.flows.runtime.settings import Settings
from llm4teach.flows.runtime.teacher_access import resolve_teacher
from llm4teach.flows.stages.run_settings import present_config
from llm4teach.teacher_labeling.config import AskOrder, LiveConfig, TeacherConfig
from llm4teach.teacher_labeling.factory import teacher_info
from llm4teach.teacher_labeling.questions import JUDGMENTS
from llm4teach.teacher_labeling.teacher import TeacherInfo

TRAINING, PLAYING = "compare", "evaluate"  # kinds of runs


@dataclass(frozen=True)
class Method:
    """Which stages run, and whether the teacher's KL term is part of the last one."""

    name: str  # recorded with the run
    pretrains: bool = False  # rounds of collect, label, pretrain
    finetunes: bool = False
    guided: bool = False  # by the KL term while fine-tuning; else kl_coef is 0
    over_options: bool = False  # whether PPO chooses among options instead of actions
    algorithm: str = ""  # of d3rlpy, fitted to rounds of collected trajectories

    @property
    def is_offline(self) -> bool:
        """Whether it learns from collected trajectories."""
        return self.pretrains or bool(self.algorithm)

    @property
    def asks(self) -> bool:
        """Whether a teacher has any part in it."""
        return self.is_offline or self.guided or self.name == "teacher"

    @property
    def trains(self) -> bool:
        """Whether it learns anything."""
        return self.is_offline or self.finetunes


PPO = Method("ppo", finetunes=True)
PRETRAIN = Method("pretrain", pretrains=True)
PPO_KL = Method("ppo-kl", finetunes=True, guided=True)
TEACH = Method("teach", pretrains=True, finetunes=True, guided=True)
HIERARCHICAL = Method("hrl", finetunes=True, over_options=True)
# Stored trials called discrete-bc and discrete-cql had another network than the student's.
DISCRETE_BC = Method("DiscreteBC", algorithm="DiscreteBC")
DISCRETE_CQL = Method("DiscreteCQL", algorithm="DiscreteCQL")
TEACHER = Method("teacher")  # trains nothing: its own policy, to compare with
TRANSFER = Method("transfer")  # trains nothing: a stored student plays another task


class Asked(BaseModel):
    """The settings of labeling that a trial's outcome depends on, where not all is asked."""

    share: float
    order: AskOrder


class Composed(BaseModel):
    """How answers to several questions about a state are composed, where it is not the default."""

    softmax_temperature: float


@dataclass(frozen=True)
class Trial:
    """One method, the settings that it varies, and among these the seed."""

    method: Method
    settings: Settings
    student: str | None = None  # the run whose student plays, of TRANSFER

    @property
    def kind(self) -> str:
        """Kind of its run; only tasks that are trained on can have a training run."""
        return TRAINING if self.method.trains else PLAYING

    @property
    def budget(self) -> int:
        """Env steps of training, offline and online."""
        used = self.sections()
        return sum(used[name].steps for name in ("collect", "finetune") if name in used)

    def sections(self) -> dict[str, Any]:
        """The sections of the settings that this method uses, as it uses them.

        Every method has the same env steps: those of stages that it lacks go to the others.
        """
        method, settings = self.method, self.settings
        used: dict[str, BaseModel] = {"evaluate": settings.evaluate}
        offline, online = settings.collect.steps, settings.finetune.steps
        temperature = settings.teacher.softmax_temperature
        if (
            method.asks
            and temperature != TeacherConfig().softmax_temperature
            and teacher_of(settings).method == JUDGMENTS
        ):
            used["composed"] = Composed(softmax_temperature=temperature)
        if method.is_offline and settings.label.share < 1:
            used["label"] = Asked.model_validate(settings.label, from_attributes=True)
        if method.is_offline:
            steps = offline if method.finetunes else offline + online
            used["collect"] = settings.collect.model_copy(update={"steps": steps})
            used["pretrain"] = settings.pretrain
        if method.finetunes:
            steps = online if method.is_offline else offline + online
            weight = settings.finetune.kl_coef if method.guided else 0.0
            used["finetune"] = settings.finetune.model_copy(
                update={"steps": steps, "kl_coef": weight}
            )
        if method.guided and (live := live_of(settings)) != LiveConfig(in_background=False):
            used["live"] = live
        if method.trains:
            used |= {"student": settings.student, "validation": settings.validation}
        return used

    def identity(self, teacher: TeacherInfo) -> dict[str, Any]:
        """All that the outcome depends on, as plain JSON; equal for trials that are the same."""
        identity = {
            name: _outcome_of(section.model_dump(mode="json"))
            for name, section in self.sections().items()
        }
        if self.method.asks:
            identity["teacher"] = [teacher.teacher_id, teacher.prompt_version]
        if self.student:
            identity["student_run"] = self.student
        task, seed = self.settings.task, self.settings.seed
        return {"task": task, "seed": seed, "method": self.method.name, **identity}


def live_of(settings: Settings) -> LiveConfig:
    """How fine-tuning asks in a trial: never in the background, so that seeds repeat."""
    return settings.live.model_copy(update={"in_background": False})


def teacher_of(settings: Settings) -> TeacherInfo:
    """Return the identity of the teacher that the settings describe; nothing is opened.

    Raises:
        TeacherError, TaskError: there is no such teacher or task.
    """
    return _teacher_of(settings.teacher, get_task(settings.task).family)


@cache
def _teacher_of(config: TeacherConfig, family: str) -> TeacherInfo:
    return teacher_info(resolve_teacher(config), family)


# Of collection, which takes less time with more of them; and of `teach`, not of a trial.
_WITHOUT_EFFECT = ("workers", "control")


@dataclass(frozen=True)
class StoredTrial:
    """A trial's run in the workspace."""

    run_id: str
    identity: dict[str, Any]
    complete: bool


def stored_trials(workspace: Workspace) -> list[StoredTrial]:
    """Every trial of the workspace, oldest first; what a crash left unreadable is left out."""
    trials = []
    for run_id in workspace.run_ids():
        folder = workspace.run(run_id)
        try:
            started = read_json(folder / CONFIG)
            if started["kind"] not in (TRAINING, PLAYING) or "method" not in started["config"]:
                continue
            config = present_config(started["config"])
            identity = {name: _outcome_of(value) for name, value in config.items()}
            results = read_json(folder / PROGRESS)
        except (DatasetError, KeyError):
            continue
        identity["teacher"] = [results.get("teacher_id"), results.get("prompt_version")]
        trials.append(StoredTrial(run_id, identity, (folder / MANIFEST).exists()))
    return trials


def _outcome_of(section: Any) -> Any:
    """Settings less those that change nothing of a trial's outcome, and those that are not set.

    A setting that came later than a stored trial is not set in it.
    """
    if not isinstance(section, dict):
        return section
    return {k: v for k, v in section.items() if k not in _WITHOUT_EFFECT and v is not None}


def find_trial(
    trial: Trial, identity: dict[str, Any], stored: list[StoredTrial]
) -> StoredTrial | None:
    """Return the run of this very trial: a complete one if there is any, else the newest.

    ``identity`` is the trial's own.
    """
    same = [run for run in stored if _without_teacher(run.identity, trial.method) == identity]
    return next((run for run in same if run.complete), same[-1] if same else None)


def _without_teacher(identity: dict[str, Any], method: Method) -> dict[str, Any]:
    if method.asks:
        return identity
    return {name: value for name, value in identity.items() if name != "teacher"}
