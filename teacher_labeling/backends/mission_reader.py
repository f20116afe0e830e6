"""The ``expert`` teacher of raw MiniGrid tasks: hand-written rules that read text and mission.

No LLM: it shows what perfect reading of the same text is worth.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from llm4teach.envs.minigrid.parsed.missions import Clause, Mission, Thing, parse_mission
from llm4teach.envs.plan import Plan
from llm4teach.envs.task import State
from llm4teach.errors import TaskError, TeacherError
from llm4teach.teacher_labeling.teacher import Advice, AdviceStatus, States, TeacherInfo

_TEXT = re.compile(
    r"You see: (?P<seen>.*)\. You hold: (?:a )?(?P<held>.*)\. Mission: (?P<mission>.*?)\."
    r"(?: Fulfilled: (?P<fulfilled>.*)\.)?"
)
_SEEN = re.compile(
    r"(?:(?P<state>open|closed|locked) )?"
    r"(?P<name>(?:(?P<color>\w+) )?(?P<kind>key|ball|box|door|goal|lava))"
    r"(?P<place>(?: (?:ahead|behind|left|right))*)(?P<far> \(no way to it\))?"
)
_KINDS = ("key", "ball", "box", "door")
_SIDES = {
    "on your left": "left",
    "on your right": "right",
    "in front of you": "ahead",
    "behind you": "behind",
}


class Seen(NamedTuple):
    """An object that the text lists."""

    name: str  # with its place, as plans call it
    kind: str
    color: str
    state: str  # of doors
    place: str
    within_reach: bool


class MissionReader:
    """Advises the one plan that its rules select."""

    info = TeacherInfo(
        "expert", "minigrid-rules", model_revision="1", method="hand-written", instant=True
    )

    def advise(self, states: States) -> Iterator[Advice]:
        """Yield each state's plan with probability 1, or no advice where no rule applies."""
        for state in states:
            plan = choose(state)
            if plan is None:
                yield Advice(state, AdviceStatus.NO_ADVICE)
            else:
                yield Advice(state, AdviceStatus.OK, ((plan, 1.0),), coverage=1.0)

    def close(self) -> None:
        """Free nothing."""


def choose(state: State) -> Plan | None:
    """Return the first of the rules' wishes that is among a state's plans; None if none is.

    Raises:
        TeacherError: the text is no raw MiniGrid task's.
    """
    match = _TEXT.fullmatch(state.text)
    if match is None:
        raise TeacherError(f"this is no text of a raw MiniGrid task: {state.text!r}")
    plans = {str(plan): plan for plan in state.options}
    seen = [s for s in map(_read_thing, match["seen"].split(", ")) if s is not None]
    held = "" if match["held"] == "nothing" else match["held"]
    fulfilled = (match["fulfilled"] or "").split("; ")
    clauses = _open_clauses(match["mission"], fulfilled, seen, held)
    return next((plans[wish] for wish in _wishes(clauses, seen, held) if wish in plans), None)


def _read_thing(text: str) -> Seen | None:
    match = _SEEN.fullmatch(text)
    if match is None:
        return None
    place = match["place"].strip()
    name = f"{match['name']} {place}".rstrip()
    return Seen(
        name, match["kind"], match["color"] or "", match["state"] or "", place, not match["far"]
    )


def _open_clauses(words: str, fulfilled: list[str], seen: list[Seen], held: str) -> list[Clause]:
    """Return the clauses that may be done now: of the first step that is not fulfilled."""
    try:
        mission = parse_mission("" if words == "none" else words)
        done = [clause for text in fulfilled if text for (clause,) in parse_mission(text).steps]
    except TaskError:
        mission, done = Mission(), []
    for step in mission.steps:
        clauses = [clause for clause in step if not _is_seen_done(clause, seen, held)]
        for clause in [clause for clause in clauses if clause in done]:
            clauses.remove(clause)
            done.remove(clause)
        if clauses:
            return clauses
    return []


def _is_seen_done(clause: Clause, seen: list[Seen], held: str) -> bool:
    if clause.verb == "pick up":
        return _is_named(clause.thing, held)
    return clause.verb == "open" and any(
        thing.state == "open" and _fits(clause.thing, thing) for thing in seen
    )


def _wishes(clauses: list[Clause], seen: list[Seen], held: str) -> Iterator[str]:
    """Yield what would help, the best first: the mission, then the way to what is not seen."""
    near = [thing for thing in seen if thing.within_reach]
    for clause in clauses:
        yield from _for_clause(clause, near, held)
    locked = [thing for thing in seen if thing.state == "locked"]
    key_color = held.removesuffix(" key") if held.endswith(" key") else ""
    fitting = [lock for lock in locked if lock.color == key_color]
    yield from (f"open {lock.name}" for lock in fitting)
    rooms = {
        clause.thing.place.removeprefix("from the ").removesuffix(" room") for clause in clauses
    }
    closed = [thing for thing in near if thing.state == "closed"]
    yield from (f"open {door.name}" for door in closed if door.color in rooms)
    if not fitting:
        for thing in near:
            if thing.kind == "key" and any(lock.color == thing.color for lock in locked):
                yield f"drop {held}" if held else f"pick up {thing.name}"
    yield "explore"
    yield from (f"open {door.name}" for door in closed)
    yield from (f"open {thing.name}" for thing in near if thing.kind == "box")
    if held:
        yield f"drop {held}"
    yield from (f"pick up {thing.name}" for thing in near if thing.kind in _KINDS[:3])


def _for_clause(clause: Clause, near: list[Seen], held: str) -> Iterator[str]:
    meant = [thing for thing in near if _fits(clause.thing, thing)]
    if clause.verb == "go to":
        yield from (f"go to {thing.name}" for thing in meant)
    elif clause.verb == "open":
        for thing in meant:
            if thing.state == "closed" or held == f"{thing.color} key":
                yield f"open {thing.name}"
    elif clause.verb == "put" and clause.beside is not None and _is_named(clause.thing, held):
        yield from (
            f"put {held} next to {thing.name}" for thing in near if _fits(clause.beside, thing)
        )
    elif meant:
        yield f"drop {held}" if held else f"pick up {meant[0].name}"


def _fits(meant: Thing, thing: Seen) -> bool:
    kinds = _KINDS if meant.kind == "object" else (meant.kind,)
    side = _SIDES.get(meant.place, "")
    return (
        thing.kind in kinds
        and meant.color in ("", thing.color)
        and (not side or side in thing.place.split())
    )


def _is_named(meant: Thing, held: str) -> bool:
    color, _, kind = held.partition(" ")
    return kind in (meant.kind, *(_KINDS if meant.kind == "object" else ())) and meant.color in (
        "",
        color,
    )
