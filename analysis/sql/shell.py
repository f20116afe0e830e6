"""An interactive prompt for SQL over a workspace: several lines, history, completion."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

from llm4teach.analysis.sql.named_queries import QueryError, named_queries, named_query
from llm4teach.analysis.sql.query import VIEWS, connect, run_sql
from llm4teach.analysis.sql.tables import TableFormat, format_table
from llm4teach.datasets.workspace import Workspace

HELP = """\
A statement ends with a semicolon and may have several lines; Tab completes, ↑ brings back.
  .tables                 the tables and their columns
  .queries                the named queries
  .query NAME [a=… b=…]   answer one of them
  .format table|csv|json  how answers are shown
  .help  .quit            this text; leave (also Ctrl-D)"""
_COMMANDS = (".tables", ".queries", ".query", ".format", ".help", ".quit")
_KEYWORDS = """
    SELECT FROM WHERE GROUP BY ORDER HAVING LIMIT WITH JOIN LEFT ANTI SEMI USING ON AS AND OR NOT
    IN IS NULL LIKE BETWEEN CASE WHEN THEN ELSE END DISTINCT UNION ALL DESC ASC OVER PARTITION
    WINDOW QUALIFY FILTER UNNEST COUNT SUM AVG MIN MAX MEDIAN QUANTILE_CONT ARG_MAX ARG_MIN
    DESCRIBE SUMMARIZE SHOW PIVOT EXPLAIN
"""
HISTORY_LINES = 2_000


class Shell:
    """Reads statements and prints their answers, each over the workspace as it is by then.

    Args:
        workspace: to ask about.
        allow_external: see `query.connect`.
        read_line: shows a prompt and returns a line, or raises EOFError; `input` by default.
    """

    def __init__(
        self,
        workspace: Workspace,
        allow_external: bool = False,
        read_line: Callable[[str], str] = input,
    ) -> None:
        self._workspace, self._allow_external = workspace, allow_external
        self._read_line = read_line
        self._format: TableFormat = "table"
        self._columns = _columns(workspace)
        names = {name for columns in self._columns.values() for name in columns}
        self._words = sorted({*_KEYWORDS.split(), *_COMMANDS, *VIEWS, *names, *named_queries()})

    def run(self) -> None:
        """Go on until the end of the input or ``.quit``; an error ends nothing."""
        lines: list[str] = []
        while True:
            try:
                lines.append(self._read_line("...> " if lines else "sql> "))
            except KeyboardInterrupt:  # Ctrl-C drops what was typed so far
                lines.clear()
                print()
                continue
            except EOFError:
                if sys.stdin.isatty():
                    print()
                self._answer("\n".join(lines))
                return
            text = "\n".join(lines).strip()
            if text in (".quit", ".exit"):
                return
            if not text or text.startswith(".") or text.endswith(";"):
                lines.clear()
                self._answer(text)

    def complete(self, text: str, state: int) -> str | None:
        """Return the ``state``-th word that begins with ``text``, as readline asks for them."""
        found = [word for word in self._words if text and word.lower().startswith(text.lower())]
        return found[state] if state < len(found) else None

    def _answer(self, text: str) -> None:
        try:
            if text.startswith("."):
                self._command(*shlex.split(text))
            elif text:
                self._ask(text)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
        except (QueryError, ValueError) as error:
            print(f"error: {error}", file=sys.stderr)

    def _ask(self, sql: str, parameters: Mapping[str, str] | None = None) -> None:
        allow = self._allow_external
        answer = run_sql(self._workspace, sql, parameters, allow_external=allow)
        format_table(answer, self._format)
        sys.stdout.flush()

    def _command(self, name: str, *words: str) -> None:
        if name == ".tables":
            print("\n".join(f"{view}: {', '.join(c)}" for view, c in self._columns.items()))
        elif name == ".queries":
            print(describe_queries())
        elif name == ".query" and words:
            query = named_query(words[0])
            self._ask(query.sql, query.bind(parse_parameters(words[1:])))
        elif name == ".format" and words in (("table",), ("csv",), ("json",)):
            self._format = next(kind for kind in get_args(TableFormat) if kind == words[0])
        else:
            print(HELP)


def run_shell(workspace: Workspace, allow_external: bool = False) -> None:
    """Open the prompt on this terminal, with the history of earlier ones.

    Raises:
        QueryError: the workspace does not exist.
    """
    shell = Shell(workspace, allow_external)
    if not sys.stdin.isatty():
        Shell(workspace, allow_external, lambda prompt: input()).run()
        return
    print(f"SQL over {workspace.root}, read-only. Ask: FROM runs;  Help: .help  Leave: Ctrl-D")
    history = _history_file()
    with suppress(ImportError):  # Windows has no readline: then there is neither of the two
        import readline

        readline.set_completer(shell.complete)
        readline.set_completer_delims(" \t\n,()=<>;'\"")
        apple = "libedit" in (readline.__doc__ or "")
        readline.parse_and_bind("bind ^I rl_complete" if apple else "tab: complete")
        readline.set_history_length(HISTORY_LINES)
        with suppress(OSError):
            readline.read_history_file(history)
        try:
            shell.run()
        finally:
            with suppress(OSError):
                history.parent.mkdir(parents=True, exist_ok=True)
                readline.write_history_file(history)
        return
    shell.run()


def describe_queries() -> str:
    """The library as text: each query, what it answers, and its parameters."""
    lines = []
    for query in named_queries().values():
        lines.append(f"{query.name}\n    {query.summary}")
        for p in query.parameters:
            default = "" if p.default is None else f" (default: {p.default!r})"
            lines.append(f"    {p.name}: {p.meaning}{default}")
    return "\n".join(lines)


def parse_parameters(words: list[str] | tuple[str, ...]) -> dict[str, str]:
    """Read ``name=value`` words.

    Raises:
        QueryError: one is not of this form, or a name comes twice.
    """
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name or name in found:
            raise QueryError(f"{word!r} is not a parameter: write each once, as name=value")
        found[name] = value
    return found


def _columns(workspace: Workspace) -> dict[str, list[str]]:
    with connect(workspace) as connection:
        rows: dict[str, Any] = {v: connection.sql(f"DESCRIBE {v}").fetchall() for v in VIEWS}
    return {view: [row[0] for row in found] for view, found in rows.items()}


def _history_file() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "llm4teach" / "sql_history"
