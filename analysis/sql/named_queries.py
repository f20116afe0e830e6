"""The library of named queries: ``sql/*.sql``, each with a comment that says what it answers.

A file begins with a comment: its first line says what the query answers, and lines such as
``-- $name = default: meaning`` describe its parameters, without a default those that must be given.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from llm4teach.errors import QueryError

_PARAMETER = re.compile(r"\$(?P<name>\w+)(?: = (?P<default>\S+))?: (?P<meaning>.+)")


@dataclass(frozen=True)
class Parameter:
    """A value that a query is asked with; ``default`` is None where it must be given."""

    name: str
    meaning: str
    default: str | None


@dataclass(frozen=True)
class NamedQuery:
    """One file of the library."""

    name: str
    summary: str
    parameters: tuple[Parameter, ...]
    sql: str

    def bind(self, values: Mapping[str, str]) -> dict[str, str]:
        """Return a value for every parameter, text throughout: the query itself casts.

        Raises:
            QueryError: one is missing, or one was given that the query does not have.
        """
        defaults = {p.name: p.default for p in self.parameters}
        if unknown := sorted(values.keys() - defaults.keys()):
            has = ", ".join(defaults) or "none"
            raise QueryError(f"query {self.name} has no parameter {unknown[0]!r}, it has: {has}")
        bound = {name: values.get(name, default) for name, default in defaults.items()}
        if missing := [name for name, value in bound.items() if value is None]:
            meaning = next(p.meaning for p in self.parameters if p.name == missing[0])
            raise QueryError(
                f"query {self.name} needs --param {missing[0]}=…: {meaning} "
                f"(parameters: {', '.join(defaults)})"
            )
        return {name: value for name, value in bound.items() if value is not None}


@cache
def named_queries() -> dict[str, NamedQuery]:
    """Return every query of the library by its name."""
    folder = resources.files(__package__) / "queries"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return {
        (name := file.name.removesuffix(".sql")): parse_query(name, file.read_text("utf-8"))
        for file in files
    }


def named_query(name: str) -> NamedQuery:
    """Return one query of the library.

    Raises:
        QueryError: there is none of this name.
    """
    queries = named_queries()
    if name in queries:
        return queries[name]
    close = difflib.get_close_matches(name.replace("_", "-"), queries, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}? They" if close else "they"
    raise QueryError(f"there is no query {name!r}; {hint} are: {', '.join(queries)}")


def parse_query(name: str, text: str) -> NamedQuery:
    """Read a query from the text of its file."""
    comments = []
    for line in text.splitlines():
        if not line.startswith("--"):
            break
        comments.append(line.removeprefix("--").strip())
    declared = [match for line in comments if (match := _PARAMETER.fullmatch(line))]
    parameters = tuple(
        Parameter(m["name"], m["meaning"], None if m["default"] is None else _text(m["default"]))
        for m in declared
    )
    return NamedQuery(name, comments[0] if comments else "", parameters, text)


def _text(default: str) -> str:
    return default[1:-1] if default[:1] == default[-1:] == "'" and len(default) > 1 else default


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
    values: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name or name in values:
            raise QueryError(f"{word!r} is not a parameter: write each once, as name=value")
        values[name] = value
    return values
