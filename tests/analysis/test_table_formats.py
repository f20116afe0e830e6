"""Tables in the terminal and in files."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llm4teach.analysis.sql.query import run_sql
from llm4teach.analysis.sql.tables import MAX_ROWS, format_table
from llm4teach.datasets.workspace import Workspace

MIXED = pa.table(
    {
        "text": ['a, "b"\n\x1b[31mred [bold]x[/]', "日本語" * 40],
        "bytes": [b"\x00\xff" * 200, None],
        "number": [0.123456789, float("nan")],
        "count": [1_234_567, 2],
        "list": [[{"plan": "explore", "probability": 0.5}], []],
        "when": [datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), None],
        "exact": [Decimal("0.80"), Decimal("2.00")],
        "yes": [True, None],
    }
)


@pytest.mark.parametrize("width", [20, 40, 80, 120, 250])
def test_the_terminal_table_fits(
    taught: Workspace,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    width: int,
) -> None:
    from rich.cells import cell_len

    monkeypatch.setenv("COLUMNS", str(width))
    queries = [f"FROM {view}" for view in ("trajectories", "advice", "runs", "evaluations")]
    for table in [MIXED, *(run_sql(taught, sql) for sql in queries)]:
        format_table(table)
        out = capsys.readouterr().out
        assert all(cell_len(line) <= width for line in out.splitlines())
        assert len(out.splitlines()) < MAX_ROWS + 25
        assert "\x1b" not in out and "\\x00" not in out


def test_the_terminal_table_says_what_it_leaves_out(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    format_table(pa.table({"n": list(range(60)), "a": ["x" * 40] * 60, "rest": ["y" * 40] * 60}))
    out = capsys.readouterr().out
    assert "the first 50 of 60 rows" in out
    format_table(MIXED)
    out = capsys.readouterr().out
    assert "<400 bytes>" in out
    assert "0.1235" in out
    assert "columns left out" in out and "yes" in out


def test_csv_reads_back(capsys: pytest.CaptureFixture[str]) -> None:
    format_table(MIXED, "csv")
    first, _second = csv.DictReader(capsys.readouterr().out.splitlines(keepends=True))
    assert first["text"] == 'a, "b"\n\x1b[31mred [bold]x[/]'
    assert bytes.fromhex(first["bytes"]) == b"\x00\xff" * 200
    assert json.loads(first["list"]) == [{"plan": "explore", "probability": 0.5}]
    assert float(first["number"]) == 0.123456789
    assert (first["exact"], first["yes"]) == ("0.8", "true")


def test_json_is_records(tmp_path: Path) -> None:
    format_table(MIXED, "json", tmp_path / "out.json")
    first, second = json.loads((tmp_path / "out.json").read_text())
    assert list(first) == MIXED.column_names
    assert first["when"] == "2026-01-02T03:04:05+00:00"
    assert second["number"] is None and second["exact"] == 2
    assert [p.name for p in tmp_path.iterdir()] == ["out.json"]


def test_parquet_needs_a_file_and_keeps_the_table(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="name a file"):
        format_table(MIXED, "parquet")
    format_table(MIXED, "parquet", tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet").schema.equals(MIXED.schema)


def test_unknown_formats_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown table format 'xml'; the formats are: table, csv"):
        format_table(MIXED, "xml")  # type: ignore[arg-type]


def test_tables_without_rows_or_columns(capsys: pytest.CaptureFixture[str]) -> None:
    for kind in ("table", "csv", "json"):
        format_table(pa.table({}), kind)  # type: ignore[arg-type]
        format_table(MIXED.slice(0, 0), kind)  # type: ignore[arg-type]
    assert "(0 rows)" in capsys.readouterr().out


def test_two_columns_of_one_name(capsys: pytest.CaptureFixture[str]) -> None:
    format_table(pa.table([[1], [2]], names=["a", "a"]), "csv")
    assert capsys.readouterr().out == "a,a\n1,2\n"
    format_table(pa.table([[1], [2], [3]], names=["a", "a", "a_1"]), "json")
    assert json.loads(capsys.readouterr().out) == [{"a": 1, "a_1": 2, "a_1_1": 3}]


def test_a_plan_is_drawn_as_duckdb_drew_it(
    taught: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    format_table(run_sql(taught, "EXPLAIN FROM states"))
    assert capsys.readouterr().out.count("\n") > 5
