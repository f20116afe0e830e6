"""Answers of DuckDB in types that other programs know, with the same values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

# Arrow has no such types, and DuckDB would drop digits, offsets or the meaning of the bytes.
_ALWAYS = {
    "hugeint": "DECIMAL(38, 0)",
    "uhugeint": "DECIMAL(38, 0)",
    "bignum": "VARCHAR",
    "bit": "VARCHAR",
    "time with time zone": "VARCHAR",
    "variant": "VARCHAR",
}
_LARGE = {"hugeint": "VARCHAR", "uhugeint": "VARCHAR"}  # of more than 38 digits
_IN_PARQUET = {"interval": "VARCHAR", "union": "VARCHAR"}
_INFINITIES = {64: 2**63 - 1, 32: 2**31 - 1}  # of dates and times, by bits; negative ones, too


def to_arrow(relation: duckdb.DuckDBPyRelation) -> pa.Table:
    """Return an answer as Arrow data.

    Whole numbers beyond 64 bits, which every sum of whole numbers is to DuckDB, become int64 where
    all of a column fit, or else decimals, or else text. What Arrow has no type for becomes text.
    """
    try:
        table = _cast(relation, _ALWAYS).to_arrow_table()
    except duckdb.ConversionException:
        table = _cast(relation, _ALWAYS | _LARGE).to_arrow_table()
    for i, kind in enumerate(relation.types):
        if kind.id in _LARGE and pa.types.is_decimal(table.schema.field(i).type):
            try:
                column = table.column(i).cast(pa.int64())
            except pa.ArrowInvalid:  # too large
                continue
            table = table.set_column(i, table.schema.field(i).name, column)
    return table


def for_files(answer: pa.Table, is_parquet: bool) -> pa.Table:
    """Return an answer for a Parquet or an Arrow file.

    Infinite dates and times become null: other readers take them for the year 294247. Parquet has
    neither intervals nor unions: there they are text. Columns of one name get different ones.
    """
    if len(set(answer.column_names)) < answer.num_columns:
        with duckdb.connect() as connection:
            answer = answer.rename_columns(connection.from_arrow(answer.slice(0, 0)).columns)
    for i, field in enumerate(answer.schema):
        column = answer.column(i)
        if pa.types.is_timestamp(field.type) or pa.types.is_date32(field.type):
            column = _finite(column)
        elif is_parquet and _has_no_parquet(field.type):
            with duckdb.connect() as connection:
                one = connection.from_arrow(pa.table([column], [field.name]))
                column = _cast(one, _IN_PARQUET).to_arrow_table().column(0)
        if column is not answer.column(i):
            answer = answer.set_column(i, field.name, column)
    return answer


def _finite(column: pa.ChunkedArray) -> pa.ChunkedArray:
    bits = column.type.bit_width
    infinity = _INFINITIES[bits]
    numbers = column.cast(pa.int64() if bits == 64 else pa.int32())
    is_infinite = pc.equal(pc.abs(pc.max_element_wise(numbers, -infinity)), infinity)
    if not pc.any(is_infinite).as_py():
        return column
    return pc.if_else(is_infinite, pa.scalar(None, column.type), column)


def _has_no_parquet(kind: pa.DataType) -> bool:
    if pa.types.is_union(kind) or kind == pa.month_day_nano_interval():
        return True
    return any(_has_no_parquet(kind.field(i).type) for i in range(kind.num_fields))


def _cast(
    relation: duckdb.DuckDBPyRelation, replaced: Mapping[str, str]
) -> duckdb.DuckDBPyRelation:
    """Cast the columns whose types are, or contain, some of those that are replaced."""
    casts = [_type_name(kind, replaced) for kind in relation.types]
    if casts == [str(kind) for kind in relation.types]:
        return relation
    columns = zip(relation.columns, casts, relation.types, strict=True)
    return relation.project(
        ", ".join(
            (f"#{i}" if cast == str(kind) else f"#{i}::{cast}") + f" AS {_quoted(name)}"
            for i, (name, cast, kind) in enumerate(columns, 1)
        )
    )


def _type_name(kind: Any, replaced: Mapping[str, str]) -> str:
    """Return the name of a DuckDBPyType with others in its place, also inside of nested ones."""
    if kind.id in replaced:
        return replaced[kind.id]
    if kind.id not in ("list", "array", "struct", "map", "union"):
        return str(kind)
    hidden = {"array": "size", "union": ""}.get(kind.id)  # a number; a union's tag
    parts = {name: part for name, part in kind.children if name != hidden}
    names = {name: _type_name(part, replaced) for name, part in parts.items()}
    if all(names[name] == str(part) for name, part in parts.items()):
        return str(kind)
    if kind.id == "list":
        return f"{names['child']}[]"
    if kind.id == "array":
        return f"{names['child']}[{dict(kind.children)['size']}]"
    if kind.id == "map":
        return f"MAP({names['key']}, {names['value']})"
    fields = ", ".join(f"{_quoted(name)} {part}" for name, part in names.items())
    return f"{kind.id.upper()}({fields})"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
