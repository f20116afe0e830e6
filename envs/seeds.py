"""Episode seeds: those of training, development and both test sets are disjoint by construction.

| seeds | what they are for |
| --- | --- |
| from 0 | training |
| from `HELD_OUT_START` | ``test``: earlier tables; docs/LOG.md made choices on them |
| from `TEST_2_START` | ``test-2``: final tables; no choice is ever made on them |
| from `VALIDATION_START`, below 2^31 | ``development``: learning curves, tuning, prompts |

A set keeps its name and its seeds for ever, so stored results keep their meaning. Once choices have
been made on a test set, the next one gets a new name.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Literal

EpisodeSet = Literal["test-2", "test", "development"]  # of episodes that no training uses

VALIDATION_START = 3 << 29  # from here on those of learning curves
TEST_2_START = 5 << 28  # from here on those of final tables
HELD_OUT_START = 1 << 30  # training seeds lie below, held-out seeds from here on
_AT_ONCE = 256


def training_seeds(run_seed: int, stream: str, start: int = 0) -> Iterator[int]:
    """Endless seeds below `HELD_OUT_START`, determined by run seed, stream name and position.

    They are the first words of ``SeedSequence((run_seed, *stream, position))``, computed many at
    once: with a teacher that knows the way, an episode's seed took as long as its steps.
    """
    import numpy as np  # settings import this module, and --help has no use for numpy

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


def episode_seeds(kind: EpisodeSet, count: int, start: int = 0) -> list[int]:
    """Return seeds ``start`` to ``start + count`` of a set; the same for every run.

    Raises:
        ValueError: there are not so many, or no such set.
    """
    limits = {
        "test": (HELD_OUT_START, TEST_2_START),
        "test-2": (TEST_2_START, VALIDATION_START),
        "development": (VALIDATION_START, 1 << 31),
    }
    if kind not in limits:
        raise ValueError(f"there are no episodes {kind!r}; choose one of {', '.join(limits)}")
    first, end = limits[kind]
    if start + count > end - first:
        raise ValueError(
            f"{start + count} {kind} seeds were asked for; there are {end - first} of them"
        )
    return list(range(first + start, first + start + count))
