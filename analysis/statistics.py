"""Statistics with 95% intervals (by scipy), and the tests that promotions and drift checks use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

# scipy.stats takes a second to import, so the functions that need it import it.

RESAMPLES = 10_000
_BLOCK = 1 << 21  # draws held at a time: 16 MiB of indices
_FLIPS = 20_000


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
    from scipy.stats import binomtest

    low, high = binomtest(successes, trials).proportion_ci(method="wilson")
    return Interval(float(low), float(high))


def bootstrap_mean_interval(
    values: ArrayLike, seed: int = 0, resamples: int = RESAMPLES
) -> Interval:
    """Return the 95% percentile bootstrap interval of the mean (Efron 1979, Ann. Stat. 7:1).

    Args:
        values: numbers, length n; a single one is its own interval.
        seed: the same seed gives the same interval.
        resamples: means of n draws with replacement.

    Raises:
        ValueError: there are no values, or some are not finite.
    """
    return _bootstrap([_finite(values)], np.mean, seed, resamples)


def bootstrap_iqm_interval(
    values: ArrayLike, seed: int = 0, resamples: int = RESAMPLES
) -> Interval:
    """Return the 95% percentile bootstrap interval of `interquartile_mean`.

    Over few values, such as five seeds, it is a rough guide and too narrow.

    Args:
        values: numbers, length n; a single one is its own interval.
        seed: the same seed gives the same interval.
        resamples: interquartile means of n draws with replacement.

    Raises:
        ValueError: there are no values, or some are not finite.
    """
    from scipy.stats import trim_mean

    def middle_mean(x: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
        means: NDArray[np.float64] = trim_mean(x, 0.25, axis=axis)
        return means

    return _bootstrap([_finite(values)], middle_mean, seed, resamples)


def _bootstrap(
    samples: Sequence[NDArray[np.float64]],
    statistic: Callable[..., Any],
    seed: int,
    resamples: int,
) -> Interval:
    """Return scipy's percentile interval of ``statistic(*samples, axis=-1)``."""
    from scipy.stats import bootstrap

    # scipy wants two values per sample: a single one, twice, has the same draws.
    samples = [np.repeat(x, 2) if len(x) == 1 else x for x in samples]
    interval = bootstrap(
        samples,
        statistic,
        n_resamples=resamples,
        batch=max(1, _BLOCK // max(map(len, samples))),
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(float(interval.low), float(interval.high))


def paired_bootstrap_interval(
    columns: ArrayLike,
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    seed: int = 0,
    resamples: int = 2_000,
) -> Interval:
    """Return the 95% percentile bootstrap interval of a statistic of columns drawn together.

    scipy's bootstrap interpolates between resamples, which makes nan of infinite ones. Here an end
    is a resample's own value, so that infinite numbers may stand for what was never observed.

    Args:
        columns: (k, n); the k numbers of a seed stay together.
        statistic: maps resamples (k, resamples, n) to their values (resamples,).
        seed: the same seed gives the same interval.
        resamples: draws of n columns with replacement.
    """
    x = np.asarray(columns, np.float64)  # (k, n)
    drawn = np.random.default_rng(seed).integers(x.shape[1], size=(resamples, x.shape[1]))
    values = statistic(x[:, drawn])
    low = np.quantile(values, 0.025, method="lower")
    high = np.quantile(values, 0.975, method="higher")
    return Interval(float(low), float(high))


def mean_difference(
    ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]
) -> tuple[float, Interval]:
    """Return by how much our mean exceeds theirs, averaged over strata, with its 95% interval.

    Welch's t interval, with Satterthwaite's degrees of freedom (Welch 1947, Biometrika 34:28): it
    stays honest with few values, where a bootstrap's is too narrow.

    Args:
        ours: values of each stratum, such as one task's success rates by seed.
        theirs: of the same strata; the numbers of values may differ.

    Raises:
        ValueError: a stratum has fewer than two values on a side.
    """
    from scipy.stats import t

    sides = [[_finite(values) for values in side] for side in (ours, theirs)]
    if min(len(values) for side in sides for values in side) < 2:
        raise ValueError("an interval needs two values or more of each stratum and side")
    mean_ours, mean_theirs = (float(np.mean([x.mean() for x in side])) for side in sides)
    parts = [(x.var(ddof=1) / len(x) / len(ours) ** 2, len(x) - 1) for side in sides for x in side]
    variance = sum(part for part, _ in parts)
    difference = mean_ours - mean_theirs
    if not variance:
        return difference, Interval(difference, difference)
    freedom = variance**2 / sum(part**2 / df for part, df in parts)
    reach = float(t.ppf(0.975, freedom)) * variance**0.5
    return difference, Interval(difference - reach, difference + reach)


class Improvement(NamedTuple):
    """The probability that a run of X does better than a run of Y, with its interval."""

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
        ours: X's scores by task, one per run.
        theirs: Y's, of the same tasks in the same order; the numbers of runs may differ.
        seed: the same seed gives the same interval.
        resamples: of the bootstrap.

    Raises:
        ValueError: the tasks differ, there are none, or one has no finite scores.
    """
    if not len(ours) or len(ours) != len(theirs):
        raise ValueError(f"scores on {len(ours)} and on {len(theirs)} tasks: need the same tasks")
    scores = [_finite(x) for pair in zip(ours, theirs, strict=True) for x in pair]  # X, Y, X, Y, …

    def average(*samples: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
        pairs = zip(samples[::2], samples[1::2], strict=True)
        total = sum(_share_of_wins(x, y) for x, y in pairs)  # (...,)
        return np.asarray(total / len(ours))

    interval = _bootstrap(scores, average, seed, resamples)
    return Improvement(float(average(*scores)), interval)


def _share_of_wins(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of pairs that x wins, ties counting half; (..., n_x) and (..., n_y) to (...,)."""
    left, right = x[..., :, None], y[..., None, :]
    wins = (left > right) + 0.5 * (left == right)  # (..., n_x, n_y)
    return np.asarray(wins.mean(axis=(-2, -1)))


def interquartile_mean(values: ArrayLike) -> float:
    """Return the mean of the middle half: floor(n/4) values are cut at either end.

    Robust as a median and nearly as efficient as a mean (Agarwal et al. 2021, arXiv 2108.13264).

    Raises:
        ValueError: there are no values, or some are not finite.
    """
    from scipy.stats import trim_mean

    return float(trim_mean(_finite(values), 0.25))


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


Verdict = Literal["better", "success may be lower", "not better"]


@dataclass(frozen=True)
class PairedTest:
    """Challenger and champion on the same episodes."""

    episodes: int
    challenger_return: float  # means of undiscounted returns
    champion_return: float
    challenger_success: float  # rates
    champion_success: float
    difference: float  # of the mean returns
    interval: Interval  # 95%, of that difference, by the bootstrap over episodes
    p_value: float  # one-sided: so much better, or more, by chance alone
    success_p_value: float  # one-sided: of a success rate that is lower by the margin or more
    verdict: Verdict

    def as_json(self) -> dict[str, Any]:
        """Plain JSON, rounded to what it can mean."""
        content = asdict(self) | {"interval": [round(x, 4) for x in self.interval]}
        return {k: round(v, 5) if isinstance(v, float) else v for k, v in content.items()}


def compare_episodes(
    challenger: Sequence[dict[str, Any]],
    champion: Sequence[dict[str, Any]],
    *,
    confidence: float,
    margin: float,
) -> PairedTest:
    """Say whether the challenger should take the champion's place.

    "Better": the one-sided sign-flip test of the paired returns is significant at ``confidence``,
    and so is the paired test that the success rate is not lower by ``margin`` or more. Where only
    the returns are better, "success may be lower": a student that is faster, and fails more often,
    is no better one.

    Args:
        challenger: its episodes, with ``seed``, ``return`` and ``success``.
        champion: the same seeds' episodes.
        confidence: such as 0.95.
        margin: loss of success rate that does not matter.

    Raises:
        ValueError: the two did not play the same episodes.
    """
    ours = sorted(challenger, key=lambda e: e["seed"])
    theirs = sorted(champion, key=lambda e: e["seed"])
    if not ours or [e["seed"] for e in ours] != [e["seed"] for e in theirs]:
        raise ValueError("champion and challenger did not play the same episodes")
    returns = np.array([[a["return"], b["return"]] for a, b in zip(ours, theirs, strict=True)])
    differences = returns[:, 0] - returns[:, 1]  # (n,)
    p_value = sign_flip_p_value(differences)
    interval = bootstrap_mean_interval(differences)
    solved = np.array(
        [[a["success"], b["success"]] for a, b in zip(ours, theirs, strict=True)], int
    )
    gains = solved[:, 0] - solved[:, 1]  # (n,) 1, 0 or -1
    success_p_value = not_lower_p_value(
        int((gains > 0).sum()), int((gains < 0).sum()), len(ours), margin
    )
    verdict: Verdict = "not better"
    if p_value < 1 - confidence:
        verdict = "better" if success_p_value < 1 - confidence else "success may be lower"
    return PairedTest(
        episodes=len(ours),
        challenger_return=float(returns[:, 0].mean()),
        champion_return=float(returns[:, 1].mean()),
        challenger_success=float(solved[:, 0].mean()),
        champion_success=float(solved[:, 1].mean()),
        difference=float(differences.mean()),
        interval=interval,
        p_value=p_value,
        success_p_value=success_p_value,
        verdict=verdict,
    )


def not_lower_p_value(gained: int, lost: int, pairs: int, margin: float) -> float:
    """One-sided p-value of a success rate that is lower by ``margin`` or more, from pairs.

    Tango's score test of paired proportions (1998, Stat. Med. 17:891). With b gained and c lost of
    n pairs, ``z = (b - c + n margin) / sqrt(n (2 q - margin (1 + margin)))``, where q is the
    probability of a loss, estimated under the hypothesis. It is honest where no pair differs: that
    says little in few episodes. With a margin of 0 it is McNemar's test that the rate is higher.

    Args:
        gained: episodes in which only the challenger succeeded.
        lost: episodes in which only the other one did.
        pairs: episodes in all.
        margin: loss that does not matter, of the rate.

    Raises:
        ValueError: not 0 <= margin < 1, or the numbers of pairs are impossible.
    """
    if not 0 <= margin < 1 or min(gained, lost) < 0 or gained + lost > pairs or not pairs:
        raise ValueError(f"{gained} gained and {lost} lost of {pairs} pairs, margin {margin}")
    linear = -gained - lost - (2 * pairs - gained + lost) * margin
    constant = lost * margin * (1 + margin)
    root = max(0.0, linear**2 - 8 * pairs * constant) ** 0.5
    q = (root - linear) / (4 * pairs)
    variance = pairs * (2 * q - margin * (1 + margin))
    if variance <= 0:  # no pair differs, and the margin is 0
        return 0.5
    from scipy.stats import norm

    return float(norm.sf((gained - lost + pairs * margin) / variance**0.5))


def sign_flip_p_value(differences: ArrayLike, seed: int = 0, flips: int = _FLIPS) -> float:
    """One-sided p-value of a positive mean of paired differences, by flipping their signs.

    Fisher's randomisation test for matched pairs: were the two alike, each difference would be as
    likely to have the other sign. With up to 14 pairs that differ all sign patterns are tried,
    with more of them ``flips`` random ones; then ``p = (1 + at least as large) / (1 + flips)``
    (Phipson and Smyth 2010, Stat. Appl. Genet. Mol. Biol. 9:39), which is never 0.

    Raises:
        ValueError: a difference is not finite.
    """
    x: NDArray[np.float64] = np.asarray(differences, np.float64).ravel()
    if not np.isfinite(x).all():
        raise ValueError("differences have to be finite numbers")
    x = x[x != 0]
    observed, n = x.sum(), len(x)
    slack = 1e-9 * np.abs(x).sum()  # sums of equal numbers in another order are equal
    if n <= 14:
        patterns = (np.arange(2**n)[:, None] >> np.arange(n) & 1) * 2 - 1  # (2^n, n)
        return float((patterns @ x >= observed - slack).mean())
    rng = np.random.default_rng(seed)
    as_large = 0
    for start in range(0, flips, 1000):
        signs = rng.integers(0, 2, (min(1000, flips - start), n), dtype=np.int8) * 2 - 1
        as_large += int((signs @ x >= observed - slack).sum())
    return (1 + as_large) / (1 + flips)


@dataclass(frozen=True)
class Drift:
    """Whether a policy succeeds less often than before, or than another."""

    p_value: float  # one-sided: so much worse, or more, by chance alone
    verdict: bool


def declined(now: tuple[int, int], before: tuple[int, int], confidence: float) -> Drift:
    """Compare successes out of episodes by Fisher's exact test, one-sided.

    Without episodes on either side nothing has declined.

    Args:
        now: successes and episodes.
        before: the same when the policy was taken into use, or of another policy.
        confidence: such as 0.95.
    """
    if not now[1] or not before[1]:
        return Drift(1.0, False)
    from scipy.stats import fisher_exact

    table = [[successes, episodes - successes] for successes, episodes in (now, before)]
    p_value = float(fisher_exact(table, alternative="less").pvalue)
    return Drift(p_value, p_value < 1 - confidence)
