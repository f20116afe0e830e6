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
from llm4teach.envs.crafter.symbols import ACHIEVEMENTS, ITEMS, MATERIALS
from llm4teach.errors import TeacherError
from llm4teach.teacher_labeling.teacher import Advice, AdviceStatus, States, TeacherInfo

_LOW, _GOOD, _FULL = range(3)
_BESIDE, _NEAR = 1, 2
_SHARES = (1 - 1e-3 - 1e-6, 1e-3, 1e-6)  # of the best options: the next acts where one cannot


class ExpertTeacher:
    """Advises the option that its rules select, and two for where that cannot act.

    Args:
        family: of the tasks; the rules are those of Crafter.

    Raises:
        TeacherError: it is another family.
    """

    info = TeacherInfo(
        "expert", "crafter-rules", model_revision="2", method="hand-written", instant=True
    )

    def __init__(self, family: str) -> None:
        if family != FAMILY:
            raise TeacherError(
                f"the teacher 'expert' has rules for {FAMILY} and raw MiniGrid tasks only, not "
                f"for {family}; choose another with --teacher"
            )

    def advise(self, states: States) -> Iterator[Advice]:
        """Yield each state's best options, nearly all of the probability to the first."""
        for state in states:
            ranked = rank(parse_text(state.text))[: len(_SHARES)]
            total = sum(_SHARES[: len(ranked)])
            plans = tuple((PLANS[n], p / total) for n, p in zip(ranked, _SHARES, strict=False))
            yield Advice(state, AdviceStatus.OK, plans, coverage=1.0)

    def close(self) -> None:
        """Free nothing."""


def rank(facts: Facts) -> list[str]:
    """Return the names of options, best first: each is what the rules select without those before.

    The last one is always possible. The rules: danger, needs, food, tools, then materials.
    """
    if facts.asleep:
        return ["sleep"]
    ranked: list[str] = []
    possible = set(possible_options(facts)) - {"explore"}
    scene = _Scene(facts, possible)
    while len(ranked) < len(_SHARES) - 1:
        options = (rule(scene) for rule in (_stay_alive, _satisfy_needs, _grow_food, _make_tools,
                                            _gather))  # fmt: skip
        best = next((option for option in options if option in possible), None)
        if best is None:
            break
        ranked.append(best)
        possible.remove(best)
    return [*ranked, "explore"]


class _Scene:
    """The facts by name."""

    def __init__(self, facts: Facts, possible: set[str]) -> None:
        self.facts, self.possible = facts, possible
        self.health, self.food, self.drink, self.energy = facts.vitals
        self.has = dict(zip(ITEMS, facts.counts, strict=True))
        names = KIND_NAMES + CREATURE_NAMES
        self.where = dict(zip(names, facts.where + facts.in_sight, strict=True))
        self.done = {n for n, flag in zip(ACHIEVEMENTS, facts.done, strict=True) if flag}

    def is_near(self, name: str) -> bool:
        """Whether something is near, or beside."""
        return self.where[name] in (_BESIDE, _NEAR)

    @property
    def is_safe(self) -> bool:
        """Whether no creature that attacks is in sight."""
        return not self.where["zombie"] and not self.where["skeleton"]


def _stay_alive(scene: _Scene) -> str | None:
    hunts = "defeat zombie" not in scene.done and scene.health >= _GOOD
    if scene.is_near("zombie") or (scene.where["zombie"] and hunts):
        return "fight zombie"
    is_due = "defeat skeleton" not in scene.done or scene.is_near("skeleton")
    if scene.where["skeleton"] and is_due and scene.health >= _GOOD:
        return "fight skeleton"
    return None


def _satisfy_needs(scene: _Scene) -> str | None:
    if scene.drink == _LOW and scene.where["water"]:
        return "drink water"
    if scene.food == _LOW:
        if scene.where["ripe plant"]:
            return "eat plant"
        if scene.where["cow"]:
            return "eat cow"
    if scene.where["water"] == _BESIDE and scene.drink < _FULL:
        return "drink water"
    is_nap = "wake up" not in scene.done
    is_fit = scene.health == _FULL if is_nap else scene.health >= _GOOD
    # By night zombies come in numbers, and a sleeper that is hit loses 7 of 9.
    if is_fit and scene.is_safe and not scene.facts.dark and (is_nap or scene.energy == _LOW):
        return "sleep"
    if "collect drink" not in scene.done and scene.where["water"]:
        return "drink water"
    if "eat cow" not in scene.done and scene.where["cow"]:
        return "eat cow"
    return None


def _grow_food(scene: _Scene) -> str | None:
    if "place plant" not in scene.done:
        return "place plant" if scene.has["sapling"] else "collect sapling"
    if "eat plant" not in scene.done and (scene.where["ripe plant"] or scene.facts.old_plant):
        return "eat plant"
    return None


def _make_tools(scene: _Scene) -> str | None:
    has, done = scene.has, scene.done
    if has["stone"] and "place stone" not in done:
        return "place stone"  # and digs it out again
    at_table = scene.is_near("table")
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
    return "collect wood" in scene.possible and bool(scene.where["tree"])


def _gather(scene: _Scene) -> str | None:
    has = scene.has
    lacking = sum(not has[name] for name in ITEMS[MATERIALS:])
    only_iron = bool(lacking) and bool(has["stone pickaxe"] and has["stone sword"])
    wanted = min(5, lacking + 2 * only_iron)  # each tool takes 1, another table 2
    if has["wood"] < wanted and scene.is_near("tree"):
        return "collect wood"
    if has["wood pickaxe"]:
        if has["stone"] < 3 and scene.where["stone"]:
            return "collect stone"
        if has["coal"] < 2 and scene.where["coal"]:
            return "collect coal"
        if has["stone pickaxe"] and has["iron"] < 2 and scene.where["iron"]:
            return "collect iron"
        wants_diamond = has["iron pickaxe"] and "collect diamond" not in scene.done
        if wants_diamond and scene.where["diamond"]:
            return "collect diamond"
    return None
