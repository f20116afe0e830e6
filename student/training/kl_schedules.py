"""Schedules of kl_coef, the weight of the KL term to the teacher (the paper's lambda)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from llm4teach.envs.custom.loading import KL_SCHEDULES, is_from_elsewhere, load_from_elsewhere
from llm4teach.student.config import FinetuneConfig

STEPS_DOWN = 4  # of the stepwise schedule


class KLSchedule(Protocol):
    """The weight of the KL term, by how far training has come."""

    def __call__(self, step: int, recent_return: float = 0.0) -> float:
        """Return kl_coef after ``step`` env steps; ``recent_return`` is the student's of late."""
        ...


@dataclass(frozen=True)
class LinearToPlateauThenOff:
    """Falls linearly from ``start`` to ``plateau``, stays there, then is 0 (arXiv 2311.13373, 4.3).

    ``decay_steps`` and ``off_step`` are in env steps.
    """

    start: float
    plateau: float
    decay_steps: float
    off_step: float

    def __call__(self, step: int, recent_return: float = 0.0) -> float:
        """Return kl_coef after ``step`` env steps."""
        if step >= self.off_step:
            return 0.0
        if step >= self.decay_steps:
            return self.plateau
        return self.start + (self.plateau - self.start) * step / self.decay_steps


@dataclass(frozen=True)
class Constant:
    """``start``, until ``off_step`` (env steps)."""

    start: float
    off_step: float

    def __call__(self, step: int, recent_return: float = 0.0) -> float:
        """Return kl_coef after ``step`` env steps."""
        return self.start if step < self.off_step else 0.0


@dataclass(frozen=True)
class Linear:
    """Falls linearly from ``start`` to 0 at ``off_step`` (env steps)."""

    start: float
    off_step: float

    def __call__(self, step: int, recent_return: float = 0.0) -> float:
        """Return kl_coef after ``step`` env steps."""
        return self.start * (1 - step / self.off_step) if step < self.off_step else 0.0


@dataclass(frozen=True)
class Stepwise:
    """Falls from ``start`` to 0 at ``off_step`` (env steps) in `STEPS_DOWN` equal steps."""

    start: float
    off_step: float

    def __call__(self, step: int, recent_return: float = 0.0) -> float:
        """Return kl_coef after ``step`` env steps."""
        if step >= self.off_step:
            return 0.0
        return self.start * (1 - math.floor(STEPS_DOWN * step / self.off_step) / STEPS_DOWN)


@dataclass(frozen=True)
class Cosine:
    """Half a cosine from ``start`` to 0 at ``off_step`` (env steps)."""

    start: float
    off_step: float

    def __call__(self, step: int, recent_return: float = 0.0) -> float:
        """Return kl_coef after ``step`` env steps."""
        if step >= self.off_step:
            return 0.0
        return self.start * (1 + math.cos(math.pi * step / self.off_step)) / 2


@dataclass(frozen=True)
class ReturnRatio:
    """``start * (1 - return / target)``, within [0, start]: the better the student, the less.

    Adaptive: a student that gets worse is taught again. ``target`` is the undiscounted return of
    an episode that needs no teacher; the weight is 0 from ``off_step`` (env steps) on.
    """

    start: float
    target: float
    off_step: float

    def __call__(self, step: int, recent_return: float = 0.0) -> float:
        """Return kl_coef after ``step`` env steps, at the student's recent return."""
        if step >= self.off_step:
            return 0.0
        return self.start * min(1.0, max(0.0, 1 - recent_return / self.target))


def schedule_of(config: FinetuneConfig) -> KLSchedule:
    """Return the schedule that the settings describe, for their number of steps.

    One of another package is what its function returns for these settings.

    Raises:
        TaskError: it cannot be imported.
    """
    if is_from_elsewhere(KL_SCHEDULES, config.kl_schedule):
        own: KLSchedule = load_from_elsewhere(KL_SCHEDULES, config.kl_schedule)(config)
        return own
    start, off_step = config.kl_coef, config.kl_off * config.steps
    if config.kl_schedule == "return-ratio":
        return ReturnRatio(start, config.kl_target_return, off_step)
    simple: dict[str, Callable[[float, float], KLSchedule]]
    simple = {"constant": Constant, "linear": Linear, "stepwise": Stepwise, "cosine": Cosine}
    if config.kl_schedule in simple:
        return simple[config.kl_schedule](start, off_step)
    plateau = min(config.kl_plateau, start)
    return LinearToPlateauThenOff(start, plateau, config.kl_decay * config.steps, off_step)
