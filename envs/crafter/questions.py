"""Crafter's yes/no questions: an option, its rule, and only the facts that the rule speaks of.

The rules are those of the game's manual. What is not in the rule is left out, so that a few hundred
questions cover all states. Exploring has no rule, is always possible and is not asked about: it
counts as undecided, so the player explores where nothing else is judged worth doing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

from llm4teach.envs.crafter.describe import (
    CREATURE_NAMES,
    KIND_NAMES,
    LEVEL_NAMES,
    VITAL_SIGNS,
    Facts,
    parse_text,
)
from llm4teach.envs.crafter.symbols import ACHIEVEMENTS, ITEMS

_ACHIEVED_BY = {  # where the names differ
    "drink water": "collect drink",
    "sleep": "wake up",
    "fight zombie": "defeat zombie",
    "fight skeleton": "defeat skeleton",
}
RULES = {
    "collect wood": "the first material: 2 for a table, 1 for each pickaxe and each sword; "
    "about 5 are enough.",
    "collect stone": "any pickaxe digs stone, bare hands do not; for stone tools and a furnace, "
    "about 4 are enough.",
    "collect coal": "any pickaxe digs coal, bare hands do not; iron tools need 2 in all.",
    "collect iron": "a stone pickaxe digs iron, a wood pickaxe or bare hands do not; iron tools "
    "need 2 in all.",
    "collect diamond": "only an iron pickaxe digs diamond.",
    "collect sapling": "grass gives one now and then; one sapling is enough.",
    "drink water": "restores drink; pointless when drink is full.",
    "eat cow": "restores food; pointless when food is full.",
    "eat plant": "only a ripe plant can be eaten; it restores food.",
    "sleep": "restores energy when it is low; pointless when energy is full, and dangerous when a "
    "zombie is in sight.",
    "place stone": "takes 1 stone; once is enough.",
    "place table": "takes 2 wood; tools are made beside a table; one in reach is enough.",
    "place furnace": "takes 1 stone and a table in reach; one furnace is enough.",
    "place plant": "takes a sapling; a planted one can be eaten later.",
    **{
        f"make wood {tool}": "takes a table in reach and 1 wood; one is enough."
        for tool in ("pickaxe", "sword")
    },
    **{
        f"make stone {tool}": "takes a table in reach, 1 wood and 1 stone; one is enough."
        for tool in ("pickaxe", "sword")
    },
    **{
        f"make iron {tool}": "takes a table and a furnace in reach, 1 wood, 1 stone, 1 coal and "
        "1 iron; one is enough."
        for tool in ("pickaxe", "sword")
    },
    "fight zombie": "a zombie that is not fought follows the player and strikes again and again.",
    "fight skeleton": "a skeleton that is not fought keeps shooting arrows.",
}


def crafter_question(text: str, option: str) -> str:
    """Return the question about an option in a state with this text; "" for exploring.

    Raises:
        ValueError: the text is not one of Crafter's states.
    """
    if option not in RULES:
        return ""
    facts = list(_FACTS[option.split()[0]](_player(text), option))
    listed = " and ".join([*filter(None, [", ".join(facts[:-1])]), facts[-1]])
    return f"Action: {option}. Rule: {RULES[option]}\nThe player {listed}."


class _Player:
    """What a text says about the player, as parts of a sentence."""

    def __init__(self, facts: Facts) -> None:
        self._has = dict(zip(ITEMS, facts.counts, strict=True))
        names = KIND_NAMES + CREATURE_NAMES
        self._seen = dict(zip(names, facts.where + facts.in_sight, strict=True))
        self._levels = dict(zip(VITAL_SIGNS, facts.vitals, strict=True))
        self._done = {n for n, flag in zip(ACHIEVEMENTS, facts.done, strict=True) if flag}
        self._old_plant = bool(facts.old_plant)

    def has(self, item: str, enough: int) -> str:
        """An amount, of which more than ``enough`` is not told apart."""
        count = self._has[item]
        if not count:
            return f"has no {item}"
        return f"has {enough} or more {item}" if count >= enough else f"has {count} {item}"

    def owns(self, tool: str) -> str:
        return f"already has a {tool}" if self._has[tool] else f"has no {tool} yet"

    def best_pickaxe(self) -> str:
        kinds = [kind for kind in ("iron", "stone", "wood") if self._has[f"{kind} pickaxe"]]
        return f"has a {kinds[0]} pickaxe" if kinds else "has no pickaxe at all"

    def in_reach(self, thing: str) -> str:
        return f"has a {thing} in reach" if self._seen[thing] else f"has no {thing} in reach"

    def in_sight(self, creature: str) -> str:
        return f"sees a {creature}" if self._seen[creature] else f"sees no {creature}"

    def level(self, sign: str) -> str:
        return f"has {LEVEL_NAMES[self._levels[sign]]} {sign}"

    def plant(self) -> str:
        is_ripe = self._seen["ripe plant"] or self._old_plant
        return "knows a ripe plant" if is_ripe else "knows only an unripe plant"

    def before(self, option: str) -> str:
        done = _ACHIEVED_BY.get(option, option) in self._done
        return "has done this before" if done else "has never done this before"


@lru_cache(maxsize=64)  # a state's options are asked about one after the other
def _player(text: str) -> _Player:
    return _Player(parse_text(text))


def _collect(player: _Player, option: str) -> Iterator[str]:
    thing = option.removeprefix("collect ")
    if thing == "wood":
        yield player.has(thing, 5)
    elif thing == "sapling":
        yield player.has(thing, 1)
        yield player.before(option)
    else:
        yield player.best_pickaxe()
        yield player.has(thing, 3 if thing == "stone" else 2)
        if thing == "diamond":
            yield player.before(option)


def _restore(player: _Player, option: str) -> Iterator[str]:
    if option == "eat plant":
        yield player.plant()
    yield player.level({"drink water": "drink", "sleep": "energy"}.get(option, "food"))
    if option == "sleep":
        yield player.in_sight("zombie")
    yield player.before(option)


def _place(player: _Player, option: str) -> Iterator[str]:
    thing = option.removeprefix("place ")
    material = {"table": "wood", "plant": "sapling"}.get(thing, "stone")
    yield player.has(material, {"table": 4, "plant": 1}.get(thing, 2))
    if thing in ("table", "furnace"):
        yield player.in_reach("table")
    if thing == "furnace":
        yield player.in_reach("furnace")
    yield player.before(option)


def _make(player: _Player, option: str) -> Iterator[str]:
    tool = option.removeprefix("make ")
    kind = tool.split()[0]
    yield player.in_reach("table")
    if kind == "iron":
        yield player.in_reach("furnace")
    materials = {"wood": ["wood"], "stone": ["wood", "stone"]}
    for material in materials.get(kind, ["wood", "stone", "coal", "iron"]):
        yield player.has(material, 1)
    yield player.owns(tool)


def _fight(player: _Player, option: str) -> Iterator[str]:
    yield player.level("health")
    yield player.before(option)


_FACTS: dict[str, Callable[[_Player, str], Iterator[str]]] = {
    "collect": _collect,
    **dict.fromkeys(("drink", "eat", "sleep"), _restore),
    "place": _place,
    "make": _make,
    "fight": _fight,
}
