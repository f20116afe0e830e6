"""The night's noise: numbers of ``jax.random.uniform``, for the worlds where it is dark alone.

JAX would draw it for all worlds that are compiled together, which takes a quarter of the game's
time. `jax.random.uniform`, with JAX's default settings, is the readable definition.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from llm4teach.envs.kernels.jit import compiled

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA
_SPARE_BITS, _ONE = 9, 0x3F800000  # 32 bits less a float's mantissa; the bits of 1.0


@compiled
def fill_uniform(key: NDArray[np.uint32], numbers: NDArray[np.float32]) -> None:
    """Write ``jax.random.uniform(key, numbers.shape)``, from 0 to 1, to ``numbers``.

    This is Threefry-2x32 of 20 rounds (Salmon et al. 2011), whose counters are the places of the
    numbers; the two words of each result are combined by xor.

    Args:
        key: uint32 (2,).
        numbers: float32 of one dimension.
    """
    schedule = key[0], key[1], np.uint32(key[0] ^ key[1] ^ _PARITY)
    first = np.full(len(numbers), schedule[0])
    second = np.arange(len(numbers)).astype(np.uint32) + schedule[1]
    second = second.astype(np.uint32)
    for group in range(5):
        for turn in _ROTATIONS[group % 2]:
            left, right = np.uint32(turn), np.uint32(32 - turn)
            for i in range(len(numbers)):
                first[i] += second[i]
                second[i] = (second[i] << left | second[i] >> right) ^ first[i]
        more = schedule[(group + 1) % 3]
        for i in range(len(numbers)):
            first[i] += more
        more = np.uint32(schedule[(group + 2) % 3] + group + 1)
        for i in range(len(numbers)):
            second[i] += more
    bits = (first ^ second) >> np.uint32(_SPARE_BITS) | np.uint32(_ONE)
    numbers[:] = bits.astype(np.uint32).view(np.float32) - np.float32(1)
