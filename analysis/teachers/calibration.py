"""Is a teacher as sure as it is right? Reliability, calibration error, Brier score, entropy.

A state whose best option is known makes of each advice a forecast that came true or did not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from llm4teach.analysis.statistics import Interval, wilson_interval

Distribution = Mapping[str, float]  # plans and their probabilities, which sum to 1
BINS = 10
_TIE = 1e-9


@dataclass(frozen=True)
class Forecast:
    """One teacher's advice on one state whose best plans are known."""

    confidence: float  # probability of its first choice
    right: bool  # the first choice is one of the best plans
    brier: float  # 0 at best, 2 at worst
    entropy: float  # nats


class Bin(NamedTuple):
    """Forecasts of like confidence; a calibrated teacher is right as often as it is sure."""

    low: float
    high: float
    n: int
    confidence: float  # mean
    accuracy: float  # share that was right
    interval: Interval  # Wilson's, 95%, of the accuracy


@dataclass(frozen=True)
class Calibration:
    """What the forecasts of one teacher amount to; None where nothing can be said."""

    n: int
    accuracy: float
    interval: Interval  # Wilson's, 95%, of the accuracy
    confidence: float  # mean
    error: float  # expected calibration error
    brier: float  # mean
    entropy_right: float | None  # mean over the states in which it was right, nats
    entropy_wrong: float | None
    entropy_auc: float | None  # probability that a wrong state has the higher entropy
    bins: tuple[Bin, ...]


class Agreement(NamedTuple):
    """How alike two teachers advise on the states that both know."""

    states: int
    same_choice: float  # share of the states in which they have a first choice in common
    divergence: float  # mean Jensen-Shannon divergence, nats; ln 2 = 0.693 at most


def entropy(advice: Distribution) -> float:
    """Return the entropy of a distribution, in nats."""
    return sum(p * math.log(1 / p) for p in advice.values() if p > 0)


def first_choices(advice: Distribution) -> set[str]:
    """Return the plans that no other is more probable than."""
    top = max(advice.values())
    return {plan for plan, p in advice.items() if p > top - _TIE}


def judge(advice: Distribution, best: set[str]) -> Forecast:
    """Judge an advice by the best plans.

    ``brier`` is ``sum_k (p_k - y_k)^2`` over all plans (Brier 1950, Mon. Weather Rev. 78:1), with
    y = 1 for the best plan that the teacher likes most: where several are as good, it may choose.
    Of several first choices the last in alphabetical order counts, as SQL's ``max`` has it.

    Raises:
        ValueError: there is no advice, or no best plan.
    """
    if not advice or not best:
        raise ValueError("need advice and at least one best plan")
    choice = max(first_choices(advice))
    favorite = max(sorted(best), key=lambda plan: advice.get(plan, 0.0))
    plans = {*advice, favorite}
    brier = sum((advice.get(plan, 0.0) - (plan == favorite)) ** 2 for plan in plans)
    return Forecast(advice[choice], choice in best, brier, entropy(advice))


def calibration(forecasts: Sequence[Forecast], bins: int = BINS) -> Calibration | None:
    """Sum up forecasts; None if there are none.

    The expected calibration error is ``sum_b n_b / n |accuracy_b - confidence_b|`` over bins of
    equal width (Guo et al. 2017, arXiv 1706.04599, equation 3). With few states it is biased
    upwards: a perfectly calibrated teacher has one, too.
    """
    if not forecasts:
        return None
    n = len(forecasts)
    reliability_bins = reliability(forecasts, bins)
    right = [f.entropy for f in forecasts if f.right]
    wrong = [f.entropy for f in forecasts if not f.right]
    return Calibration(
        n=n,
        accuracy=len(right) / n,
        interval=wilson_interval(len(right), n),
        confidence=sum(f.confidence for f in forecasts) / n,
        error=sum(b.n / n * abs(b.accuracy - b.confidence) for b in reliability_bins),
        brier=sum(f.brier for f in forecasts) / n,
        entropy_right=sum(right) / len(right) if right else None,
        entropy_wrong=sum(wrong) / len(wrong) if wrong else None,
        entropy_auc=auc(wrong, right),
        bins=reliability_bins,
    )


def reliability(forecasts: Sequence[Forecast], bins: int = BINS) -> tuple[Bin, ...]:
    """Return the bins of equal width, ``(low, high]``, that have forecasts."""
    groups: dict[int, list[Forecast]] = {}
    for forecast in forecasts:
        place = min(bins - 1, max(0, math.ceil(forecast.confidence * bins - _TIE) - 1))
        groups.setdefault(place, []).append(forecast)
    return tuple(
        Bin(
            place / bins,
            (place + 1) / bins,
            len(group),
            sum(f.confidence for f in group) / len(group),
            sum(f.right for f in group) / len(group),
            wilson_interval(sum(f.right for f in group), len(group)),
        )
        for place, group in sorted(groups.items())
    )


def auc(higher: Sequence[float], lower: Sequence[float]) -> float | None:
    """Return the probability that one of ``higher`` exceeds one of ``lower``, ties counting half.

    The area under the ROC curve (Mann-Whitney); 0.5 says that the number tells nothing. None if
    either is empty.
    """
    if not higher or not lower:
        return None
    wins = sum((h > x + _TIE) + 0.5 * (abs(h - x) <= _TIE) for h in higher for x in lower)
    return wins / (len(higher) * len(lower))


def jensen_shannon(p: Distribution, q: Distribution) -> float:
    """Return the Jensen-Shannon divergence of two distributions over plans, in nats."""
    middle = {plan: (p.get(plan, 0.0) + q.get(plan, 0.0)) / 2 for plan in {*p, *q}}
    return entropy(middle) - (entropy(p) + entropy(q)) / 2


def agreement(a: Mapping[str, Distribution], b: Mapping[str, Distribution]) -> Agreement | None:
    """Compare two teachers' advice by state key; None if they have no state in common."""
    common = [key for key in a if key in b and a[key] and b[key]]
    if not common:
        return None
    same = sum(bool(first_choices(a[key]) & first_choices(b[key])) for key in common)
    divergence = sum(jensen_shannon(a[key], b[key]) for key in common)
    return Agreement(len(common), same / len(common), divergence / len(common))
