"""The paired test behind a promotion: hand-computed cases, its error rate, and the verdicts."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from llm4teach.analysis.statistics import (
    compare_episodes,
    not_lower_p_value,
    sign_flip_p_value,
)


def episodes(returns: list[float]) -> list[dict[str, Any]]:
    return [{"seed": i, "return": r, "success": r > 0} for i, r in enumerate(returns)]


def verdict(ours: list[float], theirs: list[float], **options: Any) -> str:
    values = {"confidence": 0.95, "margin": 0.02} | options
    return compare_episodes(episodes(ours), episodes(theirs), **values).verdict


def test_by_hand() -> None:
    """Of three equal differences one pattern of signs in eight is as good; ties say nothing."""
    assert sign_flip_p_value([0.5, 0.5, 0.5]) == pytest.approx(1 / 8)
    assert sign_flip_p_value([0.5, 0.0, 0.5, 0.0, 0.5]) == pytest.approx(1 / 8)
    # 1 + 2 - 3 = 0: of +-1 +-2 +-3 the sums 6, 4, 2, 0, 0 are at least 0
    assert sign_flip_p_value([1, 2, -3]) == pytest.approx(5 / 8)
    assert sign_flip_p_value([0.0, 0.0]) == 1


def test_many_pairs_agree_with_all_patterns() -> None:
    x = np.random.default_rng(3).normal(0.3, 1, 14)
    exact = sign_flip_p_value(x)
    padded = np.concatenate([x, [1e-12]])  # 15 pairs: drawn patterns, and nothing else changes
    assert sign_flip_p_value(padded) == pytest.approx(exact, abs=0.015)


def test_five_percent_of_equals_are_called_better() -> None:
    rng = np.random.default_rng(0)
    found = [sign_flip_p_value(rng.normal(0, 1, 40), flips=400) < 0.05 for _ in range(600)]
    assert 0.025 < np.mean(found) < 0.08


def test_who_takes_the_place() -> None:
    rng = np.random.default_rng(1)
    champion = list(rng.uniform(0.5, 0.9, 200))
    better = [r + 0.05 for r in champion]
    assert verdict(better, champion) == "better"
    assert verdict(champion, better) == "not better"
    assert verdict(champion, champion) == "not better"
    noisy = list(np.array(champion) + rng.normal(0, 0.5, 200))
    assert verdict(noisy, champion) == "not better", "that it is better has to be shown"
    failing = [0.0] * 8 + [r + 0.1 for r in champion[8:]]
    assert verdict(failing, champion) == "success may be lower", "faster, and 96% success"
    assert verdict(failing, champion, margin=0.1) == "better"
    assert verdict(better[:20], champion[:20]) == "success may be lower", "20 episodes say little"


def test_success_that_is_not_lower_by_hand() -> None:
    """Without a differing pair q is the margin: z = n m / sqrt(n m (1 - m)) = 3.194 for 500."""
    assert not_lower_p_value(0, 0, 500, 0.02) == pytest.approx(7.0065e-4, rel=1e-4)
    assert not_lower_p_value(0, 0, 16, 0.02) > 0.2
    mcnemar = 20 / 40**0.5  # (b - c) / sqrt(b + c)
    assert not_lower_p_value(30, 10, 500, 0) == pytest.approx(norm.sf(mcnemar))
    assert not_lower_p_value(0, 0, 500, 0) == 0.5, "equal is not higher"
    for wrong in ((1, 0, 0, 0.1), (3, 3, 5, 0.1), (-1, 0, 5, 0.1), (0, 0, 5, 1.0)):
        with pytest.raises(ValueError, match="pairs, margin"):
            not_lower_p_value(*wrong)


@settings(deadline=None)
@given(st.integers(0, 200), st.integers(0, 200), st.integers(1, 600), st.integers(0, 30))
def test_more_losses_never_speak_for_the_challenger(
    gained: int, lost: int, more: int, percent: int
) -> None:
    pairs, margin = gained + lost + more, percent / 100
    p_value = not_lower_p_value(gained, lost, pairs, margin)
    assert 0 <= p_value <= 1
    assert not_lower_p_value(gained, lost + 1, pairs, margin) >= p_value - 1e-9
    assert not_lower_p_value(gained, lost, pairs, min(0.99, margin + 0.01)) <= p_value + 1e-9


def test_a_loss_of_the_margin_passes_in_five_percent() -> None:
    rng = np.random.default_rng(0)
    for lost, gained in ((0.04, 0.02), (0.05, 0.03), (0.3, 0.28)):
        drawn = rng.multinomial(500, [gained, lost, 1 - gained - lost], 2_000)
        passed = [not_lower_p_value(int(b), int(c), 500, 0.02) < 0.05 for b, c, _ in drawn]
        assert 0.02 < np.mean(passed) < 0.07


def promotions(seed: int, draws: int, success: float) -> list[str]:
    """Verdicts on faster students of some success rate, against champions that have 99%."""
    rng, n, verdicts = np.random.default_rng(seed), 500, list[str]()
    for _ in range(draws):
        champion = np.where(rng.random(n) < 0.99, rng.normal(0.70, 0.1, n), 0)
        faster = np.where(rng.random(n) < success, rng.normal(0.74, 0.1, n), 0)
        verdicts.append(verdict(faster.tolist(), champion.tolist()))
    return verdicts


@pytest.mark.extended
def test_a_faster_student_that_fails_more_often_rarely_takes_the_place() -> None:
    """95% against 99% success, with returns that are higher by as much as the failures cost."""
    verdicts = promotions(seed=2, draws=150, success=0.95)
    better_return = np.mean([v != "not better" for v in verdicts])
    assert better_return > 0.25, "by the returns alone it often would"
    assert np.mean([v == "better" for v in verdicts]) < 0.02


@pytest.mark.extended
def test_a_faster_student_that_fails_no_more_often_takes_the_place() -> None:
    verdicts = promotions(seed=3, draws=60, success=0.99)
    assert np.mean([v == "better" for v in verdicts]) > 0.75


def test_what_is_reported() -> None:
    found = compare_episodes(
        episodes([1.0, 0.0, 0.5]),
        episodes([0.5, 0.0, 0.0]),
        confidence=0.95,
        margin=0,
    )
    assert found.difference == pytest.approx(1 / 3)
    assert (found.challenger_success, found.champion_success) == pytest.approx((2 / 3, 1 / 3))
    assert found.as_json()["p_value"] == 0.25


def test_only_the_same_episodes_compare() -> None:
    with pytest.raises(ValueError, match="same episodes"):
        verdict([1.0, 0.5], [1.0])
    with pytest.raises(ValueError, match="finite"):
        sign_flip_p_value([float("nan")])
