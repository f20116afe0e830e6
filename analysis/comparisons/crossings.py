"""Env steps until a success rate that holds, over the seeds; who never gets there is censored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from llm4teach.analysis.statistics import median, paired_bootstrap_interval

Curve = dict[int, float]  # success rate on development episodes by env steps, offline ones too
ENOUGH_SEEDS = 5  # with fewer, tables report median and range
# Numbers of env steps, of which None means "more than the budget".
Steps = int | None
Bounds = tuple[float | None, float | None]


@dataclass(frozen=True)
class StepsTo:
    """Env steps until the learning curve reached a success rate and held it; None: > budget."""

    success: float
    median: float | None  # over all seeds; those that never got there are beyond the budget
    interval: Bounds  # of the median, 95% bootstrap; of fewer than `ENOUGH_SEEDS`: their range
    reached: int  # seeds that did
    per_seed: list[Steps]
    cpu_s: float | None = None  # of training until then, median; None unless all got there


def first_held(curve: Curve, success: float, confirmation: float | None) -> Steps:
    """Return the first point at or above a success rate whose next point is so, too.

    Args:
        curve: success rate by env steps.
        success: the rate.
        confirmation: a second measurement of the last point, which stands for its next one; None
            if there is none: the last point then counts for nothing.

    Returns:
        None if there is no such point.
    """
    steps = sorted(curve)
    for step, following in zip_longest(steps, steps[1:]):
        after = confirmation if following is None else curve[following]
        if curve[step] >= success and after is not None and after >= success:
            return step
    return None


def steps_to(success: float, per_seed: Sequence[Steps], cpu_s: Sequence[float | None]) -> StepsTo:
    """Sum up when each seed reached a success rate, with the CPU-seconds until then."""
    x = np.array([math.inf if steps is None else steps for steps in per_seed])  # (n,)
    if len(x) >= ENOUGH_SEEDS:
        low, high = paired_bootstrap_interval(x[None], lambda drawn: _medians(drawn[0]))
    else:
        low, high = float(x.min()), float(x.max())
    spent = [seconds for seconds in cpu_s if seconds is not None]
    return StepsTo(
        success,
        finite(float(_medians(x))),
        (finite(low), finite(high)),
        int(np.isfinite(x).sum()),
        list(per_seed),
        median(spent) if len(spent) == len(per_seed) else None,
    )


def finite(number: float) -> float | None:
    """Return a number, or None for one that is infinite."""
    return None if math.isinf(number) else number


@dataclass(frozen=True)
class StepsRatio:
    """Env steps without the LLM over those with it: how many times as many it takes without.

    None is infinite: without the LLM the success rate is never reached. 0 says that it is never
    reached with the LLM.
    """

    success: float
    with_llm: float | None  # median env steps; None: > budget
    without_llm: float | None
    is_known: bool  # False if neither reaches it: the ratio is then meaningless
    ratio: float | None
    interval: Bounds  # 95% bootstrap, paired by seed; of fewer than `ENOUGH_SEEDS`: their range


def steps_ratio(success: float, with_llm: Sequence[Steps], without: Sequence[Steps]) -> StepsRatio:
    """Return the ratio of the medians over seeds, which are paired."""
    pairs = np.array([[math.inf if s is None else s for s in side] for side in (without, with_llm)])
    medians = _medians(pairs)  # (2,)
    if pairs.shape[1] >= ENOUGH_SEEDS:
        low = paired_bootstrap_interval(pairs, lambda x: _ratios(_medians(x), unknown=0.0)).low
        high = paired_bootstrap_interval(pairs, lambda x: _ratios(_medians(x), math.inf)).high
    else:
        low = float(_ratios(pairs, unknown=0.0).min())
        high = float(_ratios(pairs, unknown=math.inf).max())
    return StepsRatio(
        success,
        with_llm=finite(float(medians[1])),
        without_llm=finite(float(medians[0])),
        is_known=bool(np.isfinite(medians).any()),
        ratio=finite(float(_ratios(medians, unknown=math.inf))),
        interval=(finite(low), finite(high)),
    )


def _medians(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Medians over the last axis, (..., n) to (...); infinite from half of the values on."""
    ordered, n = np.sort(x, axis=-1), x.shape[-1]
    middle: NDArray[np.float64] = (ordered[..., (n - 1) // 2] + ordered[..., n // 2]) / 2
    return middle


def _ratios(x: NDArray[np.float64], unknown: float) -> NDArray[np.float64]:
    """First over second row, (2, ...) to (...); ``unknown`` where both are infinite.

    Two that get there before their first step need equally many.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = x[0] / x[1]
    both = np.isinf(x).all(0)
    settled: NDArray[np.float64] = np.where(both, unknown, np.where((x == 0).all(0), 1.0, ratios))
    return settled
