"""Episode seeds: training, development and both test sets have none in common."""

from __future__ import annotations

from typing import get_args

import pytest

from llm4teach.envs.seeds import (
    HELD_OUT_START,
    TEST_2_START,
    VALIDATION_START,
    EpisodeSet,
    episode_seeds,
    training_seeds,
)


def test_training_seeds_are_below_all_others() -> None:
    stream = training_seeds(7, "collect")
    seeds = [next(stream) for _ in range(1000)]
    assert max(seeds) < HELD_OUT_START and len(set(seeds)) > 990
    assert next(training_seeds(7, "collect", start=10)) == seeds[10]
    assert next(training_seeds(7, "finetune")) != seeds[0]


def test_development_and_test_seeds_are_disjoint_to_the_last() -> None:
    sizes = {"test": 1 << 28, "test-2": 1 << 28, "development": 1 << 29}
    assert set(sizes) == set(get_args(EpisodeSet))
    first = {kind: episode_seeds(kind, 1)[0] for kind in sizes}
    last = {kind: episode_seeds(kind, 1, start=size - 1)[0] for kind, size in sizes.items()}
    assert HELD_OUT_START == first["test"] <= last["test"] < first["test-2"] == TEST_2_START
    assert last["test-2"] < first["development"] == VALIDATION_START
    assert last["development"] == (1 << 31) - 1, "the largest seed that environments take"
    for kind, size in sizes.items():
        with pytest.raises(ValueError, match=f"{size + 1} {kind} seeds were asked for"):
            episode_seeds(kind, 1, start=size)  # it would be one of the next set


def test_a_set_keeps_its_seeds_for_ever() -> None:
    """Stored results name the set only: what a name means must never change."""
    assert episode_seeds("test", 2) == [1 << 30, (1 << 30) + 1]
    assert episode_seeds("development", 2, start=5) == [(3 << 29) + 5, (3 << 29) + 6]
    assert episode_seeds("test-2", 1) == [5 << 28]
    with pytest.raises(ValueError, match="no episodes 'test-3'"):
        episode_seeds("test-3", 1)  # type: ignore[arg-type]
