"""Steps to a success rate that holds, and their ratios, worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from llm4teach.analysis.comparisons.crossings import first_held, steps_ratio, steps_to
from llm4teach.analysis.statistics import paired_bootstrap_interval


def test_a_crossing_counts_if_the_next_point_holds_it() -> None:
    curve = {0: 0.0, 300: 0.6, 100: 0.5, 200: 0.4, 400: 0.5}  # in no order
    assert first_held(curve, 0.5, None) == 300, "100 is followed by 40%"
    assert first_held(curve, 0.4, None) == 100, "at the rate is enough"
    assert first_held(curve, 0.6, None) is None, "300 is followed by 50%"
    assert first_held(curve, 0.0, None) == 0
    late = {0: 0.0, 400: 0.97}
    assert first_held(late, 0.95, None) is None, "nothing confirms the last point"
    assert first_held(late, 0.95, 0.96) == 400
    assert first_held(late, 0.95, 0.94) is None
    assert first_held({}, 0.5, 0.9) is None


def test_a_student_that_stays_below_a_rate_hardly_ever_reaches_it() -> None:
    """It stays at 85%; 20 points of 200 episodes; a crossing of 95% has to hold at the next."""
    rng = np.random.default_rng(0)
    rates = rng.binomial(200, 0.85, (1000, 21)) / 200  # the last column confirms the last point
    reached = [
        first_held(dict(enumerate(row[:-1].tolist())), 0.95, float(row[-1])) for row in rates
    ]
    assert all(steps is None for steps in reached)


def test_steps_over_few_seeds_have_a_range() -> None:
    found = steps_to(0.5, [300, 100, 200], [3.0, 1.0, 2.0])
    assert (found.median, found.interval, found.reached, found.cpu_s) == (200, (100, 300), 3, 2.0)
    one_never = steps_to(0.5, [300, None, 200], [3.0, None, 2.0])
    assert (one_never.median, one_never.interval) == (300, (200, None)), "never is beyond 300"
    assert one_never.reached == 2 and one_never.cpu_s is None
    two_never = steps_to(0.5, [300, None, None], [3.0, None, None])
    assert (two_never.median, two_never.interval) == (None, (300, None))
    half = steps_to(0.5, [100, None], [1.0, None])
    assert half.median is None, "halfway to beyond the budget is beyond it"


def test_steps_over_five_seeds_have_a_bootstrap_interval() -> None:
    found = steps_to(0.5, [100, 200, 300, 400, None], [None] * 5)
    assert found.median == 300 and found.interval[0] is not None
    assert found.interval[0] < 300 and found.interval[1] is None
    assert steps_to(0.5, [200] * 5, [None] * 5).interval == (200, 200)


def test_ratios_of_steps() -> None:
    ratio = steps_ratio(0.5, [100, 200, 400], [400, 400, 400])
    assert (ratio.with_llm, ratio.without_llm, ratio.ratio) == (200, 400, 2.0)
    assert ratio.interval == (1.0, 4.0), "of 4, 2 and 1: seeds are paired"
    never_without = steps_ratio(0.5, [100, 200, 400], [None, None, 400])
    assert never_without.is_known and never_without.ratio is None
    assert never_without.interval == (1.0, None)
    never_with = steps_ratio(0.5, [None, None, None], [100, 200, 300])
    assert never_with.is_known and (never_with.ratio, never_with.interval) == (0.0, (0.0, 0.0))
    neither = steps_ratio(0.5, [None] * 3, [None] * 3)
    assert not neither.is_known and neither.interval == (0.0, None), "nothing is known"
    assert steps_ratio(0.5, [0, 0, 0], [0, 0, 0]).ratio == 1.0, "both are there from the start"
    assert steps_ratio(0.5, [0, 0, 0], [50, 50, 50]).ratio is None


def test_ratios_over_five_seeds() -> None:
    ours, theirs = [100, 110, 120, 130, 140], [200, 220, 240, 260, 280]
    paired = steps_ratio(0.5, ours, theirs)
    assert (paired.ratio, paired.interval) == (2.0, (2.0, 2.0)), "drawn together, all are twice"
    mixed = steps_ratio(0.5, ours, [*theirs[:3], None, None])
    assert mixed.ratio == 2.0 and mixed.interval[1] is None


def test_the_paired_bootstrap_never_interpolates() -> None:
    interval = paired_bootstrap_interval([[1.0, math.inf]], lambda x: x[0].max(-1))
    assert interval == (1.0, math.inf)
    same = paired_bootstrap_interval(
        [[1.0, 2.0, 4.0], [2.0, 3.0, 5.0]], lambda x: (x[1] - x[0]).mean(-1)
    )
    assert same == pytest.approx((1.0, 1.0)), "columns stay together"
