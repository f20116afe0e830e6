"""The interactive prompt: by a script of lines, and once as a person on a real terminal has it."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from llm4teach.analysis.sql.named_queries import QueryError
from llm4teach.analysis.sql.query import VIEWS
from llm4teach.analysis.sql.shell import Shell, describe_queries, parse_parameters
from llm4teach.datasets.workspace import Workspace

from .conftest import RUN, play, write_episode


def typed(workspace: Workspace, *lines: str) -> None:
    """Run the prompt over these lines."""
    waiting: Iterator[str] = iter(lines)

    def read_line(prompt: str) -> str:
        try:
            return next(waiting)
        except StopIteration:
            raise EOFError from None

    Shell(workspace, read_line=read_line).run()


def test_statements_of_several_lines_and_commands(
    taught: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    typed(
        taught,
        ".format csv",
        "SELECT count(*) AS n",
        "  FROM runs;",
        ".query cost teacher=embedded",
        ".queries",
        ".tables",
        "SELECT 42 AS last",  # the end of the input ends the statement
    )
    out = capsys.readouterr().out
    assert out.startswith("n\n1\nday,family,teacher_id,questions,")
    assert describe_queries() in out and "runs: run_id, kind, status" in out
    assert out.endswith("last\n42\n")


def test_an_error_ends_nothing(taught: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    typed(
        taught,
        "SELEC 1;",
        ".query disagreement a=x",
        ".query cost x",
        "DROP VIEW runs;",
        ".query 'cost",
        ".format csv",
        "SELECT 1 AS one;",
        ".quit",
        "SELECT 2 AS two;",
    )
    shown = capsys.readouterr()
    assert shown.out == "one\n1\n"
    for words in ("syntax error", "needs --param b", "'x' is not", "only questions", "quotation"):
        assert f"{words}" in shown.err
    assert shown.err.count("error: ") == 5


def test_each_answer_is_of_the_workspace_by_then(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    def lines() -> Iterator[str]:
        yield ".format csv"
        yield "SELECT count(DISTINCT episode_id) AS n FROM trajectories;"
        write_episode(workspace, RUN, 0, play(2))
        yield "SELECT count(DISTINCT episode_id) AS n FROM trajectories;"

    waiting = lines()
    Shell(workspace, read_line=lambda prompt: next(waiting, ".quit")).run()
    assert capsys.readouterr().out == "n\n0\nn\n1\n"


def test_completion_knows_tables_columns_queries_and_keywords(taught: Workspace) -> None:
    shell = Shell(taught)

    def completions(text: str) -> list[str]:
        found, i = [], 0
        while (word := shell.complete(text, i)) is not None:
            found.append(word)
            i += 1
        return found

    assert completions("traj") == ["trajectories"]
    assert "SELECT" in completions("sel")
    assert {"state_key", "state_text", "states"} <= set(completions("stat"))
    assert completions("disag") == ["disagreement"]
    assert completions("") == [] == completions("xyz")
    assert all(view in completions(view) for view in VIEWS)


def test_parameters() -> None:
    assert parse_parameters(["a=x=y", "b="]) == {"a": "x=y", "b": ""}
    for wrong in (["a"], ["=x"], ["a=1", "a=2"]):
        with pytest.raises(QueryError, match="write each once, as name=value"):
            parse_parameters(wrong)


def test_on_a_terminal_tab_completes_and_history_is_kept(taught: Workspace, tmp_path: Path) -> None:
    main_end, terminal = pty.openpty()
    command = [sys.executable, "-m", "llm4teach", "sql", "--shell"]
    process = subprocess.Popen(
        [*command, "--workspace", str(taught.root)],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path), "TERM": "dumb"},
        cwd=tmp_path,
    )
    os.close(terminal)
    screen = ""

    def wait_for(text: str) -> None:
        nonlocal screen
        deadline = time.monotonic() + 60
        while text not in screen:
            assert time.monotonic() < deadline, screen
            if select.select([main_end], [], [], 0.2)[0]:
                screen += os.read(main_end, 65536).decode(errors="replace")
        screen = screen.partition(text)[2]

    try:
        wait_for("sql> ")
        os.write(main_end, b"SELECT count(*) AS played FROM evaluat\t;\n")
        wait_for("(1 row)")
        wait_for("sql> ")
        os.write(main_end, b"\x10\n")  # Ctrl-P: the statement before
        wait_for("(1 row)")
        wait_for("sql> ")
        os.write(main_end, b"\x04")
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        os.close(main_end)
    history = (tmp_path / "llm4teach" / "sql_history").read_text()
    assert "SELECT count(*) AS played FROM evaluations" in history
