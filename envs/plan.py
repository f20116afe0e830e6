"""Options and plans: the words in which a teacher advises, and their grammar.

plan   := option (" > " option)*
option := "explore" | "go to" object | "go through" object | "pick up" object | "drop" object
        | "open" object ["with" object] | "put" object "next to" object
object := one to four words, optionally in angle brackets
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

VERBS = ("explore", "go to", "go through", "pick up", "drop", "open", "put")
_WORD = r"(?!(?:with|to|through|up|next|the|a|and|then)\b)[a-z0-9]+"
_OBJECT = rf"(?:the\s+)?<?\s*(?:the\s+)?({_WORD}(?:[ _]{_WORD}){{0,3}})\s*>?"
_OPTION = re.compile(
    rf"(?:(explore)|(go to|go through|pick up|drop)\s+{_OBJECT}"
    rf"|(open)\s+{_OBJECT}(?:\s+with\s+{_OBJECT})?|(put)\s+{_OBJECT}\s+next to\s+{_OBJECT})\s*"
)
_FREE_OPTION = re.compile(r"[a-z0-9][a-z0-9 _.'()-]{0,79}")
MAX_PLAN_CHARACTERS = 400


class PlanSyntaxError(ValueError):
    """The text is not a plan of the grammar above."""


class Option(NamedTuple):
    """A temporally extended action: a verb and, except for explore, the object it is done to.

    ``beside`` is the object next to which ``put`` puts it. A tuple, since plans are sorted often.
    """

    verb: str
    target: str = ""
    beside: str = ""

    def __str__(self) -> str:
        end = f" next to {self.beside}" if self.beside else ""
        return f"{self.verb} {self.target}".rstrip() + end


@dataclass(frozen=True, order=True)
class Plan:
    """A short list of options, done in order; the first that is not done yet acts."""

    options: tuple[Option, ...]

    def __str__(self) -> str:
        return self._text

    @cached_property
    def _text(self) -> str:
        return " > ".join(map(str, self.options))


def parse_plan(text: str, separator: str = " > ") -> Plan:
    """Read a plan such as ``go to key > pick up key``; ``parse_plan(str(plan)) == plan``.

    Raises:
        PlanSyntaxError: some step is not an option of the grammar, or the text is too long.
    """
    if len(text) > MAX_PLAN_CHARACTERS:
        raise PlanSyntaxError(f"a plan has at most {MAX_PLAN_CHARACTERS} characters")
    return Plan(tuple(_parse_option(step) for step in text.split(separator)))


def named_plan(text: str, separator: str = " > ") -> Plan:
    """Return the plan with this name, whose options are of the grammar or named by a task itself.

    ``str(named_plan(name)) == name``.

    Raises:
        PlanSyntaxError: an option's name is empty or too long, or has other characters than lower
            case letters, digits, spaces and ``_.'()-``.
    """
    return Plan(tuple(_named_option(step) for step in text.split(separator)))


def _named_option(text: str) -> Option:
    name = " ".join(text.split())
    try:
        option = _parse_option(name)
        if str(option) == name:  # otherwise the name is a task's own, such as "go to the exit"
            return option
    except PlanSyntaxError:
        pass
    if not _FREE_OPTION.fullmatch(name):
        raise PlanSyntaxError(
            f"{name!r} is no name of an option: 1 to 80 lower case letters, digits, spaces "
            "and _.'()-"
        )
    return Option(name)


def _parse_option(text: str) -> Option:
    match = _OPTION.fullmatch(" ".join(text.lower().split()))
    if match is None:
        raise PlanSyntaxError(f"not an option: {text.strip()!r}")
    explore, verb, target, open_, opened, _tool, put, moved, beside = (
        (group or "").replace("_", " ") for group in match.groups()
    )
    if explore:
        return Option("explore")
    return Option(verb or open_ or put, target or opened or moved, beside)
