"""An observation of a raw task: what has been seen, by color and kind, and how to act on it.

Nothing here depends on what the mission says.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
from minigrid.core.constants import IDX_TO_COLOR, IDX_TO_OBJECT, OBJECT_TO_IDX
from numpy.typing import NDArray

from llm4teach.envs.grid.options import (
    BOX,
    DOOR,
    EMPTY,
    GOAL,
    KEY,
    OPEN,
    TOGGLE,
    Decision,
    GridView,
    OptionStatus,
    decide,
)
from llm4teach.envs.grid.paths import unpack
from llm4teach.envs.minigrid.map_env import NOTES, WORDS
from llm4teach.envs.minigrid.raw.env import ON_DOOR, START
from llm4teach.envs.minigrid.words import SEPARATOR, decode_words
from llm4teach.envs.plan import Option, Plan

Mask = NDArray[np.bool_]  # (width, height)
BALL, LAVA = OBJECT_TO_IDX["ball"], OBJECT_TO_IDX["lava"]
_SHOWN = np.isin(np.arange(256), [KEY, BALL, BOX, DOOR, GOAL, LAVA])
_DOOR_STATES = ("open", "closed", "locked")
DONE_ACTION = 6
# Words of rough places, along and across the heading at the start.
_ALONG, _ACROSS = {1: "ahead", -1: "behind"}, {1: "right", -1: "left"}
PLACE_WORDS = frozenset((*_ALONG.values(), *_ACROSS.values()))


class Thing(NamedTuple):
    """What can be told about an object that was seen; several may be told alike."""

    name: str  # "red ball"; "goal" and "lava" without a color
    kind: str
    state: str  # of doors: open, closed or locked
    place: str  # "ahead left" of where the agent started; "" where places are not told
    within_reach: bool  # there is a known way to stand before it


class RawScene(GridView):
    """One observation, uint8 (width, height, 6), of `raw.env.WordedMapEnv`.

    Objects are called by color and kind (``red ball``), and by place too (``red ball ahead left``)
    while the mission speaks of places: ahead, behind, left and right of the agent's first pose.

    Args:
        observation: the map.
        says_done: missions to go somewhere end with MiniGrid's action ``done``.
    """

    def __init__(self, observation: NDArray[np.uint8], *, says_done: bool = False) -> None:
        super().__init__(observation)
        self._says_done, self._notes = says_done, observation[..., NOTES]
        words = decode_words(observation[..., WORDS].tobytes())
        text = " ".join(words).replace(" ,", ",").split(f" {SEPARATOR} ")
        self.mission, self.fulfilled = text[0], tuple(text[1:])

    @cached_property
    def tells_places(self) -> bool:
        """Whether the mission has a word of places, such as "on your left"."""
        return not {"left", "right", "front", "behind"}.isdisjoint(self.mission.split())

    @cached_property
    def _places(self) -> NDArray[np.str_]:
        """Rough place of each cell, seen from where the agent started, (width, height)."""
        found = np.argwhere((self._notes >= START) & (self._notes < ON_DOOR))
        if not len(found):  # of an older record
            return np.full(self.objects.shape, "")
        heading = int(self._notes[tuple(found[0])]) - START
        dx, dy = np.indices(self.objects.shape) - found[0][:, None, None]  # each (W, H)
        ax, ay = ((1, 0), (0, 1), (-1, 0), (0, -1))[heading]
        along, across = np.sign(dx * ax + dy * ay), np.sign(-dx * ay + dy * ax)  # (W, H)
        names = np.full(self.objects.shape, "", "U16")
        for a in (1, 0, -1):
            for b in (1, 0, -1):
                words = " ".join(filter(None, (_ALONG.get(a, ""), _ACROSS.get(b, ""))))
                names[(along == a) & (across == b)] = words
        return names

    @cached_property
    def held(self) -> str:
        """The name of what is carried; "" for nothing."""
        if self.carrying == EMPTY:
            return ""
        color = IDX_TO_COLOR[int(self.colors[self.agent])]
        return f"{color} {IDX_TO_OBJECT[self.carrying]}"

    def things(self) -> list[Thing]:
        """All that was seen, walls and floors aside; equal ones once, sorted."""
        found: set[Thing] = set()
        shown = _SHOWN[self.objects]
        shown[self.agent] = False
        near = unpack(self.near, shown.shape)
        for x, y in np.argwhere(shown):
            kind = IDX_TO_OBJECT[int(self.objects[x, y])]
            is_door = kind == "door"
            name = kind
            if kind not in ("goal", "lava"):
                name = f"{IDX_TO_COLOR[int(self.colors[x, y])]} {kind}"
            state = _DOOR_STATES[int(self.states[x, y])] if is_door else ""
            place = str(self._places[x, y]) if self.tells_places else ""
            found.add(Thing(name, kind, state, place, bool(near[x, y])))
        under = int(self._notes[self.agent])
        if under >= ON_DOOR:
            place = str(self._places[self.agent]) if self.tells_places else ""
            found.add(Thing(f"{IDX_TO_COLOR[under - ON_DOOR]} door", "door", "open", place, True))
        return sorted(found)

    # What options do

    def cells(self, name: str) -> Mask:
        """Where objects of this name were seen and not carried; bool (width, height)."""
        words = name.split()
        place = " ".join(word for word in words if word in PLACE_WORDS)
        mask = super().cells(" ".join(word for word in words if word not in PLACE_WORDS))
        return mask & (self._places == place) if place else mask

    def decide(self, plan: Plan) -> Decision:
        """What a plan does here: its first option that is not done decides; DONE where all are."""
        for option in plan.options:
            decision = self._decide(option)
            if decision is not OptionStatus.DONE:
                return decision
        return OptionStatus.DONE

    def _decide(self, option: Option) -> Decision:
        if option.verb == "open":
            return self._open(option.target)
        decision = decide(self, option)
        if option.verb == "go to" and decision is OptionStatus.DONE and self._says_done:
            return (DONE_ACTION,)
        return decision

    def _open(self, name: str) -> Decision:
        """Go to the door or box and toggle it, whether or not the agent has what it takes.

        Done: all such doors are open. Cannot: not seen, or no known way.
        """
        named = self.cells(name)
        closed = named & (self.objects == DOOR) & (self.states != OPEN)
        if (named & (self.objects == DOOR)).any() and not closed.any():
            return OptionStatus.DONE
        return self.approach(closed | (named & (self.objects == BOX)), then=(TOGGLE,))
