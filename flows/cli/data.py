"""The command `llm4teach sql`: a statement, a file, a named query, or a prompt."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from llm4teach.flows.cli.parser import Parser
from llm4teach.flows.runtime.settings import ConfigError, Settings

FORMATS = ("table", "csv", "json", "parquet", "arrow")
_FOR_FILES = {"parquet": "Parquet", "arrow": "Arrow"}


def add_sql_arguments(sql: Parser) -> None:
    """Add the arguments that are no settings."""
    sql.add_argument("statement", nargs="?", metavar="SQL", help="one SELECT, DESCRIBE, SHOW, …")
    sql.add_argument("-f", "--file", metavar="FILE", help="read the SQL from a file, - is stdin")
    sql.add_argument("--query", metavar="NAME", help="ask a question of the library, see --list")
    sql.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="value of $NAME in the SQL or the named query; may be given several times",
    )
    sql.add_argument("--list", action="store_true", help="list the named queries")
    sql.add_argument("--shell", action="store_true", help="open an interactive prompt")
    sql.add_argument("--format", choices=FORMATS, default="table", help="(default: table)")
    sql.add_argument("-o", "--output", metavar="FILE", help="write to a file instead of stdout")
    sql.add_argument(
        "--allow-external",
        action="store_true",
        help="let the SQL read other files and the network too",
    )


def run_sql_command(arguments: argparse.Namespace, settings: Settings) -> None:
    """Answer what was asked, or open the prompt."""
    sources = (arguments.statement, arguments.file, arguments.query)
    ways = [source is not None for source in sources] + [arguments.list, arguments.shell]
    if sum(ways) != 1:
        raise ConfigError(
            "give one SQL statement, or a file with -f, or --query NAME, --list or --shell "
            "(see `llm4teach sql --help`)"
        )
    output = Path(arguments.output) if arguments.output else None
    if arguments.format in _FOR_FILES and output is None:
        raise ConfigError(
            f"{_FOR_FILES[arguments.format]} is not for the terminal; add --output FILE"
        )
    from llm4teach.analysis.sql.shell import describe_queries, parse_parameters, run_shell
    from llm4teach.datasets.workspace import Workspace

    if arguments.list:
        print(describe_queries())
        return
    workspace = Workspace(settings.workspace)
    if arguments.shell:
        run_shell(workspace, arguments.allow_external)
        return
    from llm4teach.analysis.sql.named_queries import named_query
    from llm4teach.analysis.sql.query import run_sql
    from llm4teach.analysis.sql.tables import format_table

    parameters = parse_parameters(arguments.param)
    if arguments.query is not None:
        query = named_query(arguments.query)
        sql, parameters = query.sql, query.bind(parameters)
    else:
        sql = arguments.statement if arguments.file is None else read_text(arguments.file)
    table = run_sql(workspace, sql, parameters, allow_external=arguments.allow_external)
    format_table(table, arguments.format, output)


def read_text(name: str) -> str:
    """Read a text file, or stdin if its name is ``-``.

    Raises:
        ConfigError: it is not UTF-8.
    """
    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name} is not UTF-8 text: {error}") from None
