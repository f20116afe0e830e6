"""Calibration and agreement, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from llm4teach.analysis.teachers.calibration import (
    Forecast,
    agreement,
    auc,
    calibration,
    entropy,
    jensen_shannon,
    judge,
    reliability,
)


def test_judge_by_hand() -> None:
    advice = {"x": 0.7, "y": 0.2, "z": 0.1}
    right = judge(advice, {"x"})
    assert (right.confidence, right.right) == (0.7, True)
    assert right.brier == pytest.approx(0.3**2 + 0.2**2 + 0.1**2)
    wrong = judge(advice, {"z"})
    assert not wrong.right and wrong.brier == pytest.approx(0.7**2 + 0.2**2 + 0.9**2)
    either = judge(advice, {"y", "z"})
    assert not either.right and either.brier == pytest.approx(0.7**2 + 0.8**2 + 0.1**2)
    unnamed = judge({"x": 1.0}, {"w"})  # the best was not even named: the worst there is
    assert unnamed.brier == 2 and unnamed.entropy == 0
    assert judge({"x": 0.5, "y": 0.5}, {"x"}).right is False, "of two first choices the last counts"
    with pytest.raises(ValueError, match="at least one best plan"):
        judge(advice, set())


def forecast(confidence: float, right: bool, nats: float = 0.0) -> Forecast:
    return Forecast(confidence, right, (1 - confidence) ** 2, nats)


def test_calibration_error_by_hand() -> None:
    forecasts = [
        *[forecast(0.95, right) for right in (True, True, True, False)],
        *[forecast(0.55, right) for right in (True, False)],
    ]
    found = calibration(forecasts)
    assert found is not None
    assert found.error == pytest.approx(4 / 6 * abs(0.75 - 0.95) + 2 / 6 * abs(0.5 - 0.55))
    assert found.accuracy == pytest.approx(4 / 6) and found.n == 6
    assert found.confidence == pytest.approx((4 * 0.95 + 2 * 0.55) / 6)
    assert found.brier == pytest.approx((4 * 0.05**2 + 2 * 0.45**2) / 6)
    assert [(b.low, b.high, b.n, b.accuracy) for b in found.bins] == [
        (0.5, 0.6, 2, 0.5),
        (0.9, 1.0, 4, 0.75),
    ]
    assert found.interval.low < 4 / 6 < found.interval.high
    assert calibration([]) is None


@pytest.mark.extended
def test_a_calibrated_teacher_has_a_small_error() -> None:
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.2, 1, 20_000)
    honest = [forecast(c, bool(rng.random() < c)) for c in sure]
    boaster = [forecast(c, bool(rng.random() < c - 0.2)) for c in sure]
    found, boasting = calibration(honest), calibration(boaster)
    assert found and boasting and found.error < 0.02
    assert boasting.error == pytest.approx(0.2, abs=0.02)


def test_edges_of_bins_belong_to_the_bin_below() -> None:
    found = reliability([forecast(c, True) for c in (0.1, 0.3, 0.30001, 1.0, 0.0)])
    assert [(round(b.high, 1), b.n) for b in found] == [(0.1, 2), (0.3, 1), (0.4, 1), (1.0, 1)]


def test_entropy_against_correctness() -> None:
    found = calibration(
        [forecast(0.9, True, 0.1), forecast(0.9, True, 0.5), forecast(0.5, False, 0.5)]
    )
    assert found is not None
    assert (found.entropy_right, found.entropy_wrong) == (pytest.approx(0.3), 0.5)
    assert found.entropy_auc == 0.75  # one of two pairs is won, the other is a tie
    assert auc([], [1.0]) is None and auc([2, 3], [1]) == 1 and auc([1], [2]) == 0


def test_divergence_and_agreement_by_hand() -> None:
    assert entropy({"x": 0.5, "y": 0.5}) == pytest.approx(math.log(2))
    assert jensen_shannon({"x": 1.0}, {"y": 1.0}) == pytest.approx(math.log(2))
    p, q = {"x": 0.5, "y": 0.5}, {"x": 0.75, "y": 0.25}
    kl = 0.25 * math.log(0.5 / 0.625) + 0.25 * math.log(0.5 / 0.375)
    kl += 0.375 * math.log(0.75 / 0.625) + 0.125 * math.log(0.25 / 0.375)
    assert jensen_shannon(p, q) == pytest.approx(kl)
    a = {"s": p, "t": {"x": 1.0}, "silent": {}, "alone": p}
    b = {"s": q, "t": {"y": 1.0}, "silent": p}
    found = agreement(a, b)
    assert found is not None and (found.states, found.same_choice) == (2, 0.5)
    assert found.divergence == pytest.approx((kl + math.log(2)) / 2)
    assert agreement(a, {}) is None
