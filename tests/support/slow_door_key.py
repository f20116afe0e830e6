"""The door-key tasks' states and grounding, one observation after the other: the definition.

The kernels in envs/ are held to be equal to this, which is made of options.py alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm4teach.envs.door_key.state import NOTHING, Naming, pack
from llm4teach.envs.grid.options import DOOR, KEY, GridView, OptionStatus, decide_plan
from llm4teach.envs.task import Mixture, Observations


def view_of(observation: NDArray[np.uint8], naming: Naming, lava_blind: bool = True) -> GridView:
    palette = colors_met(observation) if naming is Naming.COLORS else ()
    return GridView(observation, lava_blind=lava_blind, palette=palette)


def colors_met(observation: NDArray[np.uint8]) -> tuple[int, ...]:
    """Color codes of keys and doors: of keys seen by their code, then doors, then the hand."""
    view = GridView(observation)
    met = [sorted(map(int, view.colors[view.cells(kind)])) for kind in ("key", "door")]
    held = [int(view.colors[view.agent])] if view.carrying in (KEY, DOOR) else []
    return tuple(dict.fromkeys(met[0] + met[1] + held))


def slow_identify(observations: Observations, naming: Naming) -> NDArray[np.int64]:
    return np.array([_identify(view_of(o, naming), naming) for o in observations], np.int64)


def _identify(view: GridView, naming: Naming) -> int:
    def neutral(color: int) -> int:
        return view.palette.index(color) + 1 if view.palette else 1

    keys = sum({1 << neutral(int(c)) - 1 for c in view.colors[view.cells("key")]})
    doors = view.colors[view.cells("door")]
    seen = len(doors) if naming is Naming.COUNTED else NOTHING
    if naming is not Naming.COUNTED and len(doors):
        seen = neutral(int(doors[0]))
    held = neutral(int(view.colors[view.agent])) if view.carrying == KEY else NOTHING
    return pack(keys, seen, held)


def slow_ground(
    observations: Observations,
    mixtures: Sequence[Mixture],
    which: NDArray[np.integer[Any]],
    naming: Naming,
    lava_blind: bool = True,
) -> NDArray[np.float32]:
    probs = np.zeros((len(observations), 7), np.float32)
    for row, observation, i in zip(probs, observations, which, strict=True):
        view = view_of(observation, naming, lava_blind)
        for plan, share in mixtures[i]:
            decision = decide_plan(view, plan)
            if not isinstance(decision, OptionStatus):
                row[list(decision)] += share / len(decision)
    total = probs.sum(axis=1, keepdims=True)  # (N, 1)
    np.divide(probs, total, out=probs, where=total > 0)
    return probs
