"""The paired test behind a promotion: hand-computed cases, its error rate, and the verdicts."""

from typing import Any

import numpy as np
import pytest

from llm4teach.analysis.statistics import compare_episodes, sign_flip_p_value


def episodes(returns: list[float]) -> list[dict[str, Any]]:
    return [{"seed": i, "return": r, "success": r > 0} for i, r in enumerate(returns)]


def verdict(ours: list[float], theirs: list[float], **options: Any) -> str:
    settings = {"confidence": 0.95, "margin": 0.02, "cheaper": False} | options
    return compare_episodes(episodes(ours), episodes(theirs), **settings).verdict


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
    assert verdict(champion, champion, cheaper=True) == "equal and cheaper"
    assert verdict(champion, better, cheaper=True) == "not better"
    noisy = list(np.array(champion) + rng.normal(0, 0.5, 200))
    assert verdict(noisy, champion, cheaper=True) == "not better", "equality has to be shown"


def test_what_is_reported() -> None:
    found = compare_episodes(
        episodes([1.0, 0.0, 0.5]),
        episodes([0.5, 0.0, 0.0]),
        confidence=0.95,
        margin=0,
        cheaper=True,
    )
    assert found.difference == pytest.approx(1 / 3)
    assert (found.challenger_success, found.champion_success) == pytest.approx((2 / 3, 1 / 3))
    assert found.as_json()["p_value"] == 0.25


def test_only_the_same_episodes_compare() -> None:
    with pytest.raises(ValueError, match="same episodes"):
        verdict([1.0, 0.5], [1.0])
    with pytest.raises(ValueError, match="finite"):
        sign_flip_p_value([float("nan")])
