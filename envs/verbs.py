"""The verbs of a task's own options, with their grammar: how plans are listed, written and read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from llm4teach.envs.plan import (
    MAX_PLAN_CHARACTERS,
    Plan,
    PlanSyntaxError,
    named_plan,
    parse_plan,
)
from llm4teach.errors import TaskError

_SLOT = re.compile(r"<([a-z][a-z0-9 _-]*)>")
_OBJECT = r"([a-z0-9][a-z0-9_.'()-]*(?: [a-z0-9][a-z0-9_.'()-]*){0,3}?)"  # one to four words
_ARTICLES = {"the", "a", "an"}
_AROUND = "{}[]*_`\"'.,;:! \t\r\n"  # what models put around an option


@dataclass(frozen=True)
class Verbs:
    """What the options of a family of tasks are called.

    A pattern is an option's name, in which ``<place>`` and the like stand for one to four words:
    ``drive to <place>``, ``give <thing> to <person>``, ``wait``. Replies may have capitals,
    articles and angle brackets that the name has not.

    Args:
        patterns: each with what the option does, for prompts; it may be empty.

    Raises:
        TaskError: a pattern is no name of an option.
    """

    patterns: tuple[tuple[str, str], ...]

    @staticmethod
    def of(verbs: Mapping[str, str] | Iterable[str]) -> Verbs:
        """Return the verbs of patterns with or without descriptions."""
        pairs = verbs.items() if isinstance(verbs, Mapping) else ((name, "") for name in verbs)
        return Verbs(tuple(pairs))

    def __post_init__(self) -> None:
        for pattern, _ in self.patterns:
            try:
                named_plan(_SLOT.sub("thing", pattern))
            except PlanSyntaxError as error:
                raise TaskError(f"verbs: {error}; an object is written <like this>") from None

    def read(self, text: str, separator: str) -> Plan:
        """Read a plan's steps.

        Raises:
            PlanSyntaxError: a step fits no pattern, or the text is too long.
        """
        if len(text) > MAX_PLAN_CHARACTERS:
            raise PlanSyntaxError(f"a plan has at most {MAX_PLAN_CHARACTERS} characters")
        return named_plan(" > ".join(self._name(step) for step in text.split(separator)))

    def find(self, text: str, options: Iterable[Plan], separator: str) -> Plan | None:
        """Return the one of these options that a text names; None if it is none, or several."""
        wanted = [_plain(step) for step in text.split(separator)]
        found = [p for p in options if [_plain(str(option)) for option in p.options] == wanted]
        return found[0] if len(found) == 1 else None

    def list_for_prompt(self) -> str:
        """Return one line for each verb; nothing if they are mere names without descriptions."""
        if not any(text or _SLOT.search(pattern) for pattern, text in self.patterns):
            return ""
        lines = (
            f"- {pattern}: {text}" if text else f"- {pattern}" for pattern, text in self.patterns
        )
        return "The agent can:\n" + "\n".join(lines)

    def _name(self, step: str) -> str:
        plain = _plain(step)
        for regex, pattern in self._regexes:
            if match := regex.fullmatch(plain):
                objects = iter(match.groups())
                return _SLOT.sub(lambda _: next(objects), pattern)  # noqa: B023  used at once
        names = ", ".join(pattern for pattern, _ in self.patterns)
        raise PlanSyntaxError(f"{step.strip()!r} is none of the options {names}")

    @cached_property
    def _regexes(self) -> list[tuple[re.Pattern[str], str]]:
        """Patterns, the most definite ones first: few objects, many words."""
        names = [pattern for pattern, _ in self.patterns]
        names.sort(key=lambda name: (len(_SLOT.findall(name)), -len(name)))
        return [(re.compile(_regex(name)), name) for name in names]


def read_plan(text: str, verbs: Verbs | None, separator: str = " > ") -> Plan:
    """Read a plan by the verbs of a family: its own, or None for those of `envs.plan`.

    Raises:
        PlanSyntaxError: a step is no option of these.
    """
    return parse_plan(text, separator) if verbs is None else verbs.read(text, separator)


def _regex(pattern: str) -> str:
    words = [_plain(part) for part in _SLOT.split(pattern)]
    words[1::2] = ["<>"] * (len(words) // 2)  # the objects
    return " ".join(_OBJECT if word == "<>" else re.escape(word) for word in words if word)


def _plain(text: str) -> str:
    """Return an option's words without what replies may add to them."""
    bare = text.replace("<", " ").replace(">", " ").replace("_", " ").strip(_AROUND).lower()
    words = bare.split()
    return " ".join([word for word in words if word not in _ARTICLES] or words)
