"""The views as plain SQL, for DuckDB's own shell, a notebook or a database tool."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import duckdb

from llm4teach.analysis.sql.part_files import PROTOCOL, PartFiles, part_url
from llm4teach.analysis.sql.views import (
    FOLDERS,
    RENAMED_VALUES,
    RUNS,
    STATES,
    quoted,
    runs_table,
    select_parts,
    stored_tables,
)
from llm4teach.datasets.storage.paths import StoragePath
from llm4teach.datasets.workspace import Workspace
from llm4teach.errors import QueryError


def init_script(workspace: Workspace) -> str:
    """Return SQL that creates the views of `query.connect` in any DuckDB database.

    The views read the files that are there now, by their absolute paths; those of an object store
    need DuckDB's httpfs. Columns and views have their earlier names, too.

    Raises:
        QueryError: the workspace does not exist, or one of its files is damaged.
    """
    if not workspace.exists:
        raise QueryError(f"there is no workspace {workspace.root}; give an earlier run's folder")
    keys = "|".join(key for folders in FOLDERS.values() for key in folders)
    if outer := re.search(rf"/(({keys})=[^/]*)", str(workspace.root)):
        raise QueryError(
            f"the workspace {workspace.root} is in a folder named {outer[1]}, which DuckDB takes "
            "for a column of ours; rename that folder, or ask with `llm4teach sql`"
        )
    views: dict[str, str] = {}
    tables = stored_tables(workspace)
    with duckdb.connect() as connection:
        files = [path for _, paths in tables.values() for path in paths]
        connection.register_filesystem(PartFiles(workspace.root, files))
        for name, (table, paths) in tables.items():
            urls = [part_url(path, workspace.root) for path in paths]
            folders, values = FOLDERS.get(name, {}), RENAMED_VALUES.get(name)
            try:
                select = select_parts(connection, table, urls, folders, values)
            except duckdb.Error as error:
                raise QueryError(f"{name}: {str(error).splitlines()[0]}") from None
            views[name] = select.replace(f"'{PROTOCOL}://", f"'{_as_pattern(workspace.root)}/")
    views |= {"runs": _runs(workspace), "states": STATES.strip(), "outcomes": "FROM reweighting"}
    lines = [
        f"-- SQL views of the llm4teach workspace {workspace.root}",
        f"-- as of {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC. Write the file anew to see new runs.",
        "-- Open it with: duckdb -init FILE",
        "SET TimeZone = 'UTC';",
        *(f"CREATE OR REPLACE VIEW {name} AS {select};" for name, select in views.items()),
    ]
    return "\n".join(lines) + "\n"


def _as_pattern(folder: StoragePath) -> str:
    """A folder within an SQL literal; DuckDB takes every file's name for a pattern."""
    return re.sub(r"([*?\[])", r"[\1]", str(folder)).replace("'", "''")


def _runs(workspace: Workspace) -> str:
    """The runs as literals: some are of a manifest, some of a configuration only."""
    kinds = {"created_at": "TIMESTAMPTZ", "wall_s": "DOUBLE", "config": "JSON", "results": "JSON"}
    columns = ", ".join(f"{name}::{kinds.get(name, 'VARCHAR')} AS {name}" for name in RUNS.names)
    rows = [_row(row) for row in runs_table(workspace).to_pylist()] or [_row({})]
    where = "" if workspace.run_ids() else " WHERE false"
    values = ",\n    ".join(rows)
    return f"SELECT {columns} FROM (VALUES\n    {values}\n) t({', '.join(RUNS.names)}){where}"


def _row(run: dict[str, Any]) -> str:
    values = (run.get(name) for name in RUNS.names)
    return f"({', '.join('NULL' if v is None else quoted(str(v)) for v in values)})"
