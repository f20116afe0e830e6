"""Answers as text for the terminal, as CSV and JSON (by DuckDB), and as Parquet and Arrow files."""

from __future__ import annotations

import io
import sys
import tempfile
import unicodedata
from contextlib import redirect_stdout
from pathlib import Path
from typing import Literal

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console

from llm4teach.datasets.storage.parquet import replacing, write_parquet

OutputFormat = Literal["table", "csv", "json", "parquet", "arrow"]
MAX_ROWS, MAX_CELL = 50, 60  # of a table: rows, and characters of the widest cell
_COPY = {"csv": "(FORMAT csv, HEADER)", "json": "(FORMAT json, ARRAY true)"}


def write_answer(answer: pa.Table, kind: OutputFormat = "table", out: Path | None = None) -> None:
    """Write a table to a file, or to stdout if ``out`` is None.

    Args:
        answer: any Arrow table with columns.
        kind: "table" fits the terminal (from 80 characters) and says what it leaves out; "csv",
            "json" (a list of records), "parquet" and "arrow" (the IPC file format) are complete.
            JSON has no nan and no infinities: they become null.
        out: where to; required for Parquet and Arrow. The file appears complete or not at all.

    Raises:
        ValueError: Parquet or Arrow without ``out``.
        OSError: ``out`` cannot be written.
    """
    if kind in ("parquet", "arrow") and out is None:
        raise ValueError(f"{kind.title()} is not for the terminal: name a file to write it to")
    if out is None:
        with tempfile.TemporaryDirectory(prefix="llm4teach-") as scratch:
            _write(answer, kind, path := Path(scratch, "answer"), Console().width)
            sys.stdout.write(path.read_text("utf-8"))
    elif kind == "parquet":
        write_parquet(out, answer)
    else:
        with replacing(out) as temporary:
            _write(answer, kind, temporary, width=120)


def _write(answer: pa.Table, kind: OutputFormat, path: Path, width: int) -> None:
    if kind == "arrow":
        with pa.ipc.new_file(path, answer.schema) as file:
            file.write_table(answer)
        return
    with duckdb.connect() as connection:  # it sees the answer and none of the workspace
        connection.execute("SET TimeZone = 'UTC'")
        if kind == "table":
            path.write_text(_table(connection, answer, width), encoding="utf-8")
            return
        if kind == "json":
            answer = _without_nan(answer)
        connection.register("answer", answer)
        target = str(path).replace("'", "''")
        connection.execute(f"COPY answer TO '{target}' {_COPY[kind]}")


def _table(connection: duckdb.DuckDBPyConnection, answer: pa.Table, width: int) -> str:
    if answer.column_names == ["explain_key", "explain_value"]:  # a drawing of several lines
        return "".join(answer.column("explain_value").to_pylist())
    with redirect_stdout(io.StringIO()) as text:
        connection.from_arrow(answer).show(
            max_width=width, max_rows=MAX_ROWS, max_col_width=MAX_CELL
        )
    return "".join(map(_printable, text.getvalue()))


def _printable(character: str) -> str:
    """A model's reply must not steer the terminal: DuckDB escapes only some control characters."""
    steers = unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp") and character != "\n"
    return "" if steers else character


def _without_nan(answer: pa.Table) -> pa.Table:
    columns = [
        pc.if_else(pc.is_finite(column), column, pa.scalar(None, column.type))
        if pa.types.is_floating(column.type)
        else column
        for column in answer.columns
    ]
    return pa.table(columns, schema=answer.schema)
