"""What an experiment is: a question, and variants that differ in what it asks about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydantic import ValidationError

from llm4teach.envs.registry import task_names
from llm4teach.errors import ConfigError
from llm4teach.flows.experiments.trial import (
    TEACH,
    TEACHER,
    TRANSFER,
    Method,
    Trial,
    teacher_of,
)
from llm4teach.flows.runtime.settings import Settings, merge
from llm4teach.teacher_labeling.config import LabelConfig, LiveConfig, TeacherConfig
from llm4teach.teacher_labeling.teacher import NO_LLM

# What a control has instead: it costs nothing to ask the teacher `none` about all.
WITHOUT_LLM = {
    "teacher": TeacherConfig(teacher="none"),
    "label": LabelConfig(),
    "live": LiveConfig(),
}
Figure = Literal["curves", "levels", "shifts"]


@dataclass(frozen=True)
class Variant:
    """One line of an experiment's table: a method, and the settings in which it is special."""

    label: str
    method: Method = TEACH
    changes: Mapping[str, Any] = field(default_factory=dict)  # nested like the settings
    seeded: tuple[str, ...] = ()  # settings such as "teacher.fault_seed" that follow the seed

    def trial(self, settings: Settings, task: str, seed: int) -> Trial:
        """Return what this variant trains on a task with a seed.

        Raises:
            ConfigError: its changes do not go with the settings.
        """
        values = merge(settings.model_dump(), self.changes)
        for name in self.seeded:
            section, _, key = name.partition(".")
            values[section][key] = seed
        try:
            changed = Settings.model_validate(values | {"task": task, "seed": seed})
        except ValidationError as error:
            raise ConfigError(f"variant {self.label!r}: {error.errors()[0]['msg']}") from None
        return Trial(self.method, changed)


@dataclass(frozen=True)
class Experiment:
    """A question, and what has to be trained to answer it."""

    name: str
    question: str
    variants: tuple[Variant, ...]
    baseline: str  # label of the variant that the others are compared with
    tasks: tuple[str, ...] = ("SimpleDoorKey",)  # unless others are asked for
    seeds: int = 3
    settings: Mapping[str, Any] = field(default_factory=dict)  # defaults of its own
    figure: Figure = "curves"
    shifted: bool = False  # whether students also play the shifted tasks

    def __post_init__(self) -> None:
        labels = [variant.label for variant in self.variants]
        if self.baseline not in labels or len(set(labels)) != len(labels):
            raise ValueError(f"experiment {self.name}: {self.baseline!r} must be one of {labels}")


def shifted_tasks(task: str) -> list[str]:
    """Names of the shifted versions of a task that nothing is trained on."""
    return [name for name in task_names(shifted=True) if name.startswith(f"{task}-")]


def teacher_trial(trial: Trial, seed: int) -> Trial:
    """Return the trial in which the teacher of ``trial`` plays by itself."""
    return Trial(TEACHER, trial.settings.model_copy(update={"seed": seed}))


def control_trial(trial: Trial) -> Trial | None:
    """Return the same trial without an LLM; None if there is no LLM in it."""
    if not trial.method.asks or teacher_of(trial.settings).teacher_id.startswith(NO_LLM):
        return None
    return replace(trial, settings=trial.settings.model_copy(update=WITHOUT_LLM))


def on_task(trial: Trial, task: str, student: str | None = None) -> Trial:
    """Return the trial in which a teacher, or the student of a run, plays another task."""
    settings = trial.settings.model_copy(update={"task": task})
    return Trial(trial.method if student is None else TRANSFER, settings, student)


def labels(variants: Sequence[Variant]) -> list[str]:
    """What the table calls them."""
    return [variant.label for variant in variants]
