"""What an experiment is: a question, and arms that differ in what it asks about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import ValidationError

from llm4teach.envs.registry import task_names
from llm4teach.flows.experiments.trial import TEACH, TEACHER, TRANSFER, Cell, Method
from llm4teach.flows.runtime.settings import ConfigError, Settings, merge

Figure = Literal["curves", "levels", "shifts"]


@dataclass(frozen=True)
class Arm:
    """One line of an experiment's table: a method, and the settings in which it is special."""

    label: str
    method: Method = TEACH
    changes: Mapping[str, Any] = field(default_factory=dict)  # nested like the settings
    seeded: tuple[str, ...] = ()  # settings such as "teacher.fault_seed" that follow the seed

    def cell(self, settings: Settings, task: str, seed: int) -> Cell:
        """Return what this arm trains on a task with a seed.

        Raises:
            ConfigError: its changes do not go with the settings.
        """
        own = merge(settings.model_dump(), self.changes)
        for name in self.seeded:
            section, _, key = name.partition(".")
            own[section][key] = seed
        try:
            changed = Settings.model_validate(own | {"task": task, "seed": seed})
        except ValidationError as error:
            raise ConfigError(f"arm {self.label!r}: {error.errors()[0]['msg']}") from None
        return Cell(self.method, changed)


@dataclass(frozen=True)
class Experiment:
    """A question, and what has to be trained to answer it."""

    name: str
    question: str
    arms: tuple[Arm, ...]
    baseline: str  # label of the arm that the others are compared with
    tasks: tuple[str, ...] = ("SimpleDoorKey",)  # unless others are asked for
    seeds: int = 3
    settings: Mapping[str, Any] = field(default_factory=dict)  # defaults of its own
    figure: Figure = "curves"
    shifted: bool = False  # whether students also play the shifted variants of their task

    def __post_init__(self) -> None:
        labels = [arm.label for arm in self.arms]
        if self.baseline not in labels or len(set(labels)) != len(labels):
            raise ValueError(f"experiment {self.name}: {self.baseline!r} must be one of {labels}")


def shifted_variants(task: str) -> list[str]:
    """Names of the variants of a task that nothing is trained on."""
    return [name for name in task_names(shifted=True) if name.startswith(f"{task}-")]


def teacher_cell(cell: Cell, seed: int) -> Cell:
    """Return the cell in which the teacher of ``cell`` plays by itself."""
    return Cell(TEACHER, cell.settings.model_copy(update={"seed": seed}))


def on_task(cell: Cell, task: str, student: str | None = None) -> Cell:
    """Return the cell in which a teacher, or the student of a run, plays another task."""
    settings = cell.settings.model_copy(update={"task": task})
    return Cell(cell.method if student is None else TRANSFER, settings, student)


def labels(arms: Sequence[Arm]) -> list[str]:
    """What the table calls them."""
    return [arm.label for arm in arms]
