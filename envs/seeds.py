"""Episode seeds: those of training, evaluation and validation are disjoint by construction."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

VALIDATION_START = 3 << 29  # from here on those of learning curves
HELD_OUT_START = 1 << 30  # training seeds lie below, held-out seeds from here on
_AT_ONCE = 256


def training_seeds(run_seed: int, stream: str, start: int = 0) -> Iterator[int]:
    """Endless seeds below `HELD_OUT_START`, determined by run seed, stream name and position.

    They are the first words of ``SeedSequence((run_seed, *stream, position))``, computed many at
    once: with a teacher that knows the way, an episode's seed took as long as its steps.
    """
    from llm4teach.envs.kernels.random_kernel import first_words

    entropy = np.array([*_words(run_seed), *stream.encode()], np.uint64)
    words = np.empty(_AT_ONCE, np.uint64)
    for position in itertools.count(start, _AT_ONCE):
        first_words(entropy, position, words)
        yield from (words % np.uint64(HELD_OUT_START)).tolist()


def _words(number: int) -> list[int]:
    """Return an integer's 32-bit words, the lowest first, as SeedSequence takes them.

    Raises:
        ValueError: it is negative.
    """
    if number < 0:
        raise ValueError(f"a seed is 0 or more; got {number}")
    return [number >> shift & 0xFFFFFFFF for shift in range(0, max(number.bit_length(), 1), 32)]


def held_out_seeds(count: int, start: int = 0) -> list[int]:
    """The first ``count`` evaluation seeds; the same for every run, so that runs compare."""
    return _block(HELD_OUT_START, count, start)


def validation_seeds(count: int) -> list[int]:
    """The first ``count`` seeds for watching a student learn; the same for every run."""
    return _block(VALIDATION_START, count)


def _block(first: int, count: int, start: int = 0) -> list[int]:
    there_are = VALIDATION_START - HELD_OUT_START  # of either kind
    if start + count > there_are:
        raise ValueError(f"{start + count} seeds were asked for; there are {there_are} of a kind")
    return [first + i for i in range(start, start + count)]
