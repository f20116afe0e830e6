"""The describer of raw tasks: what is seen and carried, and the mission's own words.

The text decides nothing: the teacher has to find out which thing the mission means, which key fits
and what is in the way. The plans are every verb that is physically possible with every object seen,
and to explore. The text gives places only for missions that speak of places, since every distinct
text costs a question.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from llm4teach.envs.minigrid.raw.scene import RawScene, Thing
from llm4teach.envs.plan import Plan, parse_plan
from llm4teach.envs.task import State, state_key

FAMILY = "MiniGridRaw"
_MOVABLE = ("key", "ball", "box")
_NO_WAY = " (no way to it)"
_UNEXPLORED = "unexplored space"
_SEEN = re.compile(r"(?<=^You see: ).*?(?=\. You hold: )")
_DOOR = re.compile(r"^(?:open|closed|locked) ")


class Facts(NamedTuple):
    """All that a state's text holds."""

    things: tuple[Thing, ...]
    is_unexplored: bool
    held: str  # "" for nothing
    mission: str
    fulfilled: tuple[str, ...]  # clauses of a mission of several


def facts_of(scene: RawScene) -> Facts:
    """Return the facts that describe an observation."""
    return Facts(
        tuple(scene.things()), scene.unexplored, scene.held, scene.mission, scene.fulfilled
    )


@lru_cache(maxsize=1 << 16)
def raw_state(facts: Facts) -> State:
    """Return the text of these facts, and the plans that are physically possible."""
    text = text_of(facts)
    plans = tuple(map(parse_plan, dict.fromkeys(_plans(facts))))
    return State(state_key(FAMILY, text), text, plans)


def text_of(facts: Facts) -> str:
    """Return the text of a state with these facts."""
    seen = list(dict.fromkeys(map(_shown, facts.things)))
    seen += [_UNEXPLORED] * facts.is_unexplored
    held = f"a {facts.held}" if facts.held else "nothing"
    text = (
        f"You see: {', '.join(seen) or 'nothing'}. You hold: {held}. "
        f"Mission: {facts.mission or 'none'}."
    )
    if facts.fulfilled:
        text += f" Fulfilled: {'; '.join(facts.fulfilled)}."
    return text


def _shown(thing: Thing) -> str:
    words = " ".join(filter(None, (thing.state, thing.name, thing.place)))
    return words + ("" if thing.within_reach else _NO_WAY)


def _plans(facts: Facts) -> list[str]:
    plans = ["explore"] * facts.is_unexplored
    for thing in facts.things:
        if not thing.within_reach or thing.kind == "lava":
            continue
        name = f"{thing.name} {thing.place}".rstrip()
        plans.append(f"go to {name}")
        if thing.kind in _MOVABLE and not facts.held:
            plans.append(f"pick up {name}")
        if thing.kind == "box" or thing.state in ("closed", "locked"):
            plans.append(f"open {name}")
        if facts.held and thing.kind != "goal":
            plans.append(f"put {facts.held} next to {name}")
    plans += [f"drop {facts.held}"] * bool(facts.held)
    return plans or ["explore"]


def raw_question(state: State, plan: Plan) -> str:
    """Return a state's text with only those of the things seen that the plan names, and the plan.

    Whether there is unexplored space matters where the plan goes through a door or just somewhere.
    Exploring is not asked about: it counts as undecided, so it is what remains where no plan is
    judged worth following.
    """
    option = plan.options[-1]
    if option.verb == "explore":
        return ""
    named = {option.target, option.beside}

    def matters(item: str) -> bool:
        if item == _UNEXPLORED:
            return option.verb in ("open", "go to")
        return _DOOR.sub("", item.removesuffix(_NO_WAY)) in named

    def chosen(seen: re.Match[str]) -> str:
        return ", ".join(filter(matters, seen[0].split(", "))) or "nothing else"

    return f"{_SEEN.sub(chosen, state.text, count=1)}\nOption: {plan}"
