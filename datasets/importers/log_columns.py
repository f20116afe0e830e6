"""A log's columns as arrays of numbers, flags and names, with the rows that have no such value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

EXACT = 1 << 53  # from here on, a float64 does not tell neighboring whole numbers apart
_NULLS = ("", "na", "n/a", "<na>", "null", "none", "\\n")  # how texts spell it, in either case
_FLAGS = {"true": True, "t": True, "yes": True, "y": True, "1": True, "1.0": True} | {
    "false": False,
    "f": False,
    "no": False,
    "n": False,
    "0": False,
    "0.0": False,
}
_NUMBER = re.compile(
    r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|nan|[+-]?inf(inity)?", re.IGNORECASE | re.ASCII
)
FLAG = "not true or false"
WHOLE = "not a whole number"


@dataclass(frozen=True)
class Column:
    """A column of a log as an array, and where its values are none."""

    name: str
    values: NDArray[Any]  # (N,)
    is_null: NDArray[np.bool_]  # (N,)
    is_wrong: NDArray[np.bool_]  # (N,): not null, and no value of this kind
    source: pa.ChunkedArray
    expected: str

    def problem(self, rows: NDArray[np.int64], optional: bool = False) -> str | None:
        """Return what is wrong with the first bad one of these rows; None if they are fine."""
        bad = self.is_wrong[rows] if optional else self.is_wrong[rows] | self.is_null[rows]
        if not bad.any():
            return None
        row = int(rows[bad].min())
        if self.is_null[row]:
            return f"{self.name} is null in row {row + 1}"
        return f"{self.name} of row {row + 1} is {self._shown(row)}, {self.expected}"

    def _shown(self, row: int) -> str:
        text = repr(self.source[row].as_py())
        return text if len(text) <= 60 else f"{text[:60]}…"


def plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Undo encodings that do not change a column's values, such as categories."""
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        chunks = [chunk.storage for chunk in column.chunks]
        return plain(pa.chunked_array(chunks, kind.storage_type))
    if pa.types.is_dictionary(kind):
        return plain(column.cast(kind.value_type))
    if pa.types.is_run_end_encoded(kind):
        return plain(
            pa.chunked_array([pc.run_end_decode(c) for c in column.chunks], kind.value_type)
        )
    if pa.types.is_large_string(kind) or kind == pa.string_view():
        return column.cast(pa.string())
    if pa.types.is_large_binary(kind) or kind == pa.binary_view():
        return column.cast(pa.binary())
    return column


def _scalars(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a plain column; lists of one value each are that value (LeRobot's actions)."""
    column = plain(column)
    kind = column.type
    if _is_list(kind) and not column.null_count:
        lengths = pc.list_value_length(column)
        if pc.all(pc.equal(lengths, 1)).as_py():
            return _scalars(pc.list_flatten(column))
    if pa.types.is_binary(kind):  # text by writers that do not mark it as such
        try:
            return column.cast(pa.string())
        except pa.ArrowInvalid:
            return column
    return column


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def numbers(name: str, column: pa.ChunkedArray) -> Column:
    """Return float64 values; infinities and nan are wrong."""
    values, is_null, is_wrong, source = _numbers(column)
    is_wrong |= ~is_null & ~np.isfinite(values.astype(np.float64))
    return Column(name, values.astype(np.float64), is_null, is_wrong, source, "not a finite number")


def log_probabilities(name: str, column: pa.ChunkedArray) -> Column:
    """Return float32 values, nan where they are null or nan; above 0 they are wrong."""
    values, is_null, is_wrong, source = _numbers(column)
    values = np.where(is_null, np.nan, values.astype(np.float64))
    is_wrong |= (values > 1e-6) | np.isinf(values)  # rounding makes ln 1 a little larger than 0
    expected = "not the logarithm of a probability"
    return Column(name, values.astype(np.float32), is_null, is_wrong, source, expected)


def whole_numbers(name: str, column: pa.ChunkedArray, at_least: int | None = None) -> Column:
    """Return int64 values; fractions, and what is too large to be exact, are wrong."""
    values, is_null, is_wrong, source = _numbers(column)
    if values.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            is_wrong |= ~is_null & ~((values == np.floor(values)) & (np.abs(values) < EXACT))
    elif values.dtype.kind == "u":
        is_wrong |= values > np.uint64(np.iinfo(np.int64).max)
    values = np.where(is_wrong | is_null, 0, values).astype(np.int64)
    expected = WHOLE
    if at_least is not None:
        is_wrong |= ~is_null & (values < at_least)
        expected = f"{WHOLE} from {at_least} on"
    return Column(name, values, is_null, is_wrong, source, expected)


def flags(name: str, column: pa.ChunkedArray) -> Column:
    """Return bool values of flags, of 0 and 1, and of texts that mean them."""
    column = _scalars(column)
    is_null, kind = _nulls(column), column.type
    if pa.types.is_boolean(kind):
        values = column.fill_null(False).to_numpy().astype(np.bool_)
        return Column(name, values, is_null, np.zeros(len(column), np.bool_), column, FLAG)
    if pa.types.is_string(kind):
        texts = _lower(column)
        known = [_FLAGS.get(text) for text in texts]
        values = np.array([flag is True for flag in known], np.bool_)
        is_wrong = np.array([flag is None for flag in known], np.bool_) & ~is_null
        return Column(name, values, is_null, is_wrong, column, FLAG)
    given, is_null, is_wrong, source = _numbers(column)
    is_wrong |= ~is_null & (given != 0) & (given != 1)
    return Column(name, given == 1, is_null, is_wrong, source, FLAG)


def names(name: str, column: pa.ChunkedArray) -> Column:
    """Return texts of anything that names something: texts, numbers, dates."""
    column = _scalars(column)
    is_null = _nulls(column)
    is_wrong = np.zeros(len(column), np.bool_)
    if pa.types.is_nested(column.type):
        is_wrong = ~is_null
    elif pa.types.is_floating(column.type):
        values = column.fill_null(np.nan).to_numpy().astype(np.float64)
        is_null |= np.isnan(values)
        is_wrong = ~is_null & ~(np.abs(values) < EXACT)
    texts = [_name(value) for value in column.to_pylist()]
    if pa.types.is_string(column.type):
        is_null |= np.array([text.lower() == "nan" for text in texts], np.bool_)
    values = np.array(texts, dtype=object)
    return Column(name, values, is_null, is_wrong, column, "which names nothing")


def _name(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value.hex() if isinstance(value, bytes) else str(value).strip()


def _numbers(
    column: pa.ChunkedArray,
) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.bool_], pa.ChunkedArray]:
    """Return numbers of some type, where they are null, where they are none, and the column."""
    column = _scalars(column)
    is_null, kind = _nulls(column), column.type
    if pa.types.is_string(kind):
        return (*_from_text(column, is_null), column)
    if pa.types.is_decimal(kind) or pa.types.is_float16(kind):
        column = column.cast(pa.float64())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return np.zeros(len(column)), is_null, ~is_null, column
    return column.fill_null(0).to_numpy(), is_null, np.zeros(len(column), np.bool_), column


def _from_text(
    column: pa.ChunkedArray, is_null: NDArray[np.bool_]
) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.bool_]]:
    trimmed = pc.utf8_trim_whitespace(column)
    zeros = pc.if_else(pa.chunked_array([is_null]), "0", trimmed)
    is_wrong = np.zeros(len(column), np.bool_)
    for kind in (pa.int64(), pa.float64()):  # quick, and exact for large whole numbers
        try:
            return zeros.cast(kind).to_numpy(), is_null, is_wrong
        except pa.ArrowInvalid:
            continue
    texts = zeros.to_pylist()
    is_wrong = np.array([_NUMBER.fullmatch(text) is None for text in texts], np.bool_)
    values = [0.0 if wrong else float(text) for text, wrong in zip(texts, is_wrong, strict=True)]
    return np.array(values), is_null, is_wrong


def _nulls(column: pa.ChunkedArray) -> NDArray[np.bool_]:
    is_null = np.asarray(column.is_null().to_numpy(), np.bool_)
    if pa.types.is_string(column.type):
        is_null |= np.array([text in _NULLS for text in _lower(column)], np.bool_)
    return is_null


def _lower(column: pa.ChunkedArray) -> list[str]:
    texts: list[str] = pc.utf8_lower(pc.utf8_trim_whitespace(column.fill_null(""))).to_pylist()
    return texts
