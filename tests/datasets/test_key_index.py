"""The index of state keys against Python's own dictionaries and sets."""

import hashlib
from collections import defaultdict

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from llm4teach.datasets.storage.key_index import KeyIndex, key_codes


def test_codes_of_hex_keys_are_their_values() -> None:
    keys = ["0000000000000000", "00000000000000ff", "ffffffffffffffff", "0123456789abcdef"]
    assert key_codes(keys).tolist() == [0, 255, 2**64 - 1, 0x0123456789ABCDEF]
    assert key_codes(keys[1:]).tolist() == key_codes([*keys, "odd"])[1:4].tolist()


def test_other_keys_are_hashed_and_slices_are_read_right() -> None:
    keys = ["a", "", "state of ü", "0123456789ABCDEF", "0123456789abcdef"]
    codes = key_codes(keys)
    assert len(set(codes.tolist())) == len(keys), "upper case is not the same key"
    column = pa.chunked_array([pa.array(["x", *keys]).slice(1, 3), pa.array(keys[3:])])
    assert key_codes(column).tolist() == codes.tolist()
    hexed = [hashlib.sha256(bytes([i])).hexdigest()[:16] for i in range(50)]
    assert key_codes(pa.array(hexed).slice(7, 9)).tolist() == [int(k, 16) for k in hexed[7:16]]
    assert key_codes([]).shape == key_codes(pa.chunked_array([], pa.string())).shape == (0,)


KEYS = st.integers(0, 60).map(lambda i: i * 0x0404040404040404)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(KEYS, max_size=30), max_size=12), st.lists(KEYS, max_size=20))
def test_it_finds_what_a_dictionary_finds(batches: list[list[int]], asked: list[int]) -> None:
    index, plain = KeyIndex(), defaultdict(set)
    for place, batch in enumerate(batches):
        index.add(np.array(batch, np.uint64), np.full(len(batch), place, np.int32))
        for key in batch:
            plain[key].add(place)
        wanted = np.array(asked, np.uint64)
        assert index.contains(wanted).tolist() == [key in plain for key in asked]
        assert index.places(wanted) == sorted(set().union(*(plain.get(k, set()) for k in asked)))
    assert len(index) == sum(map(len, batches))
