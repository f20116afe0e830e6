"""Answers in the terminal and in files."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llm4teach.analysis.sql.output import MAX_ROWS, OutputFormat, write_answer
from llm4teach.analysis.sql.query import run_sql
from llm4teach.datasets.workspace import Workspace

MIXED = pa.table(
    {
        "text": ['a, "b"\n\x1b[31mred [bold]x[/]\x9b31m\u202e', "日本語" * 40],
        "bytes": [b"\x00\xff" * 200, None],
        "number": [0.123456789, float("nan")],
        "count": [1_234_567, 2],
        "list": [[{"plan": "explore", "probability": 0.5}], []],
        "when": [datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), None],
        "exact": [Decimal("0.80"), Decimal("2.00")],
        "yes": [True, None],
    }
)


@pytest.mark.parametrize("width", [80, 120, 250])
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
        write_answer(table)
        out = capsys.readouterr().out
        assert all(cell_len(line) <= width for line in out.splitlines())
        assert len(out.splitlines()) < MAX_ROWS + 25
        assert not set("\x1b\x9b\u202e") & set(out), "a reply must not steer the terminal"


def test_the_terminal_table_says_what_it_leaves_out(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    write_answer(pa.table({"n": list(range(60)), "a": ["x" * 40] * 60, "b": ["y" * 40] * 60}))
    out = capsys.readouterr().out
    assert "60 rows (50 shown)" in out
    write_answer(MIXED)
    assert "8 columns (" in capsys.readouterr().out


def test_csv_reads_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_answer(MIXED, "csv")
    out = capsys.readouterr().out
    first, second = csv.DictReader(out.splitlines(keepends=True))
    assert first["text"] == MIXED.column("text")[0].as_py()
    assert first["bytes"].startswith("\\x00\\xFF")
    assert float(first["number"]) == 0.123456789
    assert (first["exact"], first["yes"], second["yes"]) == ("0.80", "true", "")
    assert first["when"] == "2026-01-02 03:04:05+00", "whatever the zone of this machine"
    write_answer(MIXED, "csv", tmp_path / "it's.csv")
    assert (tmp_path / "it's.csv").read_text() == out


def test_json_is_records(tmp_path: Path) -> None:
    write_answer(MIXED, "json", tmp_path / "out.json")

    def refuse(literal: str) -> None:
        raise AssertionError(f"{literal} is not JSON")

    text = (tmp_path / "out.json").read_text()
    first, second = json.loads(text, parse_constant=refuse)
    assert list(first) == MIXED.column_names
    assert first["list"] == [{"plan": "explore", "probability": 0.5}]
    assert second["number"] is None and second["exact"] == 2
    assert [p.name for p in tmp_path.iterdir()] == ["out.json"]


def test_parquet_needs_a_file_and_keeps_the_table(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="name a file"):
        write_answer(MIXED, "parquet")
    write_answer(MIXED, "parquet", tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet").schema.equals(MIXED.schema)


def test_answers_without_rows(capsys: pytest.CaptureFixture[str]) -> None:
    shown: dict[OutputFormat, str] = {}
    kinds: tuple[OutputFormat, ...] = ("table", "csv", "json")
    for kind in kinds:
        write_answer(MIXED.slice(0, 0), kind)
        shown[kind] = capsys.readouterr().out
    assert "0 rows" in shown["table"]
    assert shown["csv"] == ",".join(MIXED.column_names) + "\n"
    assert json.loads(shown["json"]) == []


def test_two_columns_of_one_name(capsys: pytest.CaptureFixture[str]) -> None:
    table = pa.table([[1], [2], [3]], names=["a", "a", "a_1"])
    write_answer(table, "csv")
    assert capsys.readouterr().out == "a,a_1,a_1_1\n1,2,3\n"
    write_answer(table, "json")
    assert json.loads(capsys.readouterr().out) == [{"a": 1, "a_1": 2, "a_1_1": 3}]


def test_the_order_of_the_rows_stays(capsys: pytest.CaptureFixture[str]) -> None:
    numbers = list(range(300_000, 0, -1))
    write_answer(pa.table({"n": numbers}), "csv")
    assert [int(line) for line in capsys.readouterr().out.split()[1:]] == numbers


def test_a_plan_is_drawn_as_duckdb_drew_it(
    taught: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    write_answer(run_sql(taught, "EXPLAIN FROM states"))
    assert capsys.readouterr().out.count("\n") > 5
