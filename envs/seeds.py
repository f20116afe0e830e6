"""Episode seeds: those of training, evaluation and validation are disjoint by construction."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

VALIDATION_START = 3 << 29  # from here on those of learning curves
HELD_OUT_START = 1 << 30  # training seeds lie below, held-out seeds from here on


def training_seeds(run_seed: int, stream: str, start: int = 0) -> Iterator[int]:
    """Endless seeds below `HELD_OUT_START`, determined by run seed, stream name and position."""
    entropy = (run_seed, *stream.encode())
    for position in itertools.count(start):
        word = np.random.SeedSequence((*entropy, position)).generate_state(1)[0]
        yield int(word) % HELD_OUT_START


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
