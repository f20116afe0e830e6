"""Missions of MiniGrid and BabyAI: what they ask for, step by step.

    mission := step (", then " step)*
    step    := clause (" and " clause)*                   in any order
    clause  := ("go to" | "pick up" | "open") thing | "put" thing "next to" thing
    thing   := ("a" | "the") [color] kind [place]
    place   := "on your left" | "on your right" | "in front of you" | "behind you"
             | "from the" color "room"

MiniGrid's own wordings and BabyAI's "X after you Y" are brought into this form.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from llm4teach.envs.minigrid.words import decode_words, encode_words, words_of
from llm4teach.errors import TaskError

_COLOR = "red|green|blue|purple|yellow|grey"
_PLACE = rf"on your left|on your right|in front of you|behind you|from the (?:{_COLOR}) room"
_THING = rf"(a|the) (?:({_COLOR}) )?(object|key|ball|box|door|goal)(?: ({_PLACE}))?"
_CLAUSE = re.compile(rf"(go to|pick up|open|put) {_THING}(?: next to {_THING})?")

_REWORDINGS = tuple(
    (re.compile(pattern), wording)
    for pattern, wording in (
        (
            r"(?:avoid the lava and |find the opening and |traverse the (?:rooms|maze) to )?"
            r"(?:get to|reach) the (?:green )?goal(?: square)?",
            "go to the goal",
        ),
        (
            "use the key to open the door and then get to the goal",
            "open the door, then go to the goal",
        ),
        (
            r"get (the \w+ key from the \w+ room), unlock (the \w+ door) and (go to the goal)",
            r"pick up \1, then open \2, then \3",
        ),
        (r"(?:you must fetch|(?:go )?(?:get|fetch)) (a .*)", r"pick up \1"),
        (r"put (.*) near (.*)", r"put \1 next to \2"),
        (r"open (the \w+ door) then (the \w+ door)", r"open \1, then open \2"),
        (r"go to the matching object at the end of the hallway", "go to the object"),
        (r"(.*) after you (.*)", r"\2, then \1"),
    )
)


@dataclass(frozen=True)
class Thing:
    """What a mission speaks of; an ``object`` is any key, ball, box or door."""

    article: str  # "a": several fit
    kind: str
    color: str = ""
    place: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.article, self.color, self.kind, self.place)))


@dataclass(frozen=True)
class Clause:
    """One thing to do: go to, pick up or open ``thing``, or put it next to ``beside``."""

    verb: str
    thing: Thing
    beside: Thing | None = None

    def __str__(self) -> str:
        end = f" next to {self.beside}" if self.beside else ""
        return f"{self.verb} {self.thing}{end}"


@dataclass(frozen=True)
class Mission:
    """Steps to be done in order; the clauses of one step in any order. Empty: nothing is left."""

    steps: tuple[tuple[Clause, ...], ...] = ()

    def __str__(self) -> str:
        return ", then ".join(" and ".join(map(str, step)) for step in self.steps)


@lru_cache(maxsize=4096)
def parse_mission(text: str) -> Mission:
    """Read a mission; ``parse_mission(str(mission)) == mission``.

    Raises:
        TaskError: it does not follow the grammar above.
    """
    plain = " ".join(text.lower().split())
    for pattern, wording in _REWORDINGS:
        match = pattern.fullmatch(plain)
        plain = match.expand(wording) if match else plain
    steps = plain.split(", then ") if plain else []
    return Mission(tuple(tuple(_clause(c, text) for c in step.split(" and ")) for step in steps))


def _clause(text: str, mission: str) -> Clause:
    match = _CLAUSE.fullmatch(text)
    if match is None or (match[1] == "put") != (match[6] is not None):
        raise TaskError(
            f"the mission {mission!r} is of a form that is not known (at {text!r}); the forms are "
            "in envs/minigrid/parsed/missions.py"
        )
    verb, *words = (group or "" for group in match.groups())
    things = [Thing(words[i], words[i + 2], words[i + 1], words[i + 3]) for i in (0, 4)]
    return Clause(verb, things[0], things[1] if words[4] else None)


def encode_mission(mission: Mission) -> bytes:
    """Return the tokens of a mission's words."""
    return encode_words(words_of(str(mission)))


@lru_cache(maxsize=4096)
def decode_mission(tokens: bytes) -> Mission:
    """Undo `encode_mission`; a token 0 ends the mission.

    Raises:
        TaskError: these are not a mission's tokens.
    """
    return parse_mission(" ".join(decode_words(tokens)).replace(" ,", ","))


def without(mission: Mission, done: Iterable[Iterable[bool]]) -> Mission:
    """What is left of a mission, given which of its clauses are done."""
    left = (
        tuple(clause for clause, ok in zip(step, oks, strict=True) if not ok)
        for step, oks in zip(mission.steps, done, strict=True)
    )
    return Mission(tuple(step for step in left if step))
