"""Statistics: values worked out by hand, and the coverage that the intervals promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm4teach.analysis.statistics import (
    bootstrap_iqm_interval,
    bootstrap_mean_interval,
    declined,
    interquartile_mean,
    median,
    probability_of_improvement,
    wilson_interval,
)

EXACT = {"rel": 0, "abs": 1e-12}


def test_figures_of_earlier_releases_stay() -> None:
    """Values of the formulas and random draws that results were computed with before scipy."""
    assert wilson_interval(8, 10) == pytest.approx(
        (0.4901624715366418, 0.9433178485456247), **EXACT
    )
    assert wilson_interval(451, 500) == pytest.approx(
        (0.8727939491335183, 0.9250760811353937), **EXACT
    )
    seeds = [0.902, 0.914, 0.888, 0.93, 0.91]
    assert interquartile_mean(seeds) == pytest.approx(0.9086666666666666, **EXACT)
    assert bootstrap_mean_interval(seeds) == pytest.approx((0.8964, 0.9204), **EXACT)
    assert bootstrap_iqm_interval(seeds, resamples=2_000) == pytest.approx(
        (0.8926666666666666, 0.9246666666666666), **EXACT
    )
    eight = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.9]
    assert bootstrap_mean_interval(eight) == pytest.approx((0.2875, 0.6375), **EXACT)
    improvement = probability_of_improvement([[0.9, 0.8, 0.7]], [[0.6, 0.75, 0.85]])
    assert improvement.probability == pytest.approx(2 / 3, **EXACT)
    assert improvement.interval == pytest.approx((1 / 9, 1), **EXACT)
    drift = declined((250, 500), (300, 500), 0.95)
    assert drift.p_value == pytest.approx(0.0009135038235329013, **EXACT)
    assert drift.verdict


def test_fisher_by_hand() -> None:
    # 0 of 5 after 5 of 5: one of the C(10, 5) = 252 ways to spread five successes.
    assert declined((0, 5), (5, 5), 0.95).p_value == pytest.approx(1 / 252, **EXACT)
    # 3 of 4 after 4 of 4: four of the eight ways to place one failure.
    assert declined((3, 4), (4, 4), 0.95).p_value == pytest.approx(1 / 2, **EXACT)
    assert declined((0, 4), (0, 0), 0.95) == (declined((0, 0), (4, 4), 0.95))


def test_wilson_by_hand() -> None:
    # 8 of 10: p = 0.8, z² = 3.8415; (0.8 + 0.19207 ± 1.95996 * sqrt(0.016 + 0.0096036)) / 1.38415
    assert wilson_interval(8, 10) == pytest.approx((0.490162, 0.943318), abs=1e-5)
    # All of n: low is n / (n + z²), high is 1.
    assert wilson_interval(10, 10) == pytest.approx((10 / 13.841459, 1.0), abs=1e-6)
    assert wilson_interval(0, 10) == pytest.approx((0.0, 3.841459 / 13.841459), abs=1e-6)
    assert wilson_interval(0, 0) == (0.0, 1.0)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_rate_and_mirrors(case: tuple[int, int]) -> None:
    k, n = case
    low, high = wilson_interval(k, n)
    assert 0 <= low <= k / n <= high <= 1
    assert wilson_interval(n - k, n) == pytest.approx((1 - high, 1 - low), abs=1e-12)


@pytest.mark.parametrize(("k", "n"), [(3, 2), (-1, 2), (0, -1)])
def test_wilson_refuses(k: int, n: int) -> None:
    with pytest.raises(ValueError, match="successes"):
        wilson_interval(k, n)


@pytest.mark.parametrize("rate", [0.05, 0.5, 0.93])
def test_wilson_covers(rate: float) -> None:
    counts, n = np.unique(
        np.random.default_rng(0).binomial(100, rate, size=4_000), return_counts=True
    )
    hits = [low <= rate <= high for low, high in (wilson_interval(int(k), 100) for k in counts)]
    assert 0.93 <= np.average(hits, weights=n) <= 0.975


def test_bootstrap_covers() -> None:
    rng, hits = np.random.default_rng(0), []
    for i in range(400):
        low, high = bootstrap_mean_interval(rng.exponential(2.0, 100), seed=i, resamples=1_000)
        hits.append(low <= 2.0 <= high)
    assert 0.90 <= np.mean(hits) <= 0.98


def test_bootstrap_is_near_the_normal_interval_and_seeded() -> None:
    x = np.random.default_rng(3).normal(10, 2, 400)
    half = 1.96 * x.std() / 20
    assert bootstrap_mean_interval(x) == pytest.approx((x.mean() - half, x.mean() + half), abs=0.02)
    assert bootstrap_mean_interval(x) == bootstrap_mean_interval(x)
    assert bootstrap_mean_interval(x, seed=1) != bootstrap_mean_interval(x)


def test_bootstrap_in_blocks_is_the_plain_one() -> None:
    """Blocks are for memory only; the plain version draws everything at once."""
    x = np.random.default_rng(0).normal(size=1_000)
    plain = x[np.random.default_rng(0).integers(1_000, size=(4_000, 1_000))].mean(axis=1)
    blocks = bootstrap_mean_interval(x, resamples=4_000)
    assert blocks == pytest.approx(tuple(np.quantile(plain, [0.025, 0.975])), **EXACT)


def test_bootstrap_of_the_iqm_by_hand() -> None:
    # Of n = 4 one is cut at either end. Draws from 0 0 0 1 hold k ones, k ~ Binomial(4, 1/4); their
    # IQM is 0 for k < 2, 1/2 for k = 2, and 1 for k > 2, which has probability 13/256 = 5.1%.
    assert bootstrap_iqm_interval([0, 0, 0, 1]) == (0.0, 1.0)
    # Of 0 ×7 and 1, k ~ Binomial(8, 1/8): the IQM is (k - 2) / 4 for 2 <= k <= 6. P(k >= 4) = 1.1%
    # and P(k >= 3) = 6.7%, so that the 97.5% quantile is that of k = 3.
    assert bootstrap_iqm_interval([0] * 7 + [1]) == (0.0, 0.25)
    # Nothing is cut of two: the mean is 0, 1/2 or 1, the ends with 1/4 each.
    assert bootstrap_iqm_interval([0, 1]) == (0.0, 1.0)
    assert bootstrap_iqm_interval([0.5]) == (0.5, 0.5)


@pytest.mark.parametrize("n", [1, 3, 5, 8, 13])
def test_bootstrap_of_the_iqm_is_the_slow_one(n: int) -> None:
    x = np.random.default_rng(n).normal(size=n)
    draws = x[np.random.default_rng(4).integers(n, size=(300, n))]
    slow = [interquartile_mean(draw) for draw in draws]
    fast = bootstrap_iqm_interval(x, seed=4, resamples=300)
    assert fast == pytest.approx(tuple(np.quantile(slow, [0.025, 0.975])))


def test_one_value_and_bad_values() -> None:
    assert bootstrap_mean_interval([3.0]) == (3.0, 3.0)
    for bad in ([], [1.0, float("nan")]):
        for statistic in (
            bootstrap_mean_interval,
            bootstrap_iqm_interval,
            interquartile_mean,
            median,
        ):
            with pytest.raises(ValueError, match="finite"):
                statistic(bad)


def test_iqm_and_median_by_hand() -> None:
    assert interquartile_mean([1, 2, 3, 100]) == 2.5  # 1 and 100 are cut
    assert interquartile_mean([7, 1, 2, 3, 4, 5, 6, 1000]) == 4.5  # 3 4 5 6 stay
    assert interquartile_mean([1, 9]) == 5.0  # too few to cut
    assert median([5, 1, 100]) == 5
    assert median([1, 2, 3, 100]) == 2.5


def test_probability_of_improvement_by_hand() -> None:
    """Of the pairs of (3, 1) and (2, 1, 0): 3 beats all three, 1 beats 0 and ties with 1."""
    found = probability_of_improvement([[3, 1]], [[2, 1, 0]])
    assert found.probability == pytest.approx((3 + 1.5) / 6)
    assert 0 <= found.interval.low < found.probability < found.interval.high <= 1
    two = probability_of_improvement([[3, 1], [0.0]], [[2, 1, 0], [1.0, 0.0]])
    assert two.probability == pytest.approx((4.5 / 6 + 0.25) / 2), "tasks count alike"


def test_probability_of_improvement_at_its_ends() -> None:
    assert probability_of_improvement([[2, 3]], [[0, 1]]) == (1, (1, 1))
    assert probability_of_improvement([[0, 1]], [[2, 3]]) == (0, (0, 0))
    assert probability_of_improvement([[1, 1]], [[1, 1]]).probability == 0.5


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=6),
    st.lists(st.integers(0, 5), min_size=1, max_size=6),
)
@settings(max_examples=30, deadline=None)
def test_probability_of_improvement_is_antisymmetric(a: list[int], b: list[int]) -> None:
    ours = probability_of_improvement([a], [b], resamples=100)
    theirs = probability_of_improvement([b], [a], resamples=100)
    assert ours.probability + theirs.probability == pytest.approx(1)
    slow = [1.0 if x > y else 0.5 if x == y else 0.0 for x in a for y in b]
    assert ours.probability == pytest.approx(sum(slow) / len(slow))


def test_probability_of_improvement_needs_the_same_tasks() -> None:
    with pytest.raises(ValueError, match="1 and on 2 tasks"):
        probability_of_improvement([[1]], [[1], [1]])
    with pytest.raises(ValueError, match="at least one value"):
        probability_of_improvement([[]], [[1]])
