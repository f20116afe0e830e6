"""Seeding and bounded integers against numpy's own, bit for bit."""

import numpy as np
import pytest
from gymnasium.utils.seeding import np_random
from hypothesis import given, settings
from hypothesis import strategies as st

from llm4teach.envs.kernels.random_kernel import RNG_WORDS, first_words, integer, seed_rng
from llm4teach.envs.seeds import HELD_OUT_START, training_seeds

SEEDS = st.one_of(st.integers(0, 100), st.integers(0, 2**31), st.integers(0, 2**63 - 1))
SIZES = st.one_of(st.integers(1, 30), st.integers(1, 2**32 - 1))
LOWS = st.integers(-(2**31), 2**31)


@settings(max_examples=300, deadline=None)
@given(seed=SEEDS, ranges=st.lists(st.tuples(LOWS, SIZES), min_size=1, max_size=40))
def test_integers_are_those_of_gymnasiums_generator(
    seed: int, ranges: list[tuple[int, int]]
) -> None:
    rng = np.empty(RNG_WORDS, np.uint64)
    seed_rng(seed, rng)
    numpys, _ = np_random(seed)
    for low, size in ranges:
        assert integer(rng, low, low + size) == numpys.integers(low, low + size)


def test_a_range_that_rejects_often() -> None:
    """Just above half of 2**32 nearly every second word is drawn again."""
    rng, (numpys, _) = np.empty(RNG_WORDS, np.uint64), np_random(3)
    seed_rng(3, rng)
    for _ in range(2000):
        assert integer(rng, 0, 2**31 + 1) == numpys.integers(0, 2**31 + 1)


@settings(max_examples=100, deadline=None)
@given(entropy=st.lists(st.integers(0, 2**32 - 1), max_size=12), start=st.integers(0, 2**31))
def test_first_words_are_those_of_numpys_seed_sequence(entropy: list[int], start: int) -> None:
    words = np.empty(3, np.uint64)
    first_words(np.array(entropy, np.uint64), start, words)
    sequences = [np.random.SeedSequence((*entropy, start + i)) for i in range(3)]
    assert words.tolist() == [int(s.generate_state(1)[0]) for s in sequences]


@pytest.mark.parametrize("run_seed", [0, 7, 2**32 - 1, 2**32, 2**70 + 5])
def test_training_seeds_are_as_they_were_before_they_were_compiled(run_seed: int) -> None:
    stream = training_seeds(run_seed, "collect", start=250)
    for position in range(250, 850):
        sequence = np.random.SeedSequence((run_seed, *b"collect", position))
        assert next(stream) == int(sequence.generate_state(1)[0]) % HELD_OUT_START


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="0 or more; got -3"):
        next(training_seeds(-3, "collect"))
