"""Missions of MiniGrid and BabyAI: their words as tokens, and what they ask for, step by step.

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
from typing import Any

from minigrid.core.world_object import Door, WorldObj
from minigrid.envs.babyai.core.roomgrid_level import RoomGridLevel
from minigrid.envs.babyai.core.verifier import AfterInstr, AndInstr, PutNextInstr, SeqInstr
from minigrid.minigrid_env import MiniGridEnv

from llm4teach.errors import TaskError

# A token is a word's position, from 1. Stored observations hold tokens: only ever append.
_WORDS = (
    ", a the and then to go pick up open put next on in from your you left right front of behind "
    "room object key ball box door goal lava red green blue purple yellow grey "
    "; after get square use must fetch reach avoid unlock matching at end hallway traverse rooms "
    "near find opening"
)
VOCABULARY = tuple(_WORDS.split())
_TOKEN = {word: token for token, word in enumerate(VOCABULARY, start=1)}

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
            "in envs/missions.py"
        )
    verb, *words = (group or "" for group in match.groups())
    things = [Thing(words[i], words[i + 2], words[i + 1], words[i + 3]) for i in (0, 4)]
    return Clause(verb, things[0], things[1] if words[4] else None)


def encode_mission(mission: Mission) -> bytes:
    """One token a word, commas are words."""
    return bytes(_TOKEN[word] for word in str(mission).replace(",", " ,").split())


@lru_cache(maxsize=4096)
def decode_mission(tokens: bytes) -> Mission:
    """Undo `encode_mission`; a token 0 ends the mission.

    Raises:
        TaskError: these are not a mission's tokens.
    """
    words = tokens.split(b"\0", 1)[0]
    if words and max(words) > len(VOCABULARY):
        raise TaskError(
            f"an observation's mission has the token {max(words)}, but there are {len(VOCABULARY)} "
            "words; was it stored by a newer version?"
        )
    return parse_mission(" ".join(VOCABULARY[token - 1] for token in words).replace(" ,", ","))


def without(mission: Mission, done: Iterable[Iterable[bool]]) -> Mission:
    """What is left of a mission, given which of its clauses are done."""
    left = (
        tuple(clause for clause, ok in zip(step, oks, strict=True) if not ok)
        for step, oks in zip(mission.steps, done, strict=True)
    )
    return Mission(tuple(step for step in left if step))


NOW, LATER = 1, 2  # the next step may be about it; a later step may be
_OBJECTS = ("key", "ball", "box", "door")


@dataclass
class _Goal:
    """A clause; of BabyAI's also its instruction, which knows the objects that fit."""

    clause: Clause
    instruction: Any = None
    done: bool = False

    def is_about(self, thing: WorldObj) -> bool:
        """Whether this may be the thing to go to, to pick up, to open or to put elsewhere."""
        if self.instruction is None:
            return _fits(self.clause.thing, thing)
        name = "desc_move" if isinstance(self.instruction, PutNextInstr) else "desc"
        return any(thing is one for one in getattr(self.instruction, name).obj_set)

    def is_beside(self, thing: WorldObj) -> bool:
        """Whether this may be the thing to put something next to."""
        if self.clause.beside is None:
            return False
        if self.instruction is None:
            return _fits(self.clause.beside, thing)
        return any(thing is one for one in self.instruction.desc_fixed.obj_set)

    def is_way_to(self, thing: WorldObj) -> bool:
        """Whether this is the door of the room that the mission says the thing is in."""
        room = self.clause.thing.place.removeprefix("from the ").removesuffix(" room")
        return thing.type == "door" and thing.color == room

    def mark(self, thing: WorldObj, carried: WorldObj | None) -> int:
        """The mark of a thing while this clause belongs to the next step."""
        if self.is_about(thing) or self.is_way_to(thing):
            return NOW
        if self.is_beside(thing):
            return NOW if carried is not None and self.is_about(carried) else LATER
        return 0


class MissionProgress:
    """Follows one episode; made after its reset, updated after each step.

    BabyAI keeps account of what is done of its missions. Elsewhere a clause is done for good once
    its thing is carried or its door is seen open, in the order of the mission; what ends the
    episode needs no account.

    Raises:
        TaskError: the mission is not understood.
    """

    def __init__(self, env: MiniGridEnv) -> None:
        self._mission = parse_mission(env.mission)
        level: Any = env if isinstance(env, RoomGridLevel) else None
        self._instructions = level.instrs if level else None
        pairs = _account(self._instructions) if self._instructions is not None else None
        self._goals = [
            [_Goal(c, pairs[i][j][0] if pairs else None) for j, c in enumerate(step)]
            for i, step in enumerate(self._mission.steps)
        ]
        self._carried: WorldObj | None = None
        self.left = Mission()  # set by the first update

    def update(self, seen: Iterable[WorldObj], carried: WorldObj | None) -> bool:
        """Take note of what was done; whether marks or words may have changed."""
        if self._instructions is not None:
            for goals, step in zip(self._goals, _account(self._instructions), strict=True):
                for goal, (_, done) in zip(goals, step, strict=True):
                    goal.done = done
        else:
            self._follow(seen, carried)
        left = without(self._mission, [[goal.done for goal in goals] for goals in self._goals])
        changed = left != self.left or carried is not self._carried
        self.left, self._carried = left, carried
        return changed

    def _follow(self, seen: Iterable[WorldObj], carried: WorldObj | None) -> None:
        open_doors = [one for one in seen if isinstance(one, Door) and one.is_open]
        for goals in self._goals:
            for goal in goals:
                verb = goal.clause.verb
                if verb == "pick up" and carried is not None:
                    goal.done |= goal.is_about(carried)
                elif verb == "open":
                    goal.done |= any(map(goal.is_about, open_doors))
            if not all(goal.done for goal in goals):
                return

    def mark(self, thing: WorldObj) -> int:
        """Whether the next step (NOW), a later one (LATER) or none (0) may be about it."""
        steps = [[goal for goal in goals if not goal.done] for goals in self._goals]
        first, *later = [step for step in steps if step] or [[]]
        marks = [goal.mark(thing, self._carried) for goal in first]
        if NOW in marks:
            return NOW
        return LATER if any(marks) or any(g.mark(thing, None) for s in later for g in s) else 0


def _account(instruction: Any) -> list[list[tuple[Any, bool]]]:
    """BabyAI's instructions in the order in which they are to be done, and whether they are."""
    if not isinstance(instruction, SeqInstr):
        return [[(instruction, False)]]
    sequence: Any = instruction
    first, second = (sequence.instr_a, sequence.a_done), (sequence.instr_b, sequence.b_done)
    if isinstance(instruction, AndInstr):
        return [[(one, done == "success") for one, done in (first, second)]]
    if isinstance(instruction, AfterInstr):  # "a after you b"
        first, second = second, first
    return [
        [(leaf, ok or done == "success") for step in _account(one) for leaf, ok in step]
        for one, done in (first, second)
    ]


def _fits(target: Thing, thing: WorldObj) -> bool:
    kinds = _OBJECTS if target.kind == "object" else (target.kind,)
    return thing.type in kinds and target.color in ("", thing.color)
