"""Rows of a CSV file: typed, unique by key, whole after an interruption, never computed twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm4teach.analysis.rows_file import Row, RowsFile, run_jobs
from llm4teach.errors import DatasetError

COLUMNS: dict[str, Any] = {"name": str, "n": int, "rate": float}
KEY = ("name", "n")
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0")),
            "n": st.integers(),
            "rate": st.floats(allow_nan=False),
        }
    )
)


def rows_file(path: Path | None) -> RowsFile:
    return RowsFile(path, COLUMNS, KEY)


@given(first=ROWS, second=ROWS)
def test_the_file_has_the_last_row_of_each_key(
    tmp_path_factory: pytest.TempPathFactory, first: list[Row], second: list[Row]
) -> None:
    path = tmp_path_factory.mktemp("rows") / "new" / "rows.csv"
    kept = rows_file(path)
    kept.add(first)
    kept.add(second)
    expected = {(row["name"], row["n"]): row for row in first + second}
    read = rows_file(path)
    assert {(row["name"], row["n"]): row for row in read} == expected
    assert all(key in read and read[key] == row for key, row in expected.items())
    assert ("", "no number") not in read
    assert not list(path.parent.glob("*.tmp"))


def test_without_a_file_rows_stay_in_memory() -> None:
    rows = rows_file(None)
    rows.add([{"name": "a", "n": 1, "rate": 0.5}])
    assert ("a", 1) in rows


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name,n\na,1\n", "has the columns name, n, not name, n, rate; give another file"),
        ("", "has the columns none, not name, n, rate"),
        ("name,n,rate\na,1,0.5\nb,x,1\n", "line 3: invalid literal for int"),
        ("name,n,rate\na,1\n", "line 2: "),
    ],
)
def test_a_file_of_something_else_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(text)
    with pytest.raises(DatasetError, match=complaint) as caught:
        rows_file(path)
    assert str(path) in str(caught.value)
    assert path.read_text() == text


def test_each_job_is_stored_when_it_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = [{"name": "a", "n": 2, "rate": 1.0}, {"name": "a", "n": -2, "rate": 2.0}]
    second = [{"name": "a", "n": 1, "rate": 3.0}]
    rows, no_rows = rows_file(tmp_path / "rows.csv"), 3
    with pytest.raises(TypeError, match="'int' object is not iterable"):
        run_jobs(list, [(first,), (second,), (no_rows,)], 1, rows, lambda row: str(row["n"]))
    assert list(rows_file(tmp_path / "rows.csv")) == [first[1], second[0], first[0]]
    assert capsys.readouterr().err == "1/3: 2\n1/3: -2\n2/3: 1\n"
