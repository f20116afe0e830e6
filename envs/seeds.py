"""Episode seeds: training and held-out ones are disjoint by construction."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

HELD_OUT_START = 1 << 30  # training seeds lie below, held-out seeds from here on


def training_seeds(run_seed: int, stream: str, start: int = 0) -> Iterator[int]:
    """Endless seeds below `HELD_OUT_START`, determined by run seed, stream name and position."""
    entropy = (run_seed, *stream.encode())
    for position in itertools.count(start):
        word = np.random.SeedSequence((*entropy, position)).generate_state(1)[0]
        yield int(word) % HELD_OUT_START


def held_out_seeds(count: int, start: int = 0) -> list[int]:
    """The first ``count`` evaluation seeds; the same for every run, so that runs compare."""
    return [HELD_OUT_START + i for i in range(start, start + count)]
