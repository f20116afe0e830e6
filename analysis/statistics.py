"""Estimates with honest intervals: success rates, means, and averages that outliers do not move."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Z_95 = 1.959963984540054  # the standard normal's 97.5% quantile
RESAMPLES = 10_000
_BLOCK = 1 << 21  # draws held at a time: 16 MiB of indices


class Interval(NamedTuple):
    """A two-sided 95% confidence interval."""

    low: float
    high: float


def wilson_interval(successes: int, trials: int) -> Interval:
    """Return Wilson's 95% score interval of a success rate; (0, 1) without trials.

    With p = successes/n and z the normal quantile, ``(p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) /
    (1 + z²/n)`` (Wilson 1927, J. Am. Stat. Assoc. 22:209; recommended by Brown, Cai and DasGupta
    2001, Stat. Sci. 16:101). It stays within [0, 1] and has a width at 0 and at n successes.

    Raises:
        ValueError: not 0 <= successes <= trials.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes in {trials} trials: need 0 <= successes <= trials")
    if trials == 0:
        return Interval(0.0, 1.0)
    p, z2 = successes / trials, Z_95**2
    centre = p + z2 / (2 * trials)
    spread = Z_95 * math.sqrt(p * (1 - p) / trials + z2 / (4 * trials**2))
    scale = 1 + z2 / trials
    # Exactly 0 and 1 at the ends, where rounding would leave 1e-17 beside them.
    low = 0.0 if successes == 0 else (centre - spread) / scale
    high = 1.0 if successes == trials else (centre + spread) / scale
    return Interval(low, high)


def bootstrap_mean_interval(
    values: ArrayLike, seed: int = 0, resamples: int = RESAMPLES
) -> Interval:
    """Return the 95% percentile bootstrap interval of the mean (Efron 1979, Ann. Stat. 7:1).

    Args:
        values: numbers, length n; of a single one the interval is that number itself.
        seed: the same seed gives the same interval.
        resamples: means of n draws with replacement.

    Raises:
        ValueError: there are no values, or some are not finite.
    """
    return _bootstrap(_finite(values), lambda drawn: drawn.mean(axis=1), seed, resamples)


def bootstrap_iqm_interval(
    values: ArrayLike, seed: int = 0, resamples: int = RESAMPLES
) -> Interval:
    """Return the 95% percentile bootstrap interval of `interquartile_mean`.

    Over few values, such as five seeds, it is a rough guide and rather too narrow.

    Args:
        values: numbers, length n; of a single one the interval is that number itself.
        seed: the same seed gives the same interval.
        resamples: interquartile means of n draws with replacement.

    Raises:
        ValueError: there are no values, or some are not finite.
    """
    x = _finite(values)
    cut = len(x) // 4

    def middle_means(drawn: NDArray[np.float64]) -> NDArray[np.float64]:
        means: NDArray[np.float64] = np.sort(drawn, axis=1)[:, cut : len(x) - cut].mean(axis=1)
        return means

    return _bootstrap(x, middle_means, seed, resamples)


def _bootstrap(
    x: NDArray[np.float64],
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    seed: int,
    resamples: int,
) -> Interval:
    """The interval of a statistic that maps draws (rows, n) to values (rows,)."""
    rng = np.random.default_rng(seed)
    found = np.empty(resamples)
    rows = max(1, _BLOCK // len(x))
    for start in range(0, resamples, rows):
        block = found[start : start + rows]
        block[:] = statistic(x[rng.integers(len(x), size=(len(block), len(x)))])  # (rows,)
    low, high = np.quantile(found, [0.025, 0.975])
    return Interval(float(low), float(high))


class Improvement(NamedTuple):
    """How probable it is that one run of X does better than one of Y, with its interval."""

    probability: float
    interval: Interval


def probability_of_improvement(
    ours: Sequence[ArrayLike], theirs: Sequence[ArrayLike], seed: int = 0, resamples: int = 2_000
) -> Improvement:
    """Return P(X > Y) + P(X = Y) / 2, averaged over tasks, with a 95% bootstrap interval.

    On each task it is the share of pairs (a run of X, a run of Y) in which X's is better: the
    Mann-Whitney statistic over their number (Agarwal et al. 2021, arXiv 2108.13264, section 4.3).
    The bootstrap draws the runs of X and of Y, on each task, with replacement.

    Args:
        ours: X's scores by task, one a run.
        theirs: Y's, of the same tasks in the same order; the numbers of runs may differ.
        seed: the same seed gives the same interval.
        resamples: of the bootstrap.

    Raises:
        ValueError: there are no tasks, other ones, or no finite scores on one of them.
    """
    if not len(ours) or len(ours) != len(theirs):
        raise ValueError(f"scores on {len(ours)} and on {len(theirs)} tasks: need the same tasks")
    rng = np.random.default_rng(seed)
    estimate, drawn = 0.0, np.zeros(resamples)
    for x, y in ((_finite(a), _finite(b)) for a, b in zip(ours, theirs, strict=True)):
        wins = (x[:, None] > y) + 0.5 * (x[:, None] == y)  # (n_x, n_y)
        estimate += float(wins.mean())
        rows = rng.integers(len(x), size=(resamples, len(x)))
        columns = rng.integers(len(y), size=(resamples, len(y)))
        drawn += wins[rows[:, :, None], columns[:, None, :]].mean(axis=(1, 2))  # (resamples,)
    low, high = np.quantile(drawn / len(ours), [0.025, 0.975])
    return Improvement(estimate / len(ours), Interval(float(low), float(high)))


def interquartile_mean(values: ArrayLike) -> float:
    """Return the mean of the middle half: floor(n/4) values cut at either end.

    Robust as a median and nearly as efficient as a mean (Agarwal et al. 2021, arXiv 2108.13264).

    Raises:
        ValueError: there are no values, or some are not finite.
    """
    x = np.sort(_finite(values))
    cut = len(x) // 4
    return float(x[cut : len(x) - cut].mean())


def median(values: ArrayLike) -> float:
    """Return the median.

    Raises:
        ValueError: there are no values, or some are not finite.
    """
    return float(np.median(_finite(values)))


def _finite(values: ArrayLike | Sequence[float]) -> NDArray[np.float64]:
    x = np.asarray(values, np.float64).ravel()  # (n,)
    if not len(x) or not np.isfinite(x).all():
        raise ValueError("need at least one value, and finite ones only")
    return x
