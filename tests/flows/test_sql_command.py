"""`llm4teach sql`: named queries, parameters, formats, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.datasets.workspace import Workspace
from llm4teach.flows.cli.main import main


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    workspace = Workspace(tmp_path / "workspace")
    for teacher, plan in (("embedded/a", "explore"), ("openai/b", "open door")):
        store = AdviceStore(workspace.advice("SimpleDoorKey", teacher[-1]), teacher, "p1")
        options = [{"plan": plan, "probability": 1.0}]
        store.commit([{"state_key": "s", "state_text": "S", "status": "ok", "options": options}])
    return tmp_path


def test_a_named_query_with_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["sql", "--query", "disagreement", "--param", "a=embedded", "--param", "b=openai"]
    assert main([*asked, "--format", "json"]) == 0
    [row] = json.loads(capsys.readouterr().out)
    assert (row["a"], row["a_chooses"], row["b_chooses"]) == ("embedded/a", "explore", "open door")
    assert row["js"] == pytest.approx(0.6931, abs=1e-4)


def test_parameters_of_a_statement(capsys: pytest.CaptureFixture[str]) -> None:
    sql = "SELECT teacher_id FROM advice WHERE teacher_id LIKE $like"
    assert main(["sql", sql, "--param", "like=open%", "--format", "csv"]) == 0
    assert capsys.readouterr().out == "teacher_id\nopenai/b\n"


def test_the_list_names_every_query_and_parameter(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sql", "--list"]) == 0
    out = capsys.readouterr().out
    assert "disagreement\n    Where two teachers advise differently" in out
    assert "    smoothing: share of the uniform distribution in b, from 0 to 1 (default: '0.001')"


def test_arrow_goes_to_a_file(folder: Path) -> None:
    asked = ["sql", "SELECT count(*) AS n FROM advice", "--format", "arrow"]
    assert main([*asked, "--output", "n.arrow"]) == 0
    with pa.ipc.open_file(folder / "n.arrow") as file:
        assert file.read_all().to_pylist() == [{"n": 2}]


def test_the_views_go_to_a_script(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sql", "--init-script", "views.sql"]) == 0
    assert capsys.readouterr().out == "wrote views.sql; open it: duckdb -init views.sql\n"
    with duckdb.connect() as connection:
        connection.execute((folder / "views.sql").read_text())
        assert connection.sql("SELECT count(*) FROM advice").fetchall() == [(2,)]


def test_other_files_only_when_allowed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "more.csv").write_text("state_key,mine\ns,7\n")
    sql = "SELECT mine FROM advice JOIN read_csv('more.csv') USING (state_key) LIMIT 1"
    assert main(["sql", sql]) == 1
    assert "nothing else" in capsys.readouterr().err
    assert main(["sql", sql, "--allow-external", "--format", "csv"]) == 0
    assert capsys.readouterr().out == "mine\n7\n"
    assert main(["sql", "COPY advice TO 'out.csv'", "--allow-external"]) == 1, "still read-only"
    assert not (folder / "out.csv").exists()


@pytest.mark.parametrize(
    ("argv", "status", "message"),
    [
        (["--query", "costs"], 1, "there is no query 'costs'; did you mean cost?"),
        (["--query", "disagreement"], 1, "needs --param a=…"),
        (["--query", "cost", "--param", "teacher"], 1, "'teacher' is not a parameter"),
        (["--query", "cost", "SELECT 1"], 2, "give one SQL statement"),
        (["--init-script", "x.sql", "--list"], 2, "give one SQL statement"),
        (["SELECT 1", "--format", "arrow"], 2, "Arrow is not for the terminal; add --output"),
        (["--init-script", "x.sql", "--workspace", "nowhere"], 1, "there is no workspace"),
        (["SELECT $x"], 1, "give it with --param x=…"),
        (["SELECT 1", "-o", "s3://bucket/answer.csv"], 2, "is a URL; give a file on this machine"),
    ],
)
def test_misuse_is_explained(
    argv: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sql", *argv]) == status
    assert message in capsys.readouterr().err
