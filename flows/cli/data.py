"""The commands about stored data: sql, compact, import, export-data."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt

from llm4teach.errors import ConfigError
from llm4teach.flows.cli.parser import Argument, QuietCommand, SettingsCommand
from llm4teach.flows.runtime.settings import Settings

_FOR_FILES = {"parquet": "Parquet", "arrow": "Arrow"}


class Sql(SettingsCommand):
    """Answer a question in SQL over everything in the workspace; nothing is ever changed."""

    command = "sql"
    examples = (
        'llm4teach sql "SHOW TABLES"',
        'llm4teach sql "SELECT state_text, options, entropy FROM advice ORDER BY entropy"',
        "llm4teach sql -f question.sql --format csv --output answer.csv",
        "llm4teach sql --list",
        "llm4teach sql --query disagreement --param a=embedded --param b=recorded",
        "llm4teach sql --init-script views.sql",
    )
    uses = ("workspace",)

    statement: Annotated[str | None, Argument(metavar="SQL", is_positional=True)] = Field(
        None, description="one SELECT, DESCRIBE, SHOW, …"
    )
    file: Annotated[str | None, Argument(flags=("-f", "--file"), metavar="FILE")] = Field(
        None, description="read the SQL from a file; - is stdin"
    )
    query: Annotated[str | None, Argument(metavar="NAME")] = Field(
        None, description="run a named query, see --list"
    )
    param: Annotated[list[str], Argument(metavar="NAME=VALUE", is_repeatable=True)] = Field(
        [], description="value of $NAME in the SQL or the named query; may be repeated"
    )
    list_all: Annotated[bool, Argument(flags=("--list",))] = Field(
        False, description="list the named queries"
    )
    init_script: Annotated[Path | None, Argument(metavar="FILE")] = Field(
        None, description="write the views as SQL, for `duckdb -init FILE` or a database tool"
    )
    format: Literal["table", "csv", "json", "parquet", "arrow"] = Field(
        "table", description="format of the answer"
    )
    output: Annotated[Path | None, Argument(flags=("-o", "--output"), metavar="FILE")] = Field(
        None, description="write to a file instead of stdout"
    )
    allow_external: bool = Field(
        False, description="let the SQL read other files and the network, too"
    )

    def run(self, settings: Settings, flags: Mapping[str, Any]) -> None:
        sources = (self.statement, self.file, self.query, self.init_script)
        if sum(source is not None for source in sources) + self.list_all != 1:
            raise ConfigError(
                "give one SQL statement, or a file with -f, or --query NAME, --list or "
                "--init-script FILE (see `llm4teach sql --help`)"
            )
        for path in filter(None, (self.output, self.init_script)):
            if path.parts and path.parts[0].endswith(":"):  # s3:, http:, …
                raise ConfigError(f"{path} is a URL; give a file on this machine, then copy it")
        if self.format in _FOR_FILES and self.output is None:
            raise ConfigError(
                f"{_FOR_FILES[self.format]} is not for the terminal; add --output FILE"
            )
        from llm4teach.analysis.sql.init_script import init_script
        from llm4teach.analysis.sql.named_queries import (
            describe_queries,
            named_query,
            parse_parameters,
        )
        from llm4teach.analysis.sql.output import write_answer
        from llm4teach.analysis.sql.query import run_sql
        from llm4teach.datasets.storage.parquet import replacing
        from llm4teach.datasets.workspace import Workspace

        if self.list_all:
            print(describe_queries())
            return
        workspace = Workspace(settings.workspace)
        if self.init_script is not None:
            script = init_script(workspace)
            with replacing(self.init_script) as temporary:
                temporary.write_text(script, encoding="utf-8")
            print(f"wrote {self.init_script}; open it: duckdb -init {self.init_script}")
            return
        parameters = parse_parameters(self.param)
        if self.query is not None:
            query = named_query(self.query)
            sql, parameters = query.sql, query.bind(parameters)
        else:
            sql = _read_text(self.file) if self.file is not None else self.statement or ""
        table = run_sql(workspace, sql, parameters, allow_external=self.allow_external)
        write_answer(table, self.format, self.output)


def _read_text(name: str) -> str:
    """Read a text file, or stdin if its name is ``-``.

    Raises:
        ConfigError: it is not UTF-8.
    """
    try:
        if name == "-":
            return sys.stdin.buffer.read().decode("utf-8-sig")
        return Path(name).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name} is not UTF-8 text: {error}") from None


class Compact(SettingsCommand):
    """Rewrite many small Parquet parts into few, while other processes may read and write."""

    command = "compact"
    examples = ("llm4teach compact", "llm4teach compact --grace 0")
    uses = ("workspace",)

    grace: Annotated[NonNegativeInt, Argument(metavar="SECONDS")] = Field(
        3600,
        description="keep replaced files so long for processes that read them; the next "
        "compaction deletes them; 0: delete now, if nothing is reading",
    )

    def run(self, settings: Settings, flags: Mapping[str, Any]) -> None:
        from llm4teach.datasets.compaction import compact_workspace
        from llm4teach.datasets.storage.paths import below
        from llm4teach.datasets.workspace import Workspace
        from llm4teach.errors import DatasetError

        workspace = Workspace(settings.workspace)
        if not workspace.exists:
            raise DatasetError(
                f"there is no workspace {workspace.root}; give an earlier run's folder"
            )
        any_done = False
        for done in compact_workspace(workspace, self.grace):
            any_done = True
            print(
                f"{below(done.folder, workspace.root)}: {done.parts_before} parts, now "
                f"{done.parts_after}; {done.bytes_before / 1e6:.2f} MB, now "
                f"{done.bytes_after / 1e6:.2f} MB; {done.deleted} replaced files deleted"
            )
        if not any_done:
            print("nothing to compact")


class Import(SettingsCommand):
    """Import recorded episodes, Minari's or a log's, as trajectories to label and train on."""

    command = "import"
    examples = (
        "llm4teach import log.csv --task SimpleDoorKey",
        "llm4teach import log.parquet --columns action=act episode_id=ep reward=r",
        "llm4teach import ~/.minari/datasets/doorkey/human-v0 --skip",
    )
    uses = ("task", "workspace")

    source: Annotated[str, Argument(metavar="SOURCE", is_positional=True)] = Field(
        description=".csv, .tsv or .parquet file, or a Minari dataset's folder or id"
    )
    columns: Annotated[list[str], Argument(metavar="OURS=THEIRS")] = Field(
        [],
        description="the file's names for episode_id, t, seed, action, reward, terminated, "
        "truncated, observation, behavior, action_logprob",
    )
    skip: bool = Field(
        False, description="leave out episodes that do not fit (default: import none if one fails)"
    )

    def run(self, settings: Settings, flags: Mapping[str, Any]) -> None:
        from llm4teach.datasets.workspace import Workspace
        from llm4teach.flows.cli.tables import print_result
        from llm4teach.flows.stages.import_episodes import import_episodes

        columns = _column_map(self.columns)
        workspace = Workspace(settings.workspace)
        print_result(import_episodes(workspace, settings.task, self.source, columns, self.skip))


class ExportData(QuietCommand):
    """Export trajectories with the teacher's advice: plain Parquet, or a Minari dataset."""

    command = "export-data"
    examples = (
        "llm4teach export-data doorkey-advice --task SimpleDoorKey",
        "llm4teach export-data doorkey/advice-v0 --format minari --author 'A. Person'",
        "llm4teach export-data students --run teach-20261120-101500-a1b2 --behavior student",
    )
    uses = ("task", "workspace", "teacher")

    target: Annotated[str, Argument(metavar="TARGET", is_positional=True)] = Field(
        description="folder to make; for minari, the id of a dataset below "
        "$MINARI_DATASETS_PATH or ~/.minari/datasets"
    )
    format: Literal["parquet", "minari"] = Field(
        "parquet", description="Parquet with a data card, or a Minari dataset"
    )
    runs: Annotated[list[str], Argument(flags=("--run",), metavar="RUN", is_repeatable=True)] = (
        Field([], description="export this run's trajectories (default: all); may be repeated")
    )
    behavior: Annotated[list[str], Argument(metavar="NAME", is_repeatable=True)] = Field(
        [],
        description="keep episodes of this behavior policy, apart from noise: student, option, "
        "imported, …; may be repeated",
    )
    without_advice: bool = Field(False, description="leave out the teacher's advice")
    no_replay: bool = Field(
        False,
        description="leave out final observations, for which episodes are played again",
    )
    author: str = Field("", description="for Minari's metadata")
    author_email: str = Field("", description="for Minari's metadata")
    code_permalink: str = Field("", description="for Minari's metadata")
    license: str = Field("", description="for the data card, such as cc-by-4.0")

    def run(self, settings: Settings, flags: Mapping[str, Any]) -> None:
        from llm4teach.flows.export_trajectories import Export, export_trajectories

        export = Export(
            self.format,
            self.runs,
            self.behavior,
            advice=not self.without_advice,
            replay=not self.no_replay,
            author=self.author,
            author_email=self.author_email,
            code_permalink=self.code_permalink,
            license=self.license,
        )
        print(export_trajectories(self.target, settings, export))


def _column_map(pairs: Sequence[str]) -> dict[str, str]:
    """Parse ``OURS=THEIRS`` pairs.

    Raises:
        ConfigError: one has no ``=``, or no name on one side of it, or two are for one column.
    """
    columns: dict[str, str] = {}
    for pair in pairs:
        ours, _, theirs = (part.strip() for part in pair.partition("="))
        if not ours or not theirs:
            raise ConfigError(f"--columns takes pairs like action=act; {pair!r} is none")
        if ours in columns:
            raise ConfigError(f"--columns names {ours} twice: {columns[ours]!r} and {theirs!r}")
        columns[ours] = theirs
    return columns
