"""Answers in the terminal and in files."""

from __future__ import annotations

import csv
import io
import json
import sys
from datetime import UTC, datetime, time
from decimal import Decimal
from math import nan
from pathlib import Path

import duckdb
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


VALUES = {  # SQL: as CSV, and what JSON and Parquet have
    "(SELECT sum(x) FROM range(4001) t(x))": ("8002000", 8002000, 8002000),
    "(SELECT sum(9223372036854775807) FROM range(4))": (
        "36893488147419103228",
        36893488147419103228,
        Decimal(36893488147419103228),
    ),
    "170141183460469231731687303715884105727::HUGEINT": (
        "170141183460469231731687303715884105727",
        "170141183460469231731687303715884105727",
        "170141183460469231731687303715884105727",
    ),
    "[sum(1), NULL]": ("[1, NULL]", [1, None], [Decimal(1), None]),
    "{'HUGEINT': sum(1), 'BIT, x': 2}": (
        "{'HUGEINT': 1, 'BIT, x': 2}",
        {"HUGEINT": 1, "BIT, x": 2},
        {"HUGEINT": Decimal(1), "BIT, x": 2},
    ),
    "MAP{'a': sum(1)}": ("{a=1}", {"a": 1}, [("a", Decimal(1))]),
    "'infinity'::TIMESTAMP": ("infinity", "infinity", None),
    "'-infinity'::TIMESTAMPTZ": ("-infinity", "-infinity", None),
    "'infinity'::DATE": ("infinity", "infinity", None),
    "INTERVAL 3 MONTH + INTERVAL 2 DAY": ("3 months 2 days", "3 months 2 days", "3 months 2 days"),
    "INTERVAL '-1.5' SECOND": ("-00:00:01.5", "-00:00:01.5", "-00:00:01.5"),
    "[{'i': INTERVAL 1 DAY}]": ("[{'i': 1 day}]", [{"i": "1 day"}], [{"i": "1 day"}]),
    "union_value(n := 2)": ("2", {"n": 2}, "2"),
    "'x'::UNION(n INT, s VARCHAR)": ("x", {"s": "x"}, "x"),
    "'12:34:56+02'::TIMETZ": ("12:34:56+02", "12:34:56+02", "12:34:56+02"),
    "TIME '12:34:56.5'": ("12:34:56.5", "12:34:56.5", time(12, 34, 56, 500000)),
    "'0101'::BIT": ("0101", "0101", "0101"),
    "['01'::BIT]": ("[01]", ["01"], ["01"]),
    "'8fd1a0b4-1d6b-4f5c-9d9e-2b9f6b2f3b33'::UUID": ("8fd1a0b4-1d6b-4f5c-9d9e-2b9f6b2f3b33",) * 3,
    "'a'::ENUM('a', 'b')": ("a", "a", "a"),
    "'\\xAA\\x00'::BLOB": ("\\xAA\\x00", "\\xAA\\x00", b"\xaa\x00"),
    "1.50::DECIMAL(10, 2)": ("1.50", 1.5, Decimal("1.50")),
    "[1.5, 'nan'::DOUBLE, '-inf'::DOUBLE]": (
        "[1.5, nan, -inf]",
        [1.5, None, None],
        [1.5, nan, -float("inf")],
    ),
    "{'NaN': 'NaN', 'x': 'inf'::FLOAT}": (
        "{'NaN': NaN, 'x': inf}",
        {"NaN": "NaN", "x": None},
        {"NaN": "NaN", "x": float("inf")},
    ),
    "'say \"NaN\\'": ('say "NaN\\', 'say "NaN\\', 'say "NaN\\'),
    "18446744073709551615::UBIGINT": ("18446744073709551615", 2**64 - 1, 2**64 - 1),
    "[1, 2]::INT[2]": ("[1, 2]", [1, 2], [1, 2]),
    "[NULL]": ("[NULL]", [None], [None]),
}


@pytest.mark.parametrize("sql", VALUES)
def test_values_of_every_type_keep_their_meaning(sql: str, tmp_path: Path) -> None:
    as_csv, as_json, as_parquet = VALUES[sql]
    answer = run_sql(tmp_path, f"SELECT {sql} AS x")
    kinds: tuple[OutputFormat, ...] = ("table", "csv", "json", "parquet", "arrow")
    for kind in kinds:
        write_answer(answer, kind, tmp_path / kind)
    assert as_csv in (tmp_path / "table").read_text()
    [row] = csv.DictReader((tmp_path / "csv").open())
    assert row["x"] == as_csv
    assert json.loads((tmp_path / "json").read_text(), parse_constant=pytest.fail) == [
        {"x": as_json}
    ]
    stored = pq.read_table(tmp_path / "parquet").to_pylist()
    assert repr(stored) == repr([{"x": as_parquet}])  # nan is not equal to itself
    with pa.ipc.open_file(tmp_path / "arrow") as file:
        assert len(file.read_all().to_pylist()) == 1


def test_one_infinite_date_does_not_hide_the_others(tmp_path: Path) -> None:
    sql = "SELECT unnest(['infinity', '2026-01-02', NULL, '290000-01-01'])::TIMESTAMP_S AS x"
    write_answer(run_sql(tmp_path, sql), "parquet", tmp_path / "out.parquet")
    with duckdb.connect() as connection:
        stored = connection.sql(f"SELECT x::VARCHAR FROM '{tmp_path}/out.parquet'").fetchall()
    assert [x for (x,) in stored] == [None, "2026-01-02 00:00:00", None, "290000-01-01 00:00:00"]


def test_parquet_columns_of_one_name_can_be_read(tmp_path: Path) -> None:
    write_answer(run_sql(tmp_path, "SELECT 1 AS a, 2 AS a"), "parquet", tmp_path / "out")
    assert pq.read_table(tmp_path / "out").to_pylist() == [{"a": 1, "a_1": 2}]


@pytest.mark.parametrize("columns", ["0", "1", "-5", "wide"])
def test_a_terminal_without_a_sensible_width(
    columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    write_answer(pa.table({"number": [12345]}))
    assert "12345" in capsys.readouterr().out


def test_json_on_a_terminal_that_is_not_utf8_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(buffer, encoding="ascii"))
    write_answer(pa.table({"x": ["é–日😀"]}), "json")
    sys.stdout.flush()
    assert json.loads(buffer.getvalue()) == [{"x": "é–日😀"}]
