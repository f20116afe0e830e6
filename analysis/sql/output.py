"""Answers as text for the terminal, as CSV and JSON (by DuckDB), and as Parquet and Arrow files."""

from __future__ import annotations

import io
import json
import re
import sys
import tempfile
import unicodedata
from contextlib import redirect_stdout
from pathlib import Path
from typing import Literal

import duckdb
import pyarrow as pa
from rich.console import Console

from llm4teach.analysis.sql.plain_types import for_files
from llm4teach.datasets.storage.parquet import replacing, write_parquet

OutputFormat = Literal["table", "csv", "json", "parquet", "arrow"]
MAX_ROWS, MAX_CELL = 50, 60  # of a table: rows, and characters of the widest cell
WIDTH, MIN_WIDTH = 80, 40  # characters: of a terminal that does not tell; of a narrow one's table
_TEXT_OR_NAN = re.compile(r'"(?:[^"\\]|\\.)*"|NaN|-?Infinity')
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
_COPY = {"csv": "(FORMAT csv, HEADER)", "json": "(FORMAT json, ARRAY true)"}


def write_answer(answer: pa.Table, kind: OutputFormat = "table", out: Path | None = None) -> None:
    """Write a table to a file, or to stdout if ``out`` is None.

    Args:
        answer: any Arrow table with columns.
        kind: "table" fits the terminal (from 80 characters) and says what it leaves out; "csv",
            "json" (a list of records), "parquet" and "arrow" (the IPC file format) are complete.
            JSON has no nan and no infinities: they become null. So do infinite dates in Parquet
            and Arrow files; intervals and unions are text in Parquet files.
        out: where to; required for Parquet and Arrow. The file appears complete or not at all.

    Raises:
        ValueError: Parquet or Arrow without ``out``.
        OSError: ``out`` cannot be written.
    """
    if kind in ("parquet", "arrow") and out is None:
        raise ValueError(f"{kind.title()} is not for the terminal: name a file to write it to")
    if out is None:
        width = max(Console().width or WIDTH, MIN_WIDTH)
        with tempfile.TemporaryDirectory(prefix="llm4teach-") as scratch:
            _write(answer, kind, path := Path(scratch, "answer"), width)
            sys.stdout.write(_for_stdout(path.read_text("utf-8"), kind))
    elif kind == "parquet":
        write_parquet(out, for_files(answer, is_parquet=True))
    else:
        with replacing(out) as temporary:
            _write(answer, kind, temporary, width=120)


def _write(answer: pa.Table, kind: OutputFormat, path: Path, width: int) -> None:
    if kind == "arrow":
        answer = for_files(answer, is_parquet=False)
        with pa.ipc.new_file(path, answer.schema) as file:
            file.write_table(answer)
        return
    with duckdb.connect() as connection:  # it sees the answer and none of the workspace
        connection.execute("SET TimeZone = 'UTC'")
        if kind == "table":
            path.write_text(_table(connection, answer, width), encoding="utf-8")
            return
        path.touch()  # DuckDB's own message names a temporary file
        connection.register("answer", answer)
        target = str(path).replace("'", "''")
        connection.execute(f"COPY answer TO '{target}' {_COPY[kind]}")
    if kind == "json":
        path.write_text(_without_nan(path.read_text("utf-8")), encoding="utf-8")


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


def _without_nan(text: str) -> str:
    """Replace what is no JSON, wherever it stands but in texts."""
    return _TEXT_OR_NAN.sub(lambda match: match[0] if match[0][0] == '"' else "null", text)


def _for_stdout(text: str, kind: OutputFormat) -> str:
    """Prepare text for an encoding that lacks some of its characters.

    JSON has escapes for them. The command line replaces the others, see `flows.cli.streams`.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        if kind == "json":
            return _NOT_ASCII.sub(lambda match: json.dumps(match[0])[1:-1], text)
        if kind == "csv":
            note = f"stdout is {encoding}, so some characters are replaced: --output FILE is UTF-8"
            print(f"note: {note}", file=sys.stderr)
        return text.replace("…", "~") if kind == "table" else text  # of the same width
    return text
