"""An index over millions of state keys: which are known, and which part holds each."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

KeyCodes = NDArray[np.uint64]
_HEX_KEY = re.compile(r"[0-9a-f]{16}")
_NO_DIGIT = 255
_DIGITS = np.full(256, _NO_DIGIT, np.uint8)  # value of each ASCII hex digit
_DIGITS[list(b"0123456789abcdef")] = np.arange(16)


def key_codes(keys: Sequence[str] | pa.Array | pa.ChunkedArray) -> KeyCodes:
    """Return each key as a 64-bit number, uint64 (N,).

    A state key is a 64-bit hash in hex already, so nothing is lost; other strings are hashed.
    """
    array: Any = keys
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
        if isinstance(array, pa.ChunkedArray):  # what pyarrow returns where there are no rows
            return np.empty(0, np.uint64)
    elif not isinstance(array, pa.Array):
        array = pa.array(array, pa.string())
    if not len(array):
        return np.empty(0, np.uint64)
    _, offset_buffer, data = array.buffers()
    offsets = np.frombuffer(offset_buffer, np.int32)[array.offset : array.offset + len(array) + 1]
    if (np.diff(offsets) == 16).all():
        raw = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]].reshape(-1, 16)  # (N, 16)
        digits = _DIGITS[raw]  # (N, 16)
        if digits.max() != _NO_DIGIT:
            octets = digits[:, ::2] << 4 | digits[:, 1::2]  # (N, 8), most significant first
            codes: KeyCodes = octets.view(">u8").reshape(-1).astype(np.uint64)  # (N,)
            return codes
    return np.array([_code(key) for key in array.to_pylist()], np.uint64)


def _code(key: str) -> int:
    if _HEX_KEY.fullmatch(key):
        return int(key, 16)
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big")


class KeyIndex:
    """Keys and the place of each, 12 bytes a key; it only grows.

    Sorted runs, of which each is at least twice as long as the next: a key is found by a few
    binary searches, and many small additions cost as little as a few large ones.
    """

    def __init__(self) -> None:
        self._runs: list[tuple[KeyCodes, NDArray[np.int32]]] = []

    def __len__(self) -> int:
        return sum(len(codes) for codes, _ in self._runs)

    def add(self, codes: KeyCodes, places: NDArray[np.int32]) -> None:
        """Add keys, uint64 (N,), with a place each, int32 (N,)."""
        if not len(codes):
            return
        self._runs.append(_sorted(codes, places))
        while len(self._runs) > 1 and len(self._runs[-2][0]) < 2 * len(self._runs[-1][0]):
            newer, older = self._runs.pop(), self._runs.pop()
            merged_codes = np.concatenate([older[0], newer[0]])
            self._runs.append(_sorted(merged_codes, np.concatenate([older[1], newer[1]])))

    def contains(self, codes: KeyCodes) -> NDArray[np.bool_]:
        """Whether each key is known, bool (N,)."""
        order = codes.argsort()  # (N,); neighbours are found near each other, and so quickly
        wanted = codes[order]
        hit = np.zeros(len(codes), np.bool_)
        for known, _ in self._runs:
            at = np.minimum(known.searchsorted(wanted), len(known) - 1)  # (N,)
            hit |= known[at] == wanted
        found = np.empty_like(hit)
        found[order] = hit
        return found

    def places(self, codes: KeyCodes) -> list[int]:
        """Every place that has one of the keys, in increasing order."""
        found: set[int] = set()
        for known, places in self._runs:
            first = known.searchsorted(codes, "left")  # (N,)
            last = known.searchsorted(codes, "right")  # (N,)
            for start, stop in zip(first, last, strict=True):
                found.update(places[start:stop].tolist())
        return sorted(found)


def _sorted(codes: KeyCodes, places: NDArray[np.int32]) -> tuple[KeyCodes, NDArray[np.int32]]:
    order = codes.argsort(kind="stable")  # (N,); linear where two sorted runs are merged
    return codes[order], places[order]
