"""Whether a policy succeeds less often than it once did."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb


@dataclass(frozen=True)
class Drift:
    """What a comparison of two success rates says."""

    p_value: float  # one-sided: so much worse, or more, by chance alone
    verdict: bool


def declined(now: tuple[int, int], then: tuple[int, int], confidence: float) -> Drift:
    """Compare successes out of episodes, by Fisher's exact test, one-sided.

    Nothing is said of a policy of which nothing was known before.

    Args:
        now: successes and episodes.
        then: the same when it was taken into use.
        confidence: such as 0.95.
    """
    (k, n), (k_before, n_before) = now, then
    if not n or not n_before:
        return Drift(1.0, False)
    total, successes = n + n_before, k + k_before
    ways = sum(
        comb(successes, i) * comb(total - successes, n - i)
        for i in range(max(0, n - (total - successes)), k + 1)
    )
    p_value = ways / comb(total, n)
    return Drift(p_value, p_value < 1 - confidence)
