"""SQL over a workspace: read-only views of its Parquet and JSON files, in DuckDB.

DuckDB itself gets access to no file, so that no statement, however it is written, reads or writes
anything but the views: parts it reads through `part_files`, all else comes to it as Arrow data.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

import duckdb
import pyarrow as pa

from llm4teach.analysis.sql.named_queries import named_query
from llm4teach.analysis.sql.part_files import PROTOCOL, PartFiles, part_url
from llm4teach.analysis.sql.plain_types import to_arrow
from llm4teach.analysis.sql.views import (
    FOLDERS,
    STATES,
    ReadAnew,
    Unreadable,
    runs_table,
    select_parts,
    stored_tables,
)
from llm4teach.datasets.storage.parquet import read_parquet
from llm4teach.datasets.storage.paths import StoragePath
from llm4teach.datasets.workspace import Workspace
from llm4teach.errors import DatasetError, QueryError

VIEWS = (
    "trajectories",
    "states",
    "advice",
    "runs",
    "metrics",
    "reweighting",
    "outcomes",
    "evaluations",
    "agreement",
)

_SETTINGS = (
    "SET TimeZone = 'UTC'",  # days are the same wherever one asks
    "SET python_enable_replacements = false",  # else a table name could name a Python variable
    "SET parquet_metadata_cache = true",  # parts never change
    "SET temp_directory = ''",  # a query that outgrows the memory fails, and leaves no files
)
_NO_EXTERNAL_ACCESS = (
    f"SET allowed_directories = ['{PROTOCOL}://']",
    "SET enable_external_access = false",
)
_RUNS = """
    CREATE TEMP TABLE runs AS
    SELECT * REPLACE (config::JSON AS config, results::JSON AS results) FROM _runs
"""
_WRONG_SQL = (
    duckdb.ParserException,
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.ConversionException,
    duckdb.OutOfRangeException,
    duckdb.OutOfMemoryException,
    duckdb.PermissionException,
)
_QUESTIONS = {"SELECT", "EXPLAIN", "MULTI"}  # MULTI is what DuckDB makes of a PIVOT


def connect(
    workspace: Workspace | str | StoragePath, *, allow_external: bool = False
) -> duckdb.DuckDBPyConnection:
    """Open an in-memory database with the views `VIEWS`, all of them there even without data.

    ``trajectories``, ``states``, ``advice`` and ``runs`` cover the files that are there now; the
    others, whose files a run replaces while it goes on, are read anew by each query.
    ``trajectories`` has the column ``task`` beside its stored ones, ``advice`` has ``family`` and
    ``teacher`` (its folder), ``states`` has one row for each task and state_key, ``runs`` one for
    each run (status: complete, unfinished or damaged).

    The workspace is never written to. The connection reaches no file and its settings are locked;
    what one creates in it stands in memory and is gone with it.

    Args:
        workspace: to look at.
        allow_external: let statements reach other files and the network, for reading *and
            writing*, as any DuckDB connection does.

    Raises:
        QueryError: the workspace does not exist.
    """
    workspace = _workspace(workspace)
    if not workspace.exists:
        raise QueryError(f"there is no workspace {workspace.root}; give an earlier run's folder")
    connection = duckdb.connect(":memory:")
    tables = stored_tables(workspace)
    parts = [path for name in FOLDERS for path in tables[name][1]]
    # First: a file system that comes after the lock is locked out, too.
    connection.register_filesystem(PartFiles(workspace.root, parts))
    for statement in (*_SETTINGS, *(() if allow_external else _NO_EXTERNAL_ACCESS)):
        connection.execute(statement)
    for name, (table, paths) in tables.items():
        if name not in FOLDERS:
            connection.register(name, ReadAnew(workspace, name))
            continue
        urls = [part_url(path, workspace.root) for path in paths]
        try:
            select = select_parts(connection, table, urls, FOLDERS[name])
            connection.execute(f"CREATE TEMP VIEW {name} AS {select}")
        except duckdb.Error as error:
            connection.register(name, Unreadable(table, error))
    connection.execute(f"CREATE TEMP VIEW states AS {STATES}")
    connection.execute("CREATE TEMP VIEW outcomes AS FROM reweighting")  # its name until 0.1
    connection.register("_runs", runs_table(workspace))
    connection.execute(_RUNS)
    connection.unregister("_runs")
    if not allow_external:
        connection.execute("SET lock_configuration = true")
    return connection


def run_query(
    workspace: Workspace | str | StoragePath, name: str, parameters: Mapping[str, str] | None = None
) -> pa.Table:
    """Answer a question of the library; see `named_queries`.

    Raises:
        QueryError: there is no such query, its parameters are wrong, or a file is damaged.
    """
    query = named_query(name)
    return run_sql(workspace, query.sql, query.bind(parameters or {}))


def run_sql(
    workspace: Workspace | str | StoragePath,
    sql: str,
    parameters: Mapping[str, str] | None = None,
    *,
    allow_external: bool = False,
) -> pa.Table:
    """Answer one question: SELECT, FROM, WITH, DESCRIBE, SUMMARIZE, SHOW, PIVOT or EXPLAIN.

    Args:
        workspace: to ask about.
        sql: one statement.
        parameters: values of ``$name`` in it, all of them text; they are bound, never pasted in.
        allow_external: let the question read other files too (``read_csv('…')``).

    Raises:
        QueryError: the SQL is wrong or no question, or a file that it needs is damaged.
    """
    workspace = _workspace(workspace)
    with connect(workspace, allow_external=allow_external) as connection:
        try:
            statements = duckdb.extract_statements(sql)
            if len(statements) != 1:
                raise QueryError(f"expected one SQL statement, got {len(statements)}")
            if (kind := statements[0].type.name) not in _QUESTIONS:
                raise QueryError(
                    f"this is a {kind} statement; only questions are answered (SELECT, FROM, WITH, "
                    "DESCRIBE, SUMMARIZE, SHOW, PIVOT, EXPLAIN), and nothing is ever changed"
                )
            if wrong := _parameters_problem(statements[0], parameters or {}):
                raise QueryError(wrong)
            return to_arrow(connection.sql(sql, params=dict(parameters) if parameters else None))
        except duckdb.Error as error:
            message = _damaged_file(workspace, error) or _explain(str(error))
            raise QueryError(message) from None


def _parameters_problem(statement: duckdb.Statement, values: Mapping[str, str]) -> str:
    """What is wrong with the parameters; "" if nothing is."""
    wanted = set(statement.named_parameters)
    if missing := sorted(wanted - values.keys()):
        return f"the SQL has the parameter ${missing[0]}; give it with --param {missing[0]}=…"
    if unknown := sorted(values.keys() - wanted):
        has = ", ".join(f"${name}" for name in sorted(wanted)) or "none"
        return f"the SQL has no parameter ${unknown[0]}, it has: {has}"
    return ""


def _workspace(workspace: Workspace | str | StoragePath) -> Workspace:
    return workspace if isinstance(workspace, Workspace) else Workspace(workspace)


def _damaged_file(workspace: Workspace, error: duckdb.Error) -> str:
    """What is wrong with the file that could not be read; "" if it is the SQL that is wrong."""
    if isinstance(error, _WRONG_SQL):
        return ""
    for table, paths in stored_tables(workspace).values():
        for path in paths:
            try:
                read_parquet(path, table.with_metadata({b"schema_version": b"1000"}))
            except DatasetError as damage:
                return str(damage)
    return ""


def _explain(message: str) -> str:
    """DuckDB's message in short, with what the reader may have meant."""
    lines = message.strip().splitlines()
    hints = [line for line in lines[1:] if line.startswith(("Did you mean", "Candidate"))]
    if missing := re.search(r"Table with name (\S+) does not exist", lines[0]):
        # DuckDB would propose its own internal tables
        close = difflib.get_close_matches(missing[1].lower(), VIEWS, n=1, cutoff=0.5)
        hints = [f"Did you mean {close[0]}?"] if close else []
    if "file system operations are disabled" in message or "external extensions" in message:
        lines[0] = f"a query reads the workspace's tables and nothing else ({lines[0]})"
    return "\n".join([lines[0], *hints, f"The tables are: {', '.join(VIEWS)}."])
