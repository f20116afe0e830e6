"""Tables for people and programs: for the terminal, as CSV, JSON, Parquet and Arrow."""

from __future__ import annotations

import csv
import json
import math
import sys
import unicodedata
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from io import StringIO
from itertools import count
from pathlib import Path
from typing import Any, Literal, get_args

import pyarrow as pa
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from llm4teach.datasets.storage.parquet import replacing, write_parquet

TableFormat = Literal["table", "csv", "json", "parquet", "arrow"]
MAX_ROWS = 50  # rows of a terminal table
MAX_CELL, MIN_TEXT, GAP = 60, 12, 2  # characters: widest cell, narrowest text, between columns


def format_table(table: pa.Table, kind: TableFormat = "table", out: Path | None = None) -> None:
    """Write a table to a file, or to stdout if ``out`` is None.

    Args:
        table: any Arrow table.
        kind: "table" fits the terminal and leaves out what does not fit, saying so; "csv", "json"
            (a list of records), "parquet" and "arrow" (the IPC file format) are complete. Bytes
            become hexadecimal text in CSV and JSON; lists and structs become JSON in CSV.
        out: where to; required for Parquet and Arrow. The file appears whole or not at all.

    Raises:
        ValueError: an unknown format, or Parquet or Arrow without ``out``.
        OSError: ``out`` cannot be written.
    """
    if kind not in get_args(TableFormat):
        known = ", ".join(get_args(TableFormat))
        raise ValueError(f"unknown table format {kind!r}; the formats are: {known}")
    if kind in ("parquet", "arrow"):
        if out is None:
            raise ValueError(f"{kind.title()} is not for the terminal: name a file to write it to")
        _write_binary(table, kind, out)
        return
    render: dict[str, Callable[[pa.Table], str]] = {"csv": _csv, "json": _json}
    if out is not None:
        text = render[kind](table) if kind in render else _table(table, width=120)
        with replacing(out) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="")
    elif kind in render:
        sys.stdout.write(render[kind](table))
    else:
        sys.stdout.write(_table(table, Console().width))


def _write_binary(table: pa.Table, kind: TableFormat, out: Path) -> None:
    if kind == "parquet":
        write_parquet(out, table)
        return
    with replacing(out) as temporary, pa.ipc.new_file(temporary, table.schema) as file:
        file.write_table(table)


def _csv(table: pa.Table) -> str:
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(table.column_names)
    for row in _rows(table):
        writer.writerow([_csv_cell(_plain(value)) for value in row])
    return stream.getvalue()


def _csv_cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict | bool) else value


def _json(table: pa.Table) -> str:
    names = list[str]()
    for name in table.column_names:  # an object has one value a name
        same = (f"{name}_{i}" for i in count(1))
        names.append(name if name not in names else next(n for n in same if n not in names))
    records = [dict(zip(names, map(_plain, row), strict=True)) for row in _rows(table)]
    return json.dumps(records, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _rows(table: pa.Table) -> list[tuple[Any, ...]]:
    """Rows as tuples; unlike `to_pylist` this keeps columns of one name apart."""
    columns = [column.to_pylist() for column in table.columns]
    return list(zip(*columns, strict=True))


def _plain(value: Any) -> Any:
    """The value in JSON's types; nan and infinities, which JSON lacks, become null."""
    match value:
        case bytes():
            return value.hex()
        case float():
            return value if math.isfinite(value) else None
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case datetime() | date():
            return value.isoformat()
        case None | bool() | int() | str():
            return value
        case dict():
            return {str(k): _plain(v) for k, v in value.items()}
        case list() | tuple():
            return [_plain(v) for v in value]
    return str(value)


def _table(table: pa.Table, width: int) -> str:
    """A table no wider than ``width`` characters; says below it what it leaves out."""
    if table.column_names == ["explain_key", "explain_value"]:  # a drawing of several lines
        return "".join(table.column("explain_value").to_pylist())
    rows = [[_cell(value) for value in row] for row in _rows(table.slice(0, MAX_ROWS))]
    names = [_printable(name) for name in table.column_names]
    numeric = [_is_number(field.type) for field in table.schema]
    widths = _column_widths(names, rows, numeric, width)
    view = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for name, number, column_width in zip(names, numeric, widths, strict=False):
        view.add_column(
            Text(name),
            justify="right" if number else "left",
            width=column_width,
            no_wrap=True,
            overflow="ellipsis",
        )
    for row in rows:
        view.add_row(*(Text(cell) for cell in row[: len(widths)]))
    text = StringIO()
    console = Console(width=width, file=text, highlight=False)
    if widths:
        console.print(view)
    console.print(_footer(table, len(widths)), markup=False)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


def _is_number(kind: pa.DataType) -> bool:
    is_a = pa.types
    return bool(is_a.is_integer(kind) or is_a.is_floating(kind) or is_a.is_decimal(kind))


def _column_widths(
    names: list[str], rows: list[list[str]], numeric: list[bool], width: int
) -> list[int]:
    """Widths of the columns that fit, from the left; numbers in full, texts share what is left."""
    natural = [
        max([cell_len(name), *(cell_len(row[i]) for row in rows)]) for i, name in enumerate(names)
    ]
    least = [n if num else min(n, MIN_TEXT) for n, num in zip(natural, numeric, strict=True)]
    shown, used = 0, -GAP
    while shown < len(names) and used + GAP + least[shown] <= width:
        used += GAP + least[shown]
        shown += 1
    if not shown:
        return [width] if names else []
    widths, spare = least[:shown], width - used
    for missing in range(shown, 0, -1):  # the least demanding first: what it leaves, others get
        i = sorted(range(shown), key=lambda i: natural[i] - least[i])[shown - missing]
        extra = min(natural[i] - least[i], spare // missing)
        widths[i] += extra
        spare -= extra
    return widths


def _footer(table: pa.Table, shown: int) -> str:
    plural = "" if table.num_rows == 1 else "s"
    notes = [f"{table.num_rows:,} row{plural}"]
    if table.num_rows > MAX_ROWS:
        notes = [f"the first {MAX_ROWS} of {table.num_rows:,} rows; CSV, JSON and Parquet have all"]
    if hidden := table.column_names[shown:]:
        notes.append(f"columns left out for want of width: {', '.join(map(_printable, hidden))}")
    return "\n".join(f"({note})" for note in notes)


def _cell(value: Any) -> str:
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case int():
            return str(value)
        case float() | Decimal():
            return _number(float(value))
        case bytes():
            return f"<{len(value)} bytes>"
        case datetime():
            return f"{value:%Y-%m-%d %H:%M:%S}"
        case list() | dict():
            text = json.dumps(_short(value), ensure_ascii=False, default=str)
        case _:
            text = str(value)
    text = _printable(text[: 4 * MAX_CELL])
    return text if len(text) <= MAX_CELL else text[: MAX_CELL - 1] + "…"


def _number(value: float) -> str:
    """Four significant digits, or all of them before the point."""
    if not math.isfinite(value):
        return str(value)
    if value == int(value) and abs(value) < 1e15:
        return f"{value:.1f}"
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.1f}"


def _short(value: Any) -> Any:
    """Nested values with the bytes told by their length and floats rounded."""
    match value:
        case bytes():
            return f"<{len(value)} bytes>"
        case float() | Decimal():
            return float(f"{float(value):.4g}")
        case dict():
            return {k: _short(v) for k, v in value.items()}
        case list():
            return [_short(v) for v in value]
    return value


def _printable(text: str) -> str:
    """One line without control characters: a model's reply must not steer the terminal."""
    return "".join(" " if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") else c for c in text)
