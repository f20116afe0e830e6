"""Sub-commands as models, and the parser that is generated from their fields and the settings'."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NoReturn, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

from llm4teach.errors import ConfigError
from llm4teach.flows.runtime.settings import (
    Settings,
    aliases,
    did_you_mean,
    flag_name,
    is_section,
    validate,
)

_METAVARS = {int: "N", float: "X", Path: "FILE"}
# Of section label, also without its name.
_SHORT = ("max_requests", "max_tokens", "max_cost", "retry_invalid")
_REMOVED = {  # words of version 0.1's command line, and what replaces them
    ("watch",): "`tensorboard --logdir WORKSPACE/runs` shows the curves of a run while it trains",
    ("prompts", "diff"): "`diff` compares what `llm4teach prompts show` prints",
    ("export", "--quantize"): "8-bit students were slower than float32 ones; leave it out",
    (
        "sql",
        "--shell",
    ): "`llm4teach sql --init-script FILE` writes the views for DuckDB's own shell",
    ("prompts", "test"): "`llm4teach prompts show` prints a prompt as the model receives it",
}


@dataclass(frozen=True)
class Argument:
    """How a command's field appears on the command line, where its name and type do not say it."""

    flags: tuple[str, ...] = ()  # instead of the one that is made from the name
    metavar: str = ""
    is_positional: bool = False
    is_repeatable: bool = False  # a list: one value each time, instead of several in a row


class Command(BaseModel):
    """A sub-command.

    The docstring's first line is its help, its fields are the arguments that are no settings.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    command: ClassVar[str]
    examples: ClassVar[tuple[str, ...]]
    # The settings whose flags it accepts: of a section all, or one as "section.name".
    uses: ClassVar[tuple[str, ...]] = ()

    def run(self, settings: Settings, flags: Mapping[str, Any]) -> None:
        """Do it, and print the result.

        Args:
            settings: resolved from all sources.
            flags: those of the settings that were given on the command line, nested.
        """
        raise NotImplementedError


class SettingsCommand(Command):
    """A sub-command that uses settings, and so a TOML file."""

    config: Annotated[Path | None, Argument(metavar="FILE")] = Field(
        None, description="TOML file (default: llm4teach.toml, if any)"
    )


class QuietCommand(SettingsCommand):
    """A sub-command that takes long and shows its progress."""

    quiet: bool = Field(False, description="print nothing but the result")


RunId = Annotated[str | None, Argument(metavar="RUN")]
RunArgument = Annotated[str | None, Argument(metavar="RUN", is_positional=True)]


class _Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises `ConfigError`, with a hint, where the stock one exits."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message} (see `{self.prog} --help`)")


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog, **{"max_help_position": 36, **options})


def parse(
    argv: Sequence[str], commands: Mapping[str, type[Command]]
) -> tuple[Command, dict[str, Any]]:
    """Parse a command line; ``_`` stands for ``-`` in flags.

    Returns:
        The command, and the settings among its flags, nested as in the model.

    Raises:
        ConfigError: the command line is wrong; the message proposes what may have been meant.
        SystemExit: help or the version was printed.
    """
    words = [_dashed(word) for word in argv]
    _refuse_removed(words)
    if not words or words[0].startswith("-"):
        root_parser(commands).parse_args(words)
        raise ConfigError("give a command first (see `llm4teach --help`)")
    if words[0] not in commands:
        hint = did_you_mean(words[0], list(commands))
        hints = "; ".join(filter(None, [f"unknown command {words[0]}", hint]))
        raise ConfigError(f"{hints} (see `llm4teach --help`)")
    kind = commands[words[0]]
    parser = command_parser(kind)
    arguments, unknown = parser.parse_known_args(words[1:])
    if unknown:
        flags = list(parser._option_string_actions)
        hint = did_you_mean(unknown[0].partition("=")[0], flags)
        message = "; ".join(filter(None, [f"unknown argument {unknown[0]}", hint]))
        raise ConfigError(f"{message} (see `{parser.prog} --help`)")
    return _split(vars(arguments), kind)


def root_parser(commands: Mapping[str, type[Command]]) -> argparse.ArgumentParser:
    """Return the parser of what stands before a command; its help lists the commands."""
    lines = [f"  {name:<14} {summary(kind)}" for name, kind in commands.items()]
    examples = _examples(("llm4teach teach", "llm4teach teach --help"))
    parser = _Parser(
        prog="llm4teach",
        usage="llm4teach COMMAND [options]",
        description="An LLM teaches a small RL policy, which then runs without the LLM.",
        epilog="\n".join(["commands:", *lines, "", examples]),
        formatter_class=_HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"llm4teach {version('llm4teach')}")
    return parser


def command_parser(kind: type[Command]) -> argparse.ArgumentParser:
    """Return a command's parser: its own arguments, and the flags of the settings that it uses."""
    positional = [
        _metavar(name, field) if field.is_required() else f"[{_metavar(name, field)}]"
        for name, field in _positional(kind).items()
    ]
    parser = _Parser(
        prog=f"llm4teach {kind.command}",
        usage=" ".join([f"llm4teach {kind.command} [options]", *positional]),
        description=summary(kind),
        epilog=_examples(kind.examples),
        formatter_class=_HelpFormatter,
        allow_abbrev=False,
    )
    inherited = QuietCommand.model_fields  # last in the help
    for name in sorted(kind.model_fields, key=lambda name: name in inherited):
        field = kind.model_fields[name]
        _add_argument(parser, field, name, argument=_argument(field))
    general = parser.add_argument_group("settings") if kind.uses else parser
    for used in kind.uses:
        name, _, only = used.partition(".")
        field = Settings.model_fields[name]
        section = field.annotation
        if not is_section(section):
            _add_setting(general, (name,), field)
            continue
        group = general if only else parser.add_argument_group(name, summary(section))
        for key, subfield in section.model_fields.items():
            # Tables are for the TOML file.
            if key == (only or key) and get_origin(subfield.annotation) is not dict:
                _add_setting(group, (name, key), subfield)
    return parser


def summary(model: type[BaseModel]) -> str:
    """Return the first line of a model's docstring."""
    return (model.__doc__ or "").strip().splitlines()[0]


def _add_setting(
    group: argparse._ActionsContainer, path: tuple[str, ...], field: FieldInfo
) -> None:
    flags = [flag_name(path)]
    if path[0] == "label" and path[1] in _SHORT:
        flags.append(flag_name(path[1:]))
    dest = "settings:" + ".".join(path)
    _add_argument(group, field, dest, flags)
    for alias in set(aliases(field)) - {path[-1]}:
        _add_argument(group, field, dest, [flag_name((*path[:-1], alias))], is_hidden=True)


def _add_argument(
    group: argparse._ActionsContainer,
    field: FieldInfo,
    dest: str,
    flags: Sequence[str] = (),
    argument: Argument | None = None,
    is_hidden: bool = False,
) -> None:
    """Add a field; values stay text: the model parses and checks them, whatever their source."""
    options: dict[str, Any] = {
        "default": argparse.SUPPRESS,  # only what is given outranks the other sources
        "help": argparse.SUPPRESS if is_hidden else _help(field),
    }
    kind = _kinds(field)[0]
    is_list = get_origin(kind) is list
    if kind is bool and argument:
        options["action"] = "store_true"
        options["help"] = field.description
    elif kind is bool:
        options["action"] = argparse.BooleanOptionalAction
    else:
        options["metavar"] = _metavar(dest.rpartition(".")[2].removeprefix("settings:"), field)
    if argument and argument.is_positional:
        options |= {} if field.is_required() else {"nargs": "*" if is_list else "?"}
        group.add_argument(dest, **options)
        return
    if is_list:
        is_repeatable = argument and argument.is_repeatable
        options |= {"action": "append"} if is_repeatable else {"nargs": "+"}
    flags = flags or (argument and argument.flags) or [flag_name((dest,))]
    group.add_argument(*flags, dest=dest, **options)


def _help(field: FieldInfo) -> str:
    default = None if field.is_required() else field.get_default(call_default_factory=True)
    shown = "" if default is None or default in ("", []) else f" (default: {default})"
    return f"{field.description or ''}{shown}".strip().replace("%", "%%")


def _kinds(field: FieldInfo) -> list[Any]:
    """The types that a field's value may have, but for None."""
    kind = field.annotation
    members = [kind] if get_origin(kind) in (list, Literal) else get_args(kind) or [kind]
    return [
        get_args(member)[0] if get_origin(member) is Annotated else member
        for member in members
        if member is not type(None)
    ]


def _metavar(name: str, field: FieldInfo) -> str:
    if metavar := _argument(field).metavar:
        return metavar
    for kind in _kinds(field):
        literal = get_args(kind)[0] if get_origin(kind) is list else kind
        if get_origin(literal) is Literal:
            return "{" + ",".join(map(str, get_args(literal))) + "}"
        if kind in _METAVARS:
            return _METAVARS[kind]
    return name.upper()


def _argument(field: FieldInfo) -> Argument:
    return next((item for item in field.metadata if isinstance(item, Argument)), Argument())


def _positional(kind: type[Command]) -> dict[str, FieldInfo]:
    fields = kind.model_fields.items()
    return {name: field for name, field in fields if _argument(field).is_positional}


def _split(values: Mapping[str, Any], kind: type[Command]) -> tuple[Command, dict[str, Any]]:
    """Return the command that the parsed values make, and the settings among them."""
    flags: dict[str, Any] = {}
    arguments: dict[str, Any] = {}
    for dest, value in values.items():
        if not dest.startswith("settings:"):
            arguments[dest] = value
            continue
        *sections, name = dest.removeprefix("settings:").split(".")
        target = flags
        for section in sections:
            target = target.setdefault(section, {})
        target[name] = value
    positional = {name: arguments[name] for name in _positional(kind) if name in arguments}
    options = {name: value for name, value in arguments.items() if name not in positional}
    return validate(kind, arguments, {"flags": options, "argument": positional}), flags


def _refuse_removed(words: Sequence[str]) -> None:
    flags = {word.partition("=")[0] for word in words if word.startswith("--")}
    for (command, *more), replacement in _REMOVED.items():
        if words[:1] == [command] and (words[1:2] == more or not more or flags.issuperset(more)):
            removed = " ".join([command, *more])
            raise ConfigError(f"`{removed}` was removed: {replacement}")


def _dashed(word: str) -> str:
    if not word.startswith("--"):
        return word
    flag, equals, value = word.partition("=")
    return flag.replace("_", "-") + equals + value


def _examples(examples: Sequence[str]) -> str:
    return "examples:\n" + "\n".join(f"  {example}" for example in examples)
