"""numpy's seeding and bounded integers, bit for bit: SeedSequence, PCG64, Generator.integers.

So that a level drawn here is the one that gymnasium's generator draws from the same seed. PCG64 is
a 128-bit congruential generator with a permuted output (O'Neill 2014, HMC-CS-2014-0905); bounded
integers take the high half of a 64-bit product (Lemire 2019, arXiv 1805.10941) of 32-bit words,
two from each output, the low one first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from llm4teach.envs.kernels.jit import compiled

POOL_WORDS = 4  # of SeedSequence's entropy pool
RNG_WORDS = (
    6  # uint64: state high, low, increment high, low, kept 32-bit word, whether there is one
)
_LOW32 = np.uint64(0xFFFFFFFF)
_ZERO, _ONE, _16, _32, _58, _63, _64 = (np.uint64(i) for i in (0, 1, 16, 32, 58, 63, 64))
_MULTIPLIER_HIGH = np.uint64(0x2360ED051FC65DA4)
_MULTIPLIER_LOW = np.uint64(0x4385DF649FCCF645)
_HASH_START, _HASH_FACTOR = np.uint64(0x43B0D7E5), np.uint64(0x931E8875)
_OUT_START, _OUT_FACTOR = np.uint64(0x8B51F9DD), np.uint64(0x58F38DED)
_MIX_LEFT, _MIX_RIGHT = np.uint64(0xCA01F9DD), np.uint64(0x4973F715)


@compiled
def _hashed(word: np.uint64, factor: np.uint64, following: np.uint64) -> np.uint64:
    word = ((word ^ factor) * following) & _LOW32
    return word ^ (word >> _16)


@compiled
def _mixed(left: np.uint64, right: np.uint64) -> np.uint64:
    word = (_MIX_LEFT * left - _MIX_RIGHT * right) & _LOW32
    return word ^ (word >> _16)


@compiled
def seed_pool(entropy: NDArray[np.uint64], pool: NDArray[np.uint64]) -> None:
    """Fill SeedSequence's pool, uint64 (4,), from 32-bit words of entropy, uint64 (n,)."""
    factor = _HASH_START
    for i in range(POOL_WORDS):
        following = (factor * _HASH_FACTOR) & _LOW32
        pool[i] = _hashed(entropy[i] if i < len(entropy) else _ZERO, factor, following)
        factor = following
    for source in range(max(POOL_WORDS, len(entropy))):
        for i in range(POOL_WORDS):
            if i == source:
                continue
            word = pool[source] if source < POOL_WORDS else entropy[source]
            following = (factor * _HASH_FACTOR) & _LOW32
            pool[i] = _mixed(pool[i], _hashed(word, factor, following))
            factor = following


@compiled
def seed_words(pool: NDArray[np.uint64], words: NDArray[np.uint64]) -> None:
    """SeedSequence.generate_state: fill ``words`` with 32-bit words, uint64 (n,)."""
    factor = _OUT_START
    for i in range(len(words)):
        following = (factor * _OUT_FACTOR) & _LOW32
        words[i] = _hashed(pool[i % POOL_WORDS], factor, following)
        factor = following


@compiled
def first_words(entropy: NDArray[np.uint64], start: int, out: NDArray[np.uint64]) -> None:
    """First 32-bit word of SeedSequence((*entropy, position)) for positions from ``start``."""
    longer = np.empty(len(entropy) + 1, np.uint64)
    longer[:-1] = entropy
    pool = np.empty(POOL_WORDS, np.uint64)
    for i in range(len(out)):
        longer[-1] = np.uint64(start + i)
        seed_pool(longer, pool)
        seed_words(pool, out[i : i + 1])


@compiled
def _product_high(a: np.uint64, b: np.uint64) -> np.uint64:
    """High 64 bits of a 128-bit product."""
    low = (a & _LOW32) * (b & _LOW32)
    middle = (a >> _32) * (b & _LOW32) + (low >> _32)
    other = (a & _LOW32) * (b >> _32) + (middle & _LOW32)
    return (a >> _32) * (b >> _32) + (middle >> _32) + (other >> _32)


@compiled
def _advance(rng: NDArray[np.uint64]) -> None:
    high, low = rng[0], rng[1]
    high = _product_high(low, _MULTIPLIER_LOW) + high * _MULTIPLIER_LOW + low * _MULTIPLIER_HIGH
    low = low * _MULTIPLIER_LOW
    total = low + rng[3]
    rng[0] = high + rng[2] + (_ONE if total < low else _ZERO)
    rng[1] = total


@compiled
def seed_rng(seed: int, rng: NDArray[np.uint64]) -> None:
    """Fill ``rng``, uint64 (6,), as ``Generator(PCG64(SeedSequence(seed)))``; 0 <= seed < 2**63."""
    high = np.uint64(seed) >> _32
    entropy = np.empty(2 if high else 1, np.uint64)
    entropy[0] = np.uint64(seed) & _LOW32
    if high:
        entropy[1] = high
    pool, words = np.empty(POOL_WORDS, np.uint64), np.empty(8, np.uint64)
    seed_pool(entropy, pool)
    seed_words(pool, words)
    state_high, state_low = words[0] | words[1] << _32, words[2] | words[3] << _32
    stream_high, stream_low = words[4] | words[5] << _32, words[6] | words[7] << _32
    rng[0] = rng[1] = rng[4] = rng[5] = _ZERO
    rng[2] = stream_high << _ONE | stream_low >> _63
    rng[3] = stream_low << _ONE | _ONE
    _advance(rng)
    total = rng[1] + state_low
    rng[0] = rng[0] + state_high + (_ONE if total < state_low else _ZERO)
    rng[1] = total
    _advance(rng)


@compiled
def _next32(rng: NDArray[np.uint64]) -> np.uint64:
    if rng[5]:
        rng[5] = _ZERO
        return rng[4]  # type: ignore[no-any-return]
    _advance(rng)
    turn, mixed = rng[0] >> _58, rng[0] ^ rng[1]
    word = mixed >> turn | mixed << ((_64 - turn) & _63)
    rng[4], rng[5] = word >> _32, _ONE
    return word & _LOW32  # type: ignore[no-any-return]


@compiled
def integer(rng: NDArray[np.uint64], low: int, high: int) -> int:
    """Generator.integers(low, high), for ranges below 2**32."""
    choices = np.uint64(high - low)
    if choices <= _ONE:
        return low  # numpy draws nothing where there is no choice
    product = _next32(rng) * choices
    if product & _LOW32 < choices:
        threshold = (_LOW32 + _ONE - choices) % choices
        while product & _LOW32 < threshold:
            product = _next32(rng) * choices
    return low + np.int64(product >> _32)  # type: ignore[return-value]
