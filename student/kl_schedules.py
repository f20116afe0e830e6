"""Schedules of kl_coef, the weight of the KL term to the teacher (the paper's lambda)."""

from __future__ import annotations

from dataclasses import dataclass

from llm4teach.student.config import FinetuneConfig


@dataclass(frozen=True)
class LinearToPlateauThenOff:
    """Falls linearly from ``start`` to ``plateau``, stays there, then is 0 (arXiv 2311.13373, 4.3).

    ``decay_steps`` and ``off_step`` are in env steps.
    """

    start: float
    plateau: float
    decay_steps: float
    off_step: float

    def __call__(self, step: int) -> float:
        """Return kl_coef after ``step`` env steps."""
        if step >= self.off_step:
            return 0.0
        if step >= self.decay_steps:
            return self.plateau
        return self.start + (self.plateau - self.start) * step / self.decay_steps


def schedule_of(config: FinetuneConfig) -> LinearToPlateauThenOff:
    """Return the schedule that the settings describe, for their number of steps."""
    return LinearToPlateauThenOff(
        start=config.kl_coef,
        plateau=min(config.kl_plateau, config.kl_coef),
        decay_steps=config.kl_decay * config.steps,
        off_step=config.kl_off * config.steps,
    )
