"""The ``expert`` teacher: hand-written rules for Crafter. No LLM: the upper bound of the options.

It reads the same text as an LLM, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator

from llm4teach.envs.crafter.describe import (
    CREATURE_NAMES,
    FAMILY,
    KIND_NAMES,
    PLANS,
    Facts,
    parse_text,
    possible_options,
)
from llm4teach.envs.crafter.symbols import ACHIEVEMENTS, ITEMS, MATERIALS, OPTIONS
from llm4teach.errors import TeacherError
from llm4teach.teacher_labeling.teacher import Advice, AdviceStatus, States, TeacherInfo

_LOW, _MEDIUM, _HIGH, _FULL = range(4)
_NOWHERE, _BESIDE, _NEAR, _AWAY, _FAR, _OUT_OF_REACH = range(6)


class ExpertTeacher:
    """Advises the one option that its rules select.

    Args:
        family: of the tasks; the rules are those of Crafter.

    Raises:
        TeacherError: it is another family.
    """

    info = TeacherInfo(
        backend="expert", model="crafter-rules", model_revision="1", method="hand-written"
    )

    def __init__(self, family: str) -> None:
        if family != FAMILY:
            raise TeacherError(
                f"the teacher 'expert' has rules for {FAMILY} and raw MiniGrid tasks only, not "
                f"for {family}; choose another with --teacher"
            )

    def advise(self, states: States) -> Iterator[Advice]:
        """Yield each state's option with probability 1."""
        for state in states:
            plan = PLANS[choose(parse_text(state.text))]
            yield Advice(state, AdviceStatus.OK, ((plan, 1.0),), coverage=1.0)

    def close(self) -> None:
        """Free nothing."""


def choose(facts: Facts) -> str:
    """Return the name of the best option by the rules: danger, needs, tools, then materials."""
    failed = {name for name, flag in zip(OPTIONS, facts.failed, strict=True) if flag}
    possible = [name for name in possible_options(facts) if name not in failed]
    scene = _Scene(facts, set(possible))
    for rule in (_stay_alive, _satisfy_needs, _grow_food, _make_tools, _gather):
        option = rule(scene)
        if option and option in scene.possible:
            return option
    return "sleep" if facts.asleep else "explore"


class _Scene:
    """The facts by name."""

    def __init__(self, facts: Facts, possible: set[str]) -> None:
        self.facts, self.possible = facts, possible
        self.health, self.food, self.drink, self.energy = facts.vitals
        self.has = dict(zip(ITEMS, facts.counts, strict=True))
        names = KIND_NAMES + CREATURE_NAMES
        self.where = dict(zip(names, facts.where + facts.in_sight, strict=True))
        self.done = {n for n, flag in zip(ACHIEVEMENTS, facts.done, strict=True) if flag}

    def is_within(self, name: str, place: int) -> bool:
        """Whether something is no farther than a place, and can be reached."""
        return _NOWHERE < self.where[name] <= place

    @property
    def is_safe(self) -> bool:
        """Whether no creature that attacks is in sight."""
        return not self.where["zombie"] and not self.where["skeleton"]


def _stay_alive(scene: _Scene) -> str | None:
    if scene.facts.asleep:
        return "sleep"
    zombie, skeleton = scene.where["zombie"], scene.where["skeleton"]
    hunts = "defeat zombie" not in scene.done and scene.health >= _MEDIUM
    if zombie in (_BESIDE, _NEAR) or (zombie == _AWAY and hunts):
        return "fight zombie"
    is_due = "defeat skeleton" not in scene.done or skeleton in (_BESIDE, _NEAR)
    if skeleton and skeleton != _OUT_OF_REACH and is_due and scene.health >= _MEDIUM:
        return "fight skeleton"
    return None


def _satisfy_needs(scene: _Scene) -> str | None:
    if scene.facts.stuck:
        return "explore"
    thirsty, hungry = scene.drink == _LOW, scene.food <= _LOW
    if thirsty and scene.is_within("water", _FAR):
        return "drink water"
    if hungry and scene.is_within("ripe plant", _FAR):
        return "eat plant"
    if hungry and scene.is_within("cow", _FAR):
        return "eat cow"
    if scene.is_within("water", _BESIDE) and scene.drink < _FULL:
        return "drink water"
    if scene.is_safe and not scene.facts.dark:  # by night zombies come in numbers
        is_nap = "wake up" not in scene.done and scene.energy < _FULL
        is_fit = scene.health == _FULL if is_nap else scene.health >= _MEDIUM
        if is_fit and (is_nap or scene.energy == _LOW):  # a sleeper that is hit loses 7 of 9
            return "sleep"
    if scene.drink <= _MEDIUM and scene.is_within("water", _NEAR):
        return "drink water"
    if "collect drink" not in scene.done and scene.is_within("water", _AWAY):
        return "drink water"
    eats = "eat cow" not in scene.done or scene.food <= _MEDIUM
    if eats and scene.is_within("cow", _NEAR):
        return "eat cow"
    return None


def _grow_food(scene: _Scene) -> str | None:
    if "place plant" not in scene.done:
        return "place plant" if scene.has["sapling"] else "collect sapling"
    if "eat plant" not in scene.done:
        if scene.is_within("ripe plant", _FAR):
            return "eat plant"
        if scene.facts.old_plant and scene.is_within("plant", _FAR):
            return "eat plant" if not scene.is_within("plant", _BESIDE) else None
    return None


def _make_tools(scene: _Scene) -> str | None:
    has, done = scene.has, scene.done
    if has["stone"] and "place stone" not in done:
        return "place stone"  # and digs it out again
    at_table = scene.is_within("table", _AWAY)
    simple = [
        name
        for name in ("wood pickaxe", "wood sword", "stone pickaxe", "stone sword")
        if not has[name] and has["wood"] and (has["stone"] or name.startswith("wood"))
    ]
    if at_table and simple:
        return f"make {simple[0]}"
    iron = [name for name in ("iron pickaxe", "iron sword") if not has[name]]
    can_make_iron = bool(iron) and all(has[m] for m in ("wood", "stone", "coal", "iron"))
    if can_make_iron and scene.facts.uses_both:
        return f"make {iron[0]}"
    if at_table and has["stone"] and "place furnace" not in done:
        return "place furnace"
    wants_table = "place table" not in done or (not at_table and bool(simple or can_make_iron))
    if wants_table and (has["wood"] >= 4 or (has["wood"] >= 2 and not _sees_trees(scene))):
        return "place table"
    if wants_table and _sees_trees(scene):
        return "collect wood"
    if can_make_iron and at_table and has["stone"] >= 2:
        return "place furnace"
    return None


def _sees_trees(scene: _Scene) -> bool:
    return "collect wood" in scene.possible and scene.is_within("tree", _FAR)


def _gather(scene: _Scene) -> str | None:
    has = scene.has
    lacking = sum(not has[name] for name in ITEMS[MATERIALS:])
    only_iron = bool(lacking) and bool(has["stone pickaxe"] and has["stone sword"])
    wanted = min(5, lacking + 2 * only_iron)  # each tool takes 1, another table 2
    if has["wood"] < wanted and scene.is_within("tree", _AWAY):
        return "collect wood"
    if has["wood pickaxe"]:
        if has["stone"] < 3 and scene.is_within("stone", _FAR):
            return "collect stone"
        if has["coal"] < 2 and scene.is_within("coal", _FAR):
            return "collect coal"
        if has["stone pickaxe"] and has["iron"] < 2 and scene.is_within("iron", _FAR):
            return "collect iron"
        wants_diamond = has["iron pickaxe"] and "collect diamond" not in scene.done
        if wants_diamond and scene.is_within("diamond", _FAR):
            return "collect diamond"
    if scene.drink <= _MEDIUM and scene.is_within("water", _AWAY):
        return "drink water"
    return None
