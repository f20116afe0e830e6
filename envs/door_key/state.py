"""The describer of a room with keys and doors, in the paper's words.

A state is a small integer, `pack`; its text and its admissible plans are made once.
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache

from llm4teach.envs.plan import Option, Plan
from llm4teach.envs.task import State, state_key

NOTHING = 0  # in place of a neutral color: 1 is the first color that is met, 2 the second


class Naming(Enum):
    """How things are called."""

    PLAIN = "plain"  # key, door
    COLORS = "colors"  # color1 key: neutral names of colors, so that red/blue is green/grey
    COUNTED = "counted"  # door1, door2 in the order of their places; the key is just a key


def pack(keys: int, doors: int, holds: int) -> int:
    """Pack what was seen into one number below 64.

    Args:
        keys: set of the neutral colors of the keys seen, color c as bit c - 1.
        doors: neutral color of the door seen (their number, if they are counted), or NOTHING.
        holds: neutral color of the key in hand, or NOTHING.
    """
    return keys | doors << 2 | holds << 4


@lru_cache(maxsize=1024)
def door_key_state(family: str, naming: Naming, packed: int) -> State:
    """Text in the paper's form, and the plans admissible by what it says.

    "go to" comes with its purpose: a teacher that is asked again in each state, and knows no
    distances, would otherwise never get past "go to".
    """
    seen, doors, held = packed & 3, packed >> 2 & 3, packed >> 4 & 3
    colored = naming is Naming.COLORS
    keys = [f"color{c} key" if colored else "key" for c in (1, 2) if seen >> c - 1 & 1]
    door_names = [f"color{doors} door" if colored else "door"] if doors else []
    if naming is Naming.COUNTED:
        door_names = [f"door{i + 1}" for i in range(doors)]
    holds = (f"color{held} key" if colored else "key") if held else ""

    sees = ", ".join(f"<{name}>" for name in keys + door_names) or "<nothing>"
    text = f"Agent sees {sees}, holds <{holds or 'nothing'}>."
    empty_hand = (Option("drop", holds),) if holds else ()
    plans = [Plan((Option("explore"),))]
    plans += [Plan((*empty_hand, Option("go to", key), Option("pick up", key))) for key in keys]
    plans += [Plan((Option("go to", door), Option("open", door))) for door in door_names]
    plans += [Plan(empty_hand)] if empty_hand else []
    return State(state_key(family, text), text, tuple(plans))
