"""The describer of a generic MiniGrid task: few texts, no colors, plans to choose from.

Every distinct text costs a question. So a thing is named by what it is for (`minigrid_scene.Scene`)
and told only where it may matter: nothing else beside what the mission asks for, if that can be
reached; doors that are closed once nothing is left to explore; boxes once a key is missing or
nothing else is left; a key that fits nothing known unless the mission is only to go somewhere.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from llm4teach.envs.grid.options import BOX, DOOR, EMPTY, GOAL, KEY, OPEN
from llm4teach.envs.minigrid.parsed.scene import Scene
from llm4teach.envs.plan import parse_plan
from llm4teach.envs.task import State, state_key

FAMILY = "MiniGrid"
OUT_OF_REACH = "out of reach"
# With one of these in reach nothing else matters, except what is to be beside it.
ATTAINABLE = ("goal", "target object", "target door", "open target door")


class Facts(NamedTuple):
    """All that a state's text says."""

    mission: str  # its next clause; what comes later does not matter yet
    unexplored: bool
    sees: tuple[str, ...]
    holds: str  # "" for nothing


EXAMPLES = (
    Facts("go to <goal>", True, (), ""),
    Facts("pick up <target object>", True, ("locked door", "matching key"), ""),
    Facts("pick up <target object>", True, ("locked door",), "matching key"),
)


def facts_of(scene: Scene) -> Facts:
    """Return the facts that describe an observation."""
    return Facts(_mission(scene), scene.unexplored, tuple(_seen(scene)), _held(scene))


def _mission(scene: Scene) -> str:
    clause = scene.clause
    if clause is None:
        return "none"
    kind = {"goal": "goal", "door": "target door"}.get(clause.thing.kind, "target object")
    text = f"{clause.verb} <{kind}>"
    if clause.thing.place.startswith("from "):
        text += " in the room of <target door>"
    if clause.beside is not None:
        text += " next to <second object>"
    return text


def _seen(scene: Scene) -> list[str]:
    """Names of the things to mention, in a fixed order."""
    names = _seen_of_mission(scene)
    if names and names[0] in ATTAINABLE:
        return names
    locked = scene.locked.any()
    doors = scene.lockable & ~scene.target
    if doors.any():
        names.append("locked door" if scene.is_near(doors) else f"locked door {OUT_OF_REACH}")
    if scene.is_near(scene.matching & ~scene.target):
        names.append("matching key")
    elif not locked and not _is_walk(scene):
        names += ["key"] * scene.is_near((scene.objects == KEY) & ~scene.target)
    if not scene.unexplored:
        names += ["closed door"] * scene.is_near(scene.closed & ~scene.target)
        missing = locked and not scene.matching.any()
        if missing or not (names or locked):
            names += ["box"] * scene.is_near((scene.objects == BOX) & ~scene.target)
        names += ["blocking object"] * bool(scene.blocking.any())
    return names


def _is_walk(scene: Scene) -> bool:
    """Whether the mission is only to go somewhere, for which a key alone is of no use."""
    return scene.clause is not None and scene.clause.verb == "go to"


def _seen_of_mission(scene: Scene) -> list[str]:
    target = scene.target & scene.elsewhere
    doors = target & (scene.objects == DOOR)
    things = target & ~doors
    names = []
    if scene.is_near(things):
        names = ["goal" if (scene.objects[things] == GOAL).any() else "target object"]
    elif scene.is_near(doors & ~scene.locked):
        is_way = scene.clause is not None and scene.clause.thing.kind != "door"
        passed = is_way and (scene.states[doors] == OPEN).all()
        names = ["open target door" if passed else "target door"]
    elif scene.is_near(doors & scene.locked):
        names = ["locked target door"]
    elif target.any() and not scene.unexplored:
        kind = "goal" if (scene.objects[target] == GOAL).any() else "target"
        names = [f"{kind} {OUT_OF_REACH}"]
    return names + ["second object"] * scene.is_near(scene.second)


def _held(scene: Scene) -> str:
    if scene.carrying == EMPTY:
        return ""
    for name in ("target object", "matching key"):
        if scene.holds(name):
            return name
    return "other object"


@lru_cache(maxsize=4096)
def minigrid_state(facts: Facts) -> State:
    """Return the text of these facts, and the plans that are admissible by what it says."""
    seen = ", ".join(f"<{name}>" for name in facts.sees) or "<nothing>"
    text = (
        f"Mission: {facts.mission}. Unexplored: {'yes' if facts.unexplored else 'no'}. "
        f"Agent sees {seen}, holds <{facts.holds or 'nothing'}>."
    )
    return State(state_key(FAMILY, text), text, tuple(map(parse_plan, _plans(facts))))


def _plans(facts: Facts) -> list[str]:
    """Return the admissible plans. "go to" comes with its purpose: a teacher that is asked again in
    each state, and knows no distances, would otherwise never get past "go to"."""
    verb, empty = facts.mission.partition(" <")[0], not facts.holds
    plans = ["explore"] if facts.unexplored else []
    openable = ["closed door", "box"] + ["locked door"] * (facts.holds == "matching key")
    for name in facts.sees:
        if name == "open target door":
            plans.append(f"go through {name}")
        elif name in ("goal", "target object", "target door", "locked target door"):
            plans += _for_target(name, verb, facts.holds)
        elif name == "second object" and verb == "put" and facts.holds == "target object":
            plans.append("put target object next to second object")
        elif name in openable:
            plans.append(f"go to {name} > open {name}")
        elif name in ("matching key", "key", "blocking object"):
            plans += [f"go to {name} > pick up {name}"] * empty
    if facts.holds:
        plans.append(f"drop {facts.holds}")
    return plans or ["explore"]


def _for_target(name: str, verb: str, holds: str) -> list[str]:
    if verb == "go to" or name == "goal":
        return [f"go to {name}"]
    if name.endswith("door"):
        able = name == "target door" or holds == "matching key"
        return [f"go to {name} > open {name}"] * able
    return [f"go to {name} > pick up {name}"] * (not holds)
