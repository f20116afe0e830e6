"""Bodies of replies: what json reads is read, quickly where it is strict, and nothing raises."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm4teach.teacher_labeling.backends.openai.bodies import parsed

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES, st.booleans())
def test_it_reads_what_json_reads(value: object, ascii_only: bool) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    assert parsed(body) == json.loads(body)


@given(st.binary(max_size=60))
def test_anything_else_is_none_or_what_json_reads(body: bytes) -> None:
    try:
        expected = json.loads(body)
    except (ValueError, RecursionError):
        expected = None
    found = parsed(body)
    assert found == expected or (found != found and expected != expected)


def test_what_some_servers_write() -> None:
    told = parsed(b'{"logprob": NaN, "low": -Infinity}')
    assert math.isnan(told["logprob"]) and told["low"] == -math.inf
    assert parsed('{"a": "é"}'.encode("utf-16")) == {"a": "é"}
    assert parsed(b'"\\ud800"') == "\ud800"
    assert parsed(b"[" * 200_000) is None


@pytest.mark.parametrize("body", [b"", b"<html>", b"{", b'{"a": 1} x', b"\xff\xfe\x00"])
def test_no_json(body: bytes) -> None:
    assert parsed(body) is None
