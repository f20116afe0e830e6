"""Logs of any content are read or rejected: no value turns into another one, nothing else fails."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm4teach.datasets.importers import read_episodes
from llm4teach.datasets.importers.log_columns import flags, names, numbers, whole_numbers
from llm4teach.datasets.importers.log_episodes import OPTIONAL, REQUIRED
from llm4teach.errors import DatasetError

TEXTS = st.one_of(
    st.sampled_from(
        ["True", "FALSE", " t", "0", "1", "1.0", "0.0", "", "NaN", "null", "-1", "1e3"]
    ),
    st.integers().map(str),
    st.floats().map(str),
    st.text(max_size=6),
)
FOLDERS = [HealthCheck.function_scoped_fixture]


def column(values: list[Any], kind: pa.DataType | None = None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, kind)])


@given(st.lists(TEXTS, min_size=1))
def test_texts_are_the_numbers_that_they_spell_or_none(texts: list[str]) -> None:
    read = numbers("x", column(texts, pa.string()))
    whole = whole_numbers("x", column(texts, pa.string()))
    for i, text in enumerate(texts):
        if not read.is_null[i] and not read.is_wrong[i]:
            assert read.values[i] == float(text)
        if not whole.is_null[i] and not whole.is_wrong[i]:
            assert whole.values[i] == float(text) and float(text).is_integer()
        plain = text.strip().removeprefix("-")
        if plain.isascii() and plain.isdigit() and len(plain) < 15:
            assert not whole.is_wrong[i] and whole.values[i] == int(text)


@given(st.lists(TEXTS, min_size=1))
def test_texts_are_the_flags_that_they_spell_or_none(texts: list[str]) -> None:
    read = flags("x", column(texts, pa.string()))
    for i, text in enumerate(texts):
        word = text.strip().lower()
        if word in ("true", "1"):
            assert read.values[i] and not read.is_wrong[i]
        elif word in ("false", "0"):
            assert not read.values[i] and not read.is_wrong[i]
        elif word not in ("t", "f", "yes", "no", "y", "n", "1.0", "0.0"):
            assert read.is_wrong[i] or read.is_null[i]


@given(st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)), min_size=1))
def test_whole_numbers_are_exact(values: list[int | None]) -> None:
    for kind in (pa.int64(), pa.string()):
        texts = [None if v is None else str(v) for v in values]
        read = whole_numbers("x", column(values if kind == pa.int64() else texts, kind))
        for i, value in enumerate(values):
            assert read.is_null[i] == (value is None)
            assert value is None or (read.values[i] == value and not read.is_wrong[i])


@given(st.lists(st.floats(), min_size=1))
def test_fractions_are_no_whole_numbers(values: list[float]) -> None:
    read = whole_numbers("x", column(values, pa.float64()))
    for i, value in enumerate(values):
        exact = math.isfinite(value) and value.is_integer() and abs(value) < 2**53
        assert read.is_wrong[i] == (not exact)
        assert not exact or read.values[i] == value


@given(st.lists(st.text(max_size=4), min_size=1))
def test_names_that_differ_stay_different(texts: list[str]) -> None:
    read = names("x", column(texts, pa.string()))
    for i, text in enumerate(texts):
        assert read.is_null[i] or read.values[i] == text.strip()


KINDS = [
    *(pa.int8(), pa.uint64(), pa.int64(), pa.float16(), pa.float32(), pa.float64(), pa.bool_()),
    *(pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.binary(3), pa.null()),
    *(pa.decimal128(9, 2), pa.date32(), pa.timestamp("us"), pa.duration("s"), pa.time64("us")),
    *(pa.list_(pa.int64()), pa.list_(pa.int64(), 1), pa.large_list(pa.float32())),
    *(pa.struct([("a", pa.int64())]), pa.map_(pa.string(), pa.int64())),
    *(pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.int32(), pa.float64())),
    *(pa.run_end_encoded(pa.int32(), pa.int64()), pa.uuid(), pa.json_()),
]


def array_of(kind: pa.DataType, n: int, rng: np.random.Generator) -> pa.Array:
    """Zeros, ones and nulls of any type."""
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, array_of(kind.storage_type, n, rng))
    if pa.types.is_run_end_encoded(kind):
        return pa.compute.run_end_encode(array_of(kind.value_type, n, rng))
    if pa.types.is_dictionary(kind):
        return array_of(kind.value_type, n, rng).dictionary_encode()
    bits = rng.integers(0, 2, n).tolist()
    if pa.types.is_null(kind):
        return pa.nulls(n)
    values: list[Any] = [None if rng.random() < 0.05 else bit for bit in bits]
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        values = [v if v is None else [v] * (1 + bit) for v, bit in zip(values, bits, strict=True)]
    elif pa.types.is_fixed_size_list(kind):
        values = [v if v is None else [v] for v in values]
    elif pa.types.is_struct(kind):
        values = [v if v is None else {"a": v} for v in values]
    elif pa.types.is_map(kind):
        values = [v if v is None else [("a", v)] for v in values]
    elif pa.types.is_fixed_size_binary(kind) and not pa.types.is_decimal(kind):
        values = [v if v is None else bytes([v]) * kind.byte_width for v in values]
    elif pa.types.is_boolean(kind):
        values = [v if v is None else bool(v) for v in values]
    elif pa.types.is_binary(kind):
        values = [v if v is None else str(v).encode() for v in values]
    elif "string" in str(kind):
        values = [v if v is None else str(v) for v in values]
    elif pa.types.is_temporal(kind):
        values = [v if v is None else int(v) for v in values]
    elif pa.types.is_float16(kind):
        values = [v if v is None else np.float16(v) for v in values]
    return pa.array(values, kind)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_columns_of_any_type_are_read_or_rejected(kind: pa.DataType, tmp_path: Path) -> None:
    from llm4teach.datasets.importers.log_episodes import episodes_in

    rng = np.random.default_rng(0)
    n = 40
    fine = {
        "episode_id": pa.array([0] * 20 + [1] * 20),
        "t": pa.array([*range(20), *range(20)]),
        "action": pa.array([1] * n),
        "reward": pa.array([0.5] * n),
        "terminated": pa.array([False] * n),
        "truncated": pa.array([False] * n),
    }
    for name in (*REQUIRED, *OPTIONAL):
        table = pa.table({**fine, name: array_of(kind, n, rng)})
        try:
            episodes = list(episodes_in(table, tmp_path, {}))
        except DatasetError as error:
            assert name == "episode_id" and "row" in str(error)
            continue
        if name in REQUIRED and table.column(name).null_count:
            assert any(episode.problems for episode in episodes)


@pytest.mark.extended
@settings(max_examples=150, suppress_health_check=FOLDERS)
@given(content=st.binary(max_size=200), kind=st.sampled_from(["csv", "tsv", "parquet", "csv.gz"]))
def test_no_bytes_make_it_fail(content: bytes, kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"log.{kind}"
    for start in (b"", b"episode_id,action,reward,terminated,truncated\n", b"\xff\xfe", b"PAR1"):
        path.write_bytes(start + content)
        try:
            episodes = list(read_episodes(str(path), {}))
        except DatasetError:
            continue
        assert all(len(e.actions) for e in episodes)


@pytest.mark.extended
@settings(max_examples=100, suppress_health_check=FOLDERS)
@given(
    position=st.integers(4, 10**6),
    value=st.integers(0, 255),
)
def test_a_flipped_byte_of_parquet_is_no_other_episode(
    position: int, value: int, tmp_path: Path
) -> None:
    path = tmp_path / "log.parquet"
    n = 30
    rng = np.random.default_rng(0)
    table = pa.table(
        {
            "episode_id": np.zeros(n, np.int64),
            "action": rng.integers(0, 7, n),
            "reward": rng.random(n),
            "terminated": np.zeros(n, np.bool_),
            "truncated": np.zeros(n, np.bool_),
        }
    )
    pq.write_table(table, path, write_page_checksum=True)
    content = bytearray(path.read_bytes())
    content[position % (len(content) - 8) if len(content) > 8 else 4] = value
    path.write_bytes(content)
    try:
        episodes = list(read_episodes(str(path), {}))
    except DatasetError:
        return
    assert len(episodes) == 1 and not episodes[0].problems
    assert episodes[0].actions.tolist() == table.column("action").to_pylist()
