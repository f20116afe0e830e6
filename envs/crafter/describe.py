"""The text of a state: facts in a few lines, and the options that are possible by them."""

from __future__ import annotations

from itertools import accumulate
from typing import NamedTuple

from llm4teach.envs.crafter.symbols import (
    ACHIEVEMENTS,
    ITEMS,
    MATERIALS,
    MOST,
    OPTIONS,
)
from llm4teach.envs.plan import named_plan
from llm4teach.envs.task import Family, State, state_key
from llm4teach.envs.verbs import Verbs

FAMILY = Family(
    "Crafter",
    about="Crafter is an open world of grassland, lakes and caves, seen from above. The player "
    "collects materials, makes tools, eats, drinks, sleeps and defends itself; the aim is to do "
    "each of 22 things at least once, and to stay alive for it. A table takes 2 wood, a furnace 1 "
    "stone. Tools are made beside a table: of wood from 1 wood, of stone from 1 wood and 1 stone, "
    "of iron from 1 wood, 1 stone, 1 coal and 1 iron, beside a furnace, too. Stone and coal need a "
    "wood pickaxe, iron a stone pickaxe, diamonds an iron pickaxe. Grass yields a sapling now and "
    "then; a planted one can be eaten when it is ripe, after two days. Zombies attack on grass, in "
    "numbers by night, and hurt a sleeper most; skeletons shoot in caves. Food, drink and energy "
    "sink; if one is used up, health does, too.",
    verbs=Verbs.of(OPTIONS),
)
LEVEL_NAMES = ("low", "good", "full")
VITAL_SIGNS = ("health", "food", "drink", "energy")
KIND_NAMES = (
    *("water", "tree", "grass", "stone", "coal", "iron", "diamond"),
    *("table", "furnace", "plant", "ripe plant"),
)
CREATURE_NAMES = ("cow", "zombie", "skeleton")
PLACE_NAMES = ("", "beside", "near", "far")
_ASLEEP = "The player sleeps."
_BOTH = "Table and furnace are in reach of one place."
_OLD = "The player's own plant has stood for over two days."
# One of these must be seen or remembered, or carried; the other options need nothing.
_OBJECTS = {
    "collect wood": {"tree"},
    "collect sapling": {"grass"},
    "drink water": {"water"},
    "eat cow": {"cow"},
    "eat plant": {"plant", "ripe plant"},
    "fight zombie": {"zombie"},
    "fight skeleton": {"skeleton"},
    **{f"collect {kind}": {kind} for kind in ("stone", "coal", "iron", "diamond")},
    **{option: {"table"} for option in OPTIONS if option.startswith("make")},
    "place stone": {"carried stone"},
    "place table": {"carried wood"},
    "place furnace": {"carried stone"},
    "place plant": {"carried sapling"},
}
PLANS = {name: named_plan(name) for name in OPTIONS}


class Facts(NamedTuple):
    """All that a state's text says; the numbers of `facts_kernel`, in its order."""

    asleep: int  # then all others are 0
    dark: int
    vitals: tuple[int, ...]  # a level of `LEVEL_NAMES` each
    counts: tuple[int, ...]  # of `ITEMS`, at most `MOST`
    where: tuple[int, ...]  # a place of `PLACE_NAMES` for each of `KIND_NAMES`
    in_sight: tuple[int, ...]  # likewise for `CREATURE_NAMES`
    uses_both: int
    old_plant: int
    done: tuple[int, ...]  # of `ACHIEVEMENTS`

    @classmethod
    def of(cls, row: bytes) -> Facts:
        """Read a row of `facts_kernel.facts_all`."""
        vitals, counts, where, in_sight, flags = accumulate(
            [2, len(VITAL_SIGNS), len(ITEMS), len(KIND_NAMES), len(CREATURE_NAMES)]
        )
        return cls(
            asleep=row[0],
            dark=row[1],
            vitals=tuple(row[vitals:counts]),
            counts=tuple(row[counts:where]),
            where=tuple(row[where:in_sight]),
            in_sight=tuple(row[in_sight:flags]),
            uses_both=row[flags],
            old_plant=row[flags + 1],
            done=tuple(row[flags + 2 :]),
        )


SLEEPING = Facts(1, 0, (0,) * 4, (0,) * len(ITEMS), (0,) * 11, (0,) * 3, 0, 0, (0,) * 22)


def crafter_state(facts: Facts) -> State:
    """Return the text of these facts, and the options that are possible by what it says."""
    text = facts_text(facts)
    return State(
        state_key(FAMILY, text), text, tuple(PLANS[name] for name in possible_options(facts))
    )


def possible_options(facts: Facts) -> list[str]:
    """Names of the options whose object is seen, remembered or carried; recipes do not matter."""
    if facts.asleep:
        return ["sleep"]
    things = {name for name, where in zip(KIND_NAMES, facts.where, strict=True) if where}
    things |= {name for name, seen in zip(CREATURE_NAMES, facts.in_sight, strict=True) if seen}
    things |= {f"carried {name}" for name, n in zip(ITEMS, facts.counts, strict=True) if n}
    return [
        name for name in OPTIONS if name not in _OBJECTS or not _OBJECTS[name].isdisjoint(things)
    ]


def facts_text(facts: Facts) -> str:
    """Return what the teacher reads."""
    if facts.asleep:
        return _ASLEEP
    vitals = (f"{name} {LEVEL_NAMES[v]}" for name, v in zip(VITAL_SIGNS, facts.vitals, strict=True))
    lines = [
        f"It is {'dark' if facts.dark else 'day'}. The player's {', '.join(vitals)}.",
        f"Has: {_listed(_carried(facts.counts))}.",
        f"Sees or remembers: {_listed(_placed(KIND_NAMES, facts.where))}.",
        f"Creatures in sight: {_listed(_placed(CREATURE_NAMES, facts.in_sight))}.",
        f"Done before: {_listed(_chosen(ACHIEVEMENTS, facts.done))}.",
    ]
    if facts.uses_both:
        lines.append(_BOTH)
    if facts.old_plant:
        lines.append(_OLD)
    return "\n".join(lines)


def parse_text(text: str) -> Facts:
    """Read a text of `facts_text`; ``parse_text(facts_text(facts)) == facts``.

    Raises:
        ValueError: it is another text.
    """
    if text == _ASLEEP:
        return SLEEPING
    try:
        first, has, seen, creatures, done, *flags = text.split("\n")
        light, _, vitals = first.removesuffix(".").partition(". The player's ")
        levels = dict(sign.split(" ") for sign in vitals.split(", "))
        return Facts(
            0,
            int(light == "It is dark"),
            tuple(LEVEL_NAMES.index(levels[name]) for name in VITAL_SIGNS),
            _counts(_items(has, "Has: ")),
            _places(KIND_NAMES, _items(seen, "Sees or remembers: ")),
            _places(CREATURE_NAMES, _items(creatures, "Creatures in sight: ")),
            int(_BOTH in flags),
            int(_OLD in flags),
            _flags(ACHIEVEMENTS, _items(done, "Done before: ")),
        )
    except (KeyError, ValueError) as error:
        raise ValueError(f"this is no state of Crafter ({error!r}): {text!r}") from None


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "nothing"


def _items(line: str, start: str) -> list[str]:
    if not line.startswith(start):
        raise ValueError(f"a line does not start with {start!r}")
    listed = line.removeprefix(start).removesuffix(".")
    return [] if listed == "nothing" else listed.split(", ")


def _carried(counts: tuple[int, ...]) -> list[str]:
    names = []
    for k, (name, count) in enumerate(zip(ITEMS, counts, strict=True)):
        if k >= MATERIALS or MOST[k] == 1:
            names += [name] * count
        elif count:
            names.append(f"{count}{' or more' * (count == MOST[k])} {name}")
    return names


def _counts(names: list[str]) -> tuple[int, ...]:
    counts = dict.fromkeys(ITEMS, 0)
    for name in names:
        number, _, rest = name.replace(" or more", "").partition(" ")
        counts[rest if number.isdigit() else name] = int(number) if number.isdigit() else 1
    return tuple(counts[name] for name in ITEMS)


def _placed(names: tuple[str, ...], where: tuple[int, ...]) -> list[str]:
    return [f"{name} {PLACE_NAMES[w]}" for name, w in zip(names, where, strict=True) if w]


def _places(names: tuple[str, ...], listed: list[str]) -> tuple[int, ...]:
    places = [0] * len(names)
    for item in listed:
        name, _, place = item.rpartition(" ")
        places[names.index(name)] = PLACE_NAMES.index(place)
    return tuple(places)


def _chosen(names: tuple[str, ...], flags: tuple[int, ...]) -> list[str]:
    return [name for name, flag in zip(names, flags, strict=True) if flag]


def _flags(names: tuple[str, ...], listed: list[str]) -> tuple[int, ...]:
    chosen = set(listed)
    if unknown := chosen.difference(names):
        raise ValueError(f"{sorted(unknown)} are none of {names}")
    return tuple([int(name in chosen) for name in names])
