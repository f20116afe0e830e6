"""The views as SQL: any DuckDB database answers as `llm4teach sql` does."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from llm4teach.analysis.sql.init_script import init_script
from llm4teach.analysis.sql.named_queries import named_queries, parse_parameters
from llm4teach.analysis.sql.query import VIEWS, connect
from llm4teach.datasets.runs import Run
from llm4teach.datasets.workspace import Workspace
from llm4teach.errors import QueryError

from .conftest import CONFIG, RUN, TASK, play, write_episode


def opened(workspace: Workspace) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute(init_script(workspace))
    return connection


def test_a_fresh_database_has_all_views(taught: Workspace) -> None:
    open_run = Run(taught, "teach-20270101-000000-000000-aaaa", "teach")
    open_run.start(CONFIG)
    for step in (1, 2):
        open_run.log("finetune", step, {"it's": 1})
        open_run.flush()
    with opened(taught) as plain, connect(taught) as ours:
        for view in VIEWS:
            assert plain.sql(f"FROM {view}").types == ours.sql(f"FROM {view}").types, view
            answers = [c.sql(f"FROM {view} ORDER BY ALL").fetchall() for c in (plain, ours)]
            assert answers[0] == answers[1] and answers[0], view
        sql = "SELECT max(step) FROM metrics WHERE name = 'it''s'"
        assert plain.sql(sql).fetchall() == [(2,)]
        # The names of an earlier release: a table and a column.
        assert plain.sql("SELECT count(*) FROM outcomes").fetchall()[0][0]
        assert plain.sql("SELECT count(behaviour) FROM trajectories").fetchall()[0][0]


def test_named_queries_run_over_the_script(taught: Workspace) -> None:
    query = named_queries()["cost"]
    with opened(taught) as plain, connect(taught) as ours:
        rows = [c.execute(query.sql, query.bind({})).fetchall() for c in (plain, ours)]
    assert rows[0] == rows[1] and rows[0]


@pytest.mark.parametrize("name", ["it's", "größe", "a [b] *c?", "**", "[!x]", "x=y", "50%2F"])
def test_empty_views_are_typed_and_any_folder_will_do(tmp_path: Path, name: str) -> None:
    workspace = Workspace(tmp_path / name)
    write_episode(workspace, RUN, 0, play(2))
    write_episode(Workspace(tmp_path / "a b xyc1"), "teach-20270101-000000-bbbb", 0, play(2))
    with opened(workspace) as plain, connect(workspace) as ours:
        for view in VIEWS:
            assert plain.sql(f"FROM {view}").types == ours.sql(f"FROM {view}").types, view
        assert plain.sql("FROM runs").fetchall() == []
        found = plain.sql("SELECT DISTINCT task, run_id FROM trajectories").fetchall()
        assert found == [(TASK, RUN)]


def test_what_cannot_be_written_is_named(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(QueryError, match="there is no workspace"):
        init_script(Workspace(tmp_path / "nowhere"))
    inside = Workspace(tmp_path / "run=other" / "w")
    write_episode(inside, RUN, 0, play(2))
    with pytest.raises(QueryError, match="in a folder named run=other"):
        init_script(inside)
    part = write_episode(workspace, RUN, 0, play(2))
    part.write_bytes(part.read_bytes()[:-30])
    with pytest.raises(QueryError, match=part.name):
        init_script(workspace)


def test_parameters() -> None:
    assert parse_parameters(["a=x=y", "b="]) == {"a": "x=y", "b": ""}
    for wrong in (["a"], ["=x"], ["a=1", "a=2"]):
        with pytest.raises(QueryError, match="write each once, as name=value"):
            parse_parameters(wrong)
