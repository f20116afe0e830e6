"""SQL over a workspace: what it answers, what it refuses, and how it says so."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest

from llm4teach.analysis.sql.query import VIEWS, connect, run_sql
from llm4teach.datasets.runs import Run
from llm4teach.datasets.storage.parquet import flat_part_names, part_paths
from llm4teach.datasets.trajectories import read_steps
from llm4teach.datasets.workspace import Workspace
from llm4teach.errors import QueryError

from .conftest import CONFIG, RUN, TASK, play, write_episode


def records(workspace: Workspace, sql: str) -> list[dict[str, object]]:
    return run_sql(workspace, sql).to_pylist()


def files(workspace: Workspace) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in workspace.root.rglob("*")}


def test_views_of_an_empty_workspace_have_the_full_columns(
    workspace: Workspace, taught: Workspace
) -> None:
    for view in VIEWS:
        empty, full = (run_sql(w, f"DESCRIBE {view}").to_pylist() for w in (workspace, taught))
        assert empty == full, view
        assert records(workspace, f"SELECT count(*) AS n FROM {view}") == [{"n": 0}]
        assert records(taught, f"SELECT count(*) AS n FROM {view}")[0]["n"], view


def test_a_missing_workspace_is_named(tmp_path: Path) -> None:
    with pytest.raises(QueryError, match=r"there is no workspace .*nowhere"):
        run_sql(tmp_path / "nowhere", "FROM runs")
    assert not (tmp_path / "nowhere").exists()


def test_trajectories_have_their_task_and_reshape(taught: Workspace) -> None:
    [row] = records(taught, "FROM trajectories ORDER BY episode_id, t LIMIT 1")
    assert (row["task"], row["run_id"], row["seed"], row["t"]) == (TASK, RUN, 1, 0)
    assert row["observation"] == play(1).observations[0].tobytes()
    [ends] = records(
        taught,
        "SELECT sum((terminated OR truncated)::INT) AS ends, count(DISTINCT episode_id) AS episodes"
        f" FROM trajectories WHERE task = '{TASK}'",
    )
    assert ends["ends"] == ends["episodes"] == 2


def test_parts_are_read_by_duckdb_itself(taught: Workspace) -> None:
    """Arrow's reader, which stands in where a part is damaged, takes several times as long."""
    for view in ("trajectories", "advice"):
        [row] = records(taught, f"EXPLAIN SELECT count(*) FROM {view}")
        assert "READ_PARQUET" in str(row)


def test_states_count_steps_over_runs(workspace: Workspace) -> None:
    episode = play(9)
    runs = ["teach-20260101-000000-aaaa", "collect-20260301-000000-bbbb"]  # not sorted by name
    for run_id in runs:
        write_episode(workspace, run_id, 0, episode)
    rows = records(workspace, "FROM states")
    steps = records(workspace, "SELECT state_key, count(*) AS n FROM trajectories GROUP BY ALL")
    assert {r["state_key"]: r["steps"] for r in rows} == {r["state_key"]: r["n"] for r in steps}
    assert sum(r["steps"] for r in rows) == 2 * len(episode.actions)
    assert {(r["first_run"], r["last_run"]) for r in rows} == {tuple(runs)}
    assert {r["state_text"] for r in rows} >= {"Agent sees <key>, holds <nothing>."}


def test_advice_joins_the_states(taught: Workspace) -> None:
    rows = records(
        taught,
        "SELECT s.state_text, a.family, a.teacher, unnest(a.options).plan AS plan "
        "FROM states s JOIN advice a USING (state_key) WHERE a.status = 'ok'",
    )
    assert rows
    assert {(r["family"], r["teacher"]) for r in rows} == {(TASK, "smollm2")}
    assert any(r["plan"] == "go to key > pick up key" for r in rows)


def test_runs_complete_unfinished_and_damaged(workspace: Workspace) -> None:
    done, begun, broken = (f"teach-20260101-00000{i}-aaaa" for i in range(3))
    for run_id in (done, begun, broken):
        Run(workspace, run_id, "teach").start(CONFIG)
    Run(workspace, done, "teach").note(questions=7)
    Run(workspace, done, "teach").finish()
    (workspace.run(broken) / "manifest.json").write_text('{"run_id": "te')
    rows = records(
        workspace,
        "SELECT run_id, kind, status, config->>'$.task' AS task, results->>'$.questions' AS q, "
        "created_at IS NOT NULL AS dated, wall_s >= 0 AS timed FROM runs ORDER BY run_id",
    )
    assert [tuple(r.values()) for r in rows] == [
        (done, "teach", "complete", TASK, "7", True, True),
        (begun, "teach", "unfinished", TASK, None, True, None),
        (broken, None, "damaged", None, None, False, None),
    ]


def test_old_parts_with_fewer_columns_read_as_null(workspace: Workspace, taught: Workspace) -> None:
    import pyarrow.parquet as pq

    [part, *_] = part_paths(taught.root / "advice")
    folder = workspace.advice(TASK, "older")
    folder.mkdir(parents=True)
    older = pq.ParquetFile(part).read().drop(["cost", "method"])
    pq.write_table(older, folder / f"part-{1:032x}.parquet")
    [row] = records(workspace, "SELECT teacher, method, cost, prompt_tokens FROM advice LIMIT 1")
    assert row == {"teacher": "older", "method": None, "cost": None, "prompt_tokens": 812}


def test_a_linked_folder_of_a_task_counts_as_for_training(tmp_path: Path) -> None:
    """Also one that leads back to itself; each row counts once, and under its own name."""
    elsewhere, workspace = Workspace(tmp_path / "disk"), Workspace(tmp_path / "w")
    write_episode(elsewhere, RUN, 0, play(2))
    elsewhere.trajectories(TASK).rename(tmp_path / "moved")
    workspace.trajectories(TASK).parent.mkdir(parents=True)
    workspace.trajectories(TASK).symlink_to(tmp_path / "moved")
    (tmp_path / "moved" / "again").symlink_to(tmp_path / "moved")
    trained_on = read_steps(workspace.trajectories(TASK), play(2).observations.shape[1:])
    [row] = records(workspace, "SELECT task, run_id, count(*) AS n FROM trajectories GROUP BY ALL")
    assert row == {"task": TASK, "run_id": RUN, "n": len(trained_on)}


COPIES = [
    "{stem} (1).parquet",
    "{stem}.sync-conflict-20261129-080010-ABCDEFG.parquet",
    "{stem} (conflicted copy 2026-11-29).parquet",
    "{stem}-LAPTOP.parquet",
    "{stem} copy.parquet",
    "Copy of {stem}.parquet",
    "._{stem}.parquet",
    ".{stem}.parquet.0a1b.tmp",
    ".stversions/{stem}.parquet",
    "@eaDir/{stem}.parquet",
    ".ipynb_checkpoints/{stem}.parquet",
    "../{run} (1)/{stem}.parquet",
    "../{run}.sync-conflict-20261129-080010-ABCDEFG/{stem}.parquet",
]


@pytest.mark.parametrize("copy", COPIES)
def test_copies_that_other_programs_make_are_not_counted(workspace: Workspace, copy: str) -> None:
    part = write_episode(workspace, RUN, 0, play(2))
    assert isinstance(part, Path)
    path = part.parent / copy.format(stem=part.stem, run=part.parent.name)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(part.read_bytes())
    n = len(play(2).observations)
    assert records(workspace, "SELECT count(*) AS n FROM trajectories") == [{"n": n}]
    stored = read_steps(workspace.trajectories(TASK), play(2).observations.shape[1:])
    assert len(stored) == n
    assert flat_part_names(part.parent) == [part.name]


def test_copies_of_runs_are_not_counted(taught: Workspace, tmp_path: Path) -> None:
    import shutil

    workspace = Workspace(shutil.copytree(taught.root, tmp_path / "w"))
    tables = ("runs", "metrics", "evaluations", "reweighting", "agreement")
    sql = " UNION ALL ".join(f"SELECT '{t}' AS name, count(*) AS n FROM {t}" for t in tables)
    before = records(workspace, sql)
    for name in (f"{RUN} (1)", "@eaDir", ".ipynb_checkpoints", "backup"):
        shutil.copytree(workspace.run(RUN), workspace.run(name))
    assert records(workspace, sql) == before


@pytest.mark.parametrize("name", ["it's", "a [b] *c?", "x=y", "größe"])
def test_any_folder_name_will_do(tmp_path: Path, name: str) -> None:
    workspace = Workspace(tmp_path / name)
    write_episode(workspace, RUN, 0, play(2))
    assert records(workspace, "SELECT DISTINCT task, run_id FROM trajectories") == [
        {"task": TASK, "run_id": RUN}
    ]


@pytest.mark.parametrize(
    "sql",
    [
        "COPY states TO '{root}/out.csv'",
        "COPY (SELECT 1) TO '/tmp/llm4teach-out.parquet'",
        "EXPORT DATABASE '{root}/dump'",
        "ATTACH '{root}/x.duckdb'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET threads = 1",
        "SET enable_external_access = true",
        "RESET enable_external_access",
        "SELECT * FROM read_text('{root}/../secret.txt')",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '{root}/../secret.csv'",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM read_parquet('https://example.org/x.parquet')",
        "EXPLAIN ANALYZE COPY states TO '{root}/out.csv'",
        "WITH x AS (COPY states TO '{root}/out.csv') SELECT 1",
        "COPY (SELECT 1) TO '{part}' (USE_TMP_FILE false)",
        "COPY (SELECT 1) TO 'llm4teach://{part}' (USE_TMP_FILE false)",
        "WITH x AS (COPY (SELECT 1) TO 'llm4teach://{part}' (USE_TMP_FILE false)) SELECT 1",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO 'llm4teach://{part}' (USE_TMP_FILE false)",
        "COPY (SELECT 1) TO 'llm4teach://new.parquet'",
    ],
)
def test_nothing_leaves_or_enters(taught: Workspace, tmp_path: Path, sql: str) -> None:
    part = part_paths(taught.root / "advice")[0].relative_to(taught.root)
    sql = sql.format(root=taught.root, part=part, run=RUN)
    (taught.root.parent / "secret.txt").write_text("secret")
    (taught.root.parent / "secret.csv").write_text("secret\n1\n")
    before = files(taught)
    with pytest.raises(QueryError) as refused:
        run_sql(taught, sql)
    assert "secret\n" not in str(refused.value)
    with connect(taught) as connection, pytest.raises(duckdb.Error):
        connection.execute(sql)  # DuckDB itself refuses; the statement's kind is no matter
    assert files(taught) == before
    assert not Path("/tmp/llm4teach-out.parquet").exists()


@pytest.mark.parametrize("path", [f"runs/{RUN}/config.json", "**", "trajectories/**", "../x"])
def test_the_file_system_has_nothing_but_parts(taught: Workspace, path: str) -> None:
    assert (taught.root / "runs" / RUN / "config.json").exists()
    with connect(taught) as connection:
        for sql in ("SELECT * FROM read_text($1)", "SELECT * FROM glob($1)"):
            assert connection.execute(sql, [f"llm4teach://{path}"]).fetchall() == []


@pytest.mark.parametrize(
    "sql", ["DROP VIEW states", "CREATE TABLE t AS FROM runs", "DELETE FROM t"]
)
def test_only_questions_are_answered(taught: Workspace, sql: str) -> None:
    with pytest.raises(QueryError, match="only questions are answered"):
        run_sql(taught, sql)


def test_python_variables_are_out_of_reach(taught: Workspace) -> None:
    import pyarrow as pa

    hidden = pa.table({"a": [1]})
    with pytest.raises(QueryError, match="hidden does not exist"):
        run_sql(taught, "FROM hidden")
    assert hidden.num_rows == 1


@pytest.mark.parametrize(
    "sql",
    [
        "FROM runs",
        "VALUES (1)",
        "SHOW TABLES",
        "SUMMARIZE metrics",
        "PIVOT evaluations ON policy USING avg(success::INT) GROUP BY mode",
        "EXPLAIN FROM states",
        "WITH a AS (FROM advice) SELECT date_trunc('day', created_at) FROM a",
    ],
)
def test_every_kind_of_question(taught: Workspace, sql: str) -> None:
    assert run_sql(taught, sql).num_rows


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("SELEC 1", 'syntax error at or near "SELEC"'),
        ("SELECT * FROM state", "Did you mean states?"),
        ("SELECT * FROM trajectory", "Did you mean trajectories?"),
        ("SELECT succes FROM evaluations", 'Candidate bindings: "success"'),
        ("SELECT * FROM qqqqqq", f"The tables are: {', '.join(VIEWS)}."),
        ("", "expected one SQL statement, got 0"),
        ("SELECT 1; SELECT 2", "expected one SQL statement, got 2"),
    ],
)
def test_wrong_sql_is_explained_in_short(taught: Workspace, sql: str, says: str) -> None:
    with pytest.raises(QueryError) as wrong:
        run_sql(taught, sql)
    assert says in str(wrong.value)
    assert len(str(wrong.value).splitlines()) <= 3


@pytest.mark.parametrize("cut", [0, 10, -30])
def test_a_truncated_part_is_named_and_hides_nothing_else(workspace: Workspace, cut: int) -> None:
    part = write_episode(workspace, RUN, 0, play(2))
    write_episode(workspace, RUN, 1, play(3))
    content = part.read_bytes()
    part.write_bytes(content[:cut])
    for sql in ("SELECT count(*) FROM trajectories", "FROM states"):
        with pytest.raises(QueryError, match="not a readable Parquet file") as damaged:
            run_sql(workspace, sql)
        assert str(part) in str(damaged.value)
    assert run_sql(workspace, "FROM runs").num_rows == 0


def test_a_part_damaged_inside_is_named(workspace: Workspace) -> None:
    part = write_episode(workspace, RUN, 0, play(2))
    content = bytearray(part.read_bytes())
    content[4:400] = bytes(396)
    part.write_bytes(bytes(content))
    with pytest.raises(QueryError) as damaged:
        run_sql(workspace, "FROM trajectories")
    assert str(part) in str(damaged.value)


def test_temporary_files_of_writers_are_not_read(workspace: Workspace) -> None:
    part = write_episode(workspace, RUN, 0, play(2))
    (part.parent / f".{part.name}.abc.tmp").write_bytes(b"half")
    assert records(workspace, "SELECT count(*) AS n FROM trajectories")[0]["n"]


def test_asking_writes_nothing(taught: Workspace) -> None:
    before = files(taught)
    run_sql(taught, "FROM states")
    json.dumps(records(taught, "SELECT config FROM runs"))
    assert files(taught) == before
