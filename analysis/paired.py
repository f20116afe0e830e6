"""Paired comparison of two policies that played the same episodes, and what follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llm4teach.analysis.statistics import Interval, bootstrap_mean_interval

Verdict = Literal["better", "equal and cheaper", "not better"]
_FLIPS = 20_000


@dataclass(frozen=True)
class Comparison:
    """How a challenger did beside the champion on the same episodes."""

    episodes: int
    challenger_return: float  # means of undiscounted returns
    champion_return: float
    challenger_success: float  # rates
    champion_success: float
    difference: float  # of the mean returns
    interval: Interval  # 95%, of that difference, by the bootstrap over episodes
    p_value: float  # one-sided: so much better, or more, by chance alone
    verdict: Verdict

    def as_json(self) -> dict[str, Any]:
        """Plain JSON, rounded to what it can mean."""
        found = asdict(self)
        found["interval"] = [round(x, 4) for x in self.interval]
        return {k: round(v, 5) if isinstance(v, float) else v for k, v in found.items()}


def compare_episodes(
    challenger: Sequence[dict[str, Any]],
    champion: Sequence[dict[str, Any]],
    *,
    confidence: float,
    margin: float,
    cheaper: bool,
) -> Comparison:
    """Say whether the challenger should take the champion's place.

    "Better": the one-sided sign-flip test of the paired returns is significant at ``confidence``.
    "Equal and cheaper": it is ``cheaper``, and the 95% interval of the difference lies above
    ``-margin``.

    Args:
        challenger: its episodes, with ``seed``, ``return`` and ``success``.
        champion: the same seeds' episodes.
        confidence: such as 0.95.
        margin: loss of mean return that does not matter.
        cheaper: whether the challenger costs less to run.

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
    verdict: Verdict = "not better"
    if p_value < 1 - confidence:
        verdict = "better"
    elif cheaper and interval.low > -margin:
        verdict = "equal and cheaper"
    return Comparison(
        episodes=len(ours),
        challenger_return=float(returns[:, 0].mean()),
        champion_return=float(returns[:, 1].mean()),
        challenger_success=float(np.mean([e["success"] for e in ours])),
        champion_success=float(np.mean([e["success"] for e in theirs])),
        difference=float(differences.mean()),
        interval=interval,
        p_value=p_value,
        verdict=verdict,
    )


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
