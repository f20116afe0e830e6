"""The command line's parser; the flags of every setting are generated from the settings' models."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from llm4teach.flows.runtime.settings import ConfigError, Settings, aliases, flag_name

_METAVARS = {int: "N", float: "X"}
_BUDGETS = ("max_requests", "max_tokens", "max_cost")  # of section label, also without its name


@dataclass(frozen=True)
class Command:
    """A sub-command: what its help says, and the settings that it uses."""

    name: str
    summary: str
    examples: tuple[str, ...]
    settings: tuple[str, ...] = ()
    is_flow: bool = False


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises `ConfigError`, with a hint, where the stock one exits."""

    def error(self, message: str) -> NoReturn:
        """Refuse the command line.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"{message} (see `{self.prog} --help`)")


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog, **{"max_help_position": 36, **options})


def build_parser(commands: Sequence[Command]) -> tuple[Parser, dict[str, Parser]]:
    """Return the parser, and each command's own, to add to it what is no setting."""
    parser = Parser(
        prog="llm4teach",
        description="An LLM teaches a small RL agent, which then runs alone.",
        epilog=_examples(("llm4teach teach", "llm4teach teach --help")),
        formatter_class=_HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"llm4teach {version('llm4teach')}")
    added = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    by_name: dict[str, Parser] = {}
    for command in commands:
        by_name[command.name] = sub = added.add_parser(
            command.name,
            help=command.summary,
            description=command.summary,
            epilog=_examples(command.examples),
            formatter_class=_HelpFormatter,
            usage=f"llm4teach {command.name} [options]" if len(command.settings) > 1 else None,
            allow_abbrev=False,
        )
        sub.set_defaults(_parser=sub, _command=command)
        _add_settings(sub, command)
    return parser, by_name


def parse(parser: Parser, argv: Sequence[str]) -> argparse.Namespace:
    """Parse, taking ``_`` for ``-`` in flags.

    Raises:
        ConfigError: the command line is wrong; the message proposes what may have been meant.
    """
    arguments, unknown = parser.parse_known_args([_dashed(word) for word in argv])
    if unknown:
        command: argparse.ArgumentParser = getattr(arguments, "_parser", parser)
        flags = list(command._option_string_actions)
        close = difflib.get_close_matches(unknown[0].partition("=")[0], flags, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ConfigError(f"unknown argument {unknown[0]}{hint} (see `{command.prog} --help`)")
    return arguments


def positive(text: str) -> int:
    """Parse a whole number from 1 on, for arguments that are no settings."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def given_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the settings among the parsed arguments, nested as in the model."""
    nested: dict[str, Any] = {}
    for dest, value in vars(arguments).items():
        if dest.startswith("settings:"):
            *sections, name = dest.removeprefix("settings:").split(".")
            target = nested
            for section in sections:
                target = target.setdefault(section, {})
            target[name] = value
    return nested


def _add_settings(parser: argparse.ArgumentParser, command: Command) -> None:
    if not command.settings:
        return
    general = parser.add_argument_group("general")
    for name in command.settings:
        field = Settings.model_fields[name]
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            summary = (field.annotation.__doc__ or "").strip().splitlines()[0]
            group = parser.add_argument_group(name, summary)
            for key, subfield in field.annotation.model_fields.items():
                if get_origin(subfield.annotation) is not dict:  # tables are for the TOML file
                    _add_flag(group, (name, key), subfield)
        else:
            _add_flag(general, (name,), field)
    general.add_argument(
        "--config", type=Path, metavar="FILE", help="TOML file (default: llm4teach.toml, if any)"
    )
    if command.is_flow:
        general.add_argument("--quiet", action="store_true", help="print nothing but the result")


def _add_flag(group: argparse._ArgumentGroup, path: tuple[str, ...], field: FieldInfo) -> None:
    kind = field.annotation
    default = field.get_default(call_default_factory=True)
    shown = "" if default in (None, "") else f" (default: {default})"
    options: dict[str, Any] = {
        "dest": "settings:" + ".".join(path),
        "default": argparse.SUPPRESS,  # only what the user gives outranks the other sources
        "help": ((field.description or "") + shown).strip().replace("%", "%%"),
    }
    if kind is bool or bool in get_args(kind):
        options["action"] = argparse.BooleanOptionalAction
    else:  # values stay text: the model parses and checks them, wherever they come from
        options["metavar"] = _metavar(kind, path[-1])
    short = ["--" + path[1].replace("_", "-")] if path[0] == "label" and path[1] in _BUDGETS else []
    group.add_argument(flag_name(path), *short, **options)
    for alias in set(aliases(field)) - {path[-1]}:  # a name of earlier versions
        options["help"] = argparse.SUPPRESS
        group.add_argument(flag_name((*path[:-1], alias)), **options)


def _metavar(kind: Any, name: str) -> str:
    if get_origin(kind) is Literal:
        return "{" + ",".join(map(str, get_args(kind))) + "}"
    for option in (kind, *get_args(kind)):
        if option in _METAVARS:
            return _METAVARS[option]
    return name.upper()


def _dashed(word: str) -> str:
    if not word.startswith("--"):
        return word
    flag, equals, value = word.partition("=")
    return flag.replace("_", "-") + equals + value


def _examples(examples: Sequence[str]) -> str:
    return "examples:\n" + "\n".join(f"  {example}" for example in examples)
