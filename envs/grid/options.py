"""Option policies: small closed loops from the observation alone, one primitive action at a time.

Each option either acts, is done, or cannot be done (arXiv 2311.13373, section 3.2: pi_k(a | s)).
Where several actions start a shortest path the policy is uniform over them, so that it is the same
for an observation and its mirror image.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import cached_property

import numpy as np
from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX, STATE_TO_IDX
from numpy.typing import NDArray

from llm4teach.envs.grid.fog_of_war import NO_HEADING
from llm4teach.envs.grid.paths import FORWARD, Board, beside, pack, reach
from llm4teach.envs.plan import Option, Plan

PICK_UP, DROP, TOGGLE = 3, 4, 5  # MiniGrid's action codes; the moves are in paths.py
UNSEEN, EMPTY, WALL, DOOR, KEY, BOX, GOAL = (
    OBJECT_TO_IDX[name] for name in ("unseen", "empty", "wall", "door", "key", "box", "goal")
)
OPEN, LOCKED = STATE_TO_IDX["open"], STATE_TO_IDX["locked"]
_WALKABLE = np.isin(np.arange(256), [EMPTY, OBJECT_TO_IDX["floor"], OBJECT_TO_IDX["goal"]])
_WALKABLE_BLIND = _WALKABLE | (np.arange(256) == OBJECT_TO_IDX["lava"])
NAME = re.compile(r"(?:(?P<color>[a-z]+|color(?P<neutral>[1-9])) )?(?P<kind>[a-z]+)(?P<nth>[1-9])?")


class OptionStatus(Enum):
    """Why an option does not act."""

    DONE = "done"
    CANNOT = "cannot"


Decision = OptionStatus | tuple[int, ...]  # or the actions that are equally good, at least one


class GridView:
    """One observation, uint8 (width, height, 4), as the option policies look at it.

    Objects are called by kind (``key``), by color (``red key``), by the n-th color of the palette
    (``color1 key``) or by the n-th place, columns first (``door1``).

    Args:
        observation: the map.
        lava_blind: paths lead through lava as if it were floor.
        palette: color codes that ``color1``, ``color2``, … stand for.
    """

    def __init__(
        self,
        observation: NDArray[np.uint8],
        *,
        lava_blind: bool = False,
        palette: tuple[int, ...] = (),
    ) -> None:
        self.palette, self._lava_blind = palette, lava_blind
        self.objects, self.colors, self.states = (observation[..., i] for i in range(3))
        flat = int(np.argmin(observation[..., 3]))  # headings 0..3 stand below NO_HEADING
        self.agent = divmod(flat, observation.shape[1])
        self.heading = int(observation[(*self.agent, 3)])
        if self.heading >= NO_HEADING:
            raise ValueError("this observation has no agent: no heading below 4 in its channel 3")
        self.carrying = int(self.objects[self.agent])

    @cached_property
    def board(self) -> Board:
        """Known free cells for the path search."""
        walkable = _WALKABLE_BLIND if self._lava_blind else _WALKABLE
        free = walkable[self.objects] | ((self.objects == DOOR) & (self.states == OPEN))
        free[self.agent] = True
        free[[0, -1], :] = False
        free[:, [0, -1]] = False
        height = self.objects.shape[1]
        return Board(
            pack(free), 1 << (self.agent[0] * height + self.agent[1]), self.heading, height
        )

    @cached_property
    def near(self) -> int:
        """Bitboard of the cells beside which the agent can come to stand, as far as is known."""
        board = self.board
        return beside(reach(board.free, board.agent, board.height), board.height)

    @cached_property
    def unexplored(self) -> bool:
        """Whether there is a never-seen cell beside which the agent can come to stand."""
        return bool(self.near & pack(self.objects == UNSEEN))

    def holds(self, name: str) -> bool:
        """Whether the agent carries an object of this name."""
        held = self._matching(NAME.fullmatch(name))[self.agent]
        return self.carrying != EMPTY and bool(held)

    def cells(self, name: str) -> NDArray[np.bool_]:
        """Where objects of this name were seen and not carried; bool (width, height)."""
        match = NAME.fullmatch(name)
        mask = self._matching(match)
        mask[self.agent] = False
        if match and match["nth"]:
            places = np.flatnonzero(mask)
            mask = np.zeros_like(mask)
            mask.flat[places[int(match["nth"]) - 1 : int(match["nth"])]] = True
        return mask

    def _matching(self, name: re.Match[str] | None) -> NDArray[np.bool_]:
        if name is None:
            return np.zeros(self.objects.shape, np.bool_)
        mask: NDArray[np.bool_] = self.objects == OBJECT_TO_IDX.get(name["kind"], 255)
        if name["neutral"]:
            chosen = self.palette[int(name["neutral"]) - 1 : int(name["neutral"])]
            mask &= np.isin(self.colors, chosen)
        elif name["color"]:
            mask &= self.colors == COLOR_TO_IDX.get(name["color"], 255)
        return mask

    def neighbor(self, turns: int) -> tuple[int, int]:
        """The cell ahead after this many quarter turns to the right."""
        dx, dy = ((1, 0), (0, 1), (-1, 0), (0, -1))[(self.heading + turns) % 4]
        return self.agent[0] + dx, self.agent[1] + dy

    def places_to_drop(self) -> NDArray[np.bool_]:
        """Empty cells that are not beside a door; bool (width, height)."""
        return self.cells("empty") & ~_next_to(self.cells("door"))

    def approach(self, cells: NDArray[np.bool_], then: Decision) -> Decision:
        """Go to face the nearest of ``cells``; once there, ``then``."""
        actions = self.board.first_actions(self.board.facing(pack(cells)))
        if actions is None:
            return OptionStatus.CANNOT
        return actions or then


def explore(view: GridView) -> Decision:
    """Go to the nearest frontier: a never-seen cell beside a known free one. Done: none is left."""
    decision = view.approach(view.objects == UNSEEN, then=OptionStatus.DONE)
    return OptionStatus.DONE if decision is OptionStatus.CANNOT else decision


def go_to(view: GridView, name: str) -> Decision:
    """Stand before the object and face it; onto a goal. Cannot: not seen, or no known way."""
    cells = view.cells(name)
    if (view.objects[cells] == GOAL).any():
        return view.approach(cells & (view.objects == GOAL), then=(FORWARD,))
    return view.approach(cells, then=OptionStatus.DONE)


def go_through(view: GridView, name: str) -> Decision:
    """Walk onto the open door and out on its other side. Done: it is right behind the agent.

    The map shows what the agent carries in place of the door that it stands on: if no other fits
    and there is a wall on either side, it is taken to stand on one.
    """
    doors = view.cells(name) & (view.objects == DOOR) & (view.states == OPEN)
    right, behind, left = (view.neighbor(turns) for turns in (1, 2, 3))
    if doors[behind]:
        return OptionStatus.DONE
    if not doors.any() and view.objects[left] == view.objects[right] == WALL:
        return (FORWARD,)
    return view.approach(doors, then=(FORWARD,))


def pick_up(view: GridView, name: str) -> Decision:
    """Go to the object and take it. Cannot: hands full, not seen, or no known way."""
    if view.holds(name):
        return OptionStatus.DONE
    if view.carrying != EMPTY:
        return OptionStatus.CANNOT
    return view.approach(view.cells(name), then=(PICK_UP,))


def drop(view: GridView, name: str) -> Decision:
    """Turn or walk to face an empty cell that is not beside a door, and put the object there.

    Done: not carried. (What is put down before a door keeps it shut for good.)
    """
    if not view.holds(name):
        return OptionStatus.DONE
    return view.approach(view.places_to_drop(), then=(DROP,))


def put(view: GridView, name: str, beside_name: str) -> Decision:
    """Put what is carried into an empty cell next to the other object, or fetch it first.

    Done: one lies next to such an object already. Cannot: not seen, or no known way.
    """
    near = _next_to(view.cells(beside_name))
    if not view.holds(name):
        if (view.cells(name) & near).any():
            return OptionStatus.DONE
        return pick_up(view, name)
    return view.approach(near & view.cells("empty"), then=(DROP,))


def _next_to(cells: NDArray[np.bool_]) -> NDArray[np.bool_]:
    near = np.zeros_like(cells)
    near[1:] |= cells[:-1]
    near[:-1] |= cells[1:]
    near[:, 1:] |= cells[:, :-1]
    near[:, :-1] |= cells[:, 1:]
    return near


def open_(view: GridView, name: str) -> Decision:
    """Go to the door or box and toggle it.

    Done: all such doors are open. Cannot: not seen, no known way, or locked without its key.
    """
    named = view.cells(name)
    doors, boxes = named & (view.objects == DOOR), named & (view.objects == BOX)
    closed = doors & (view.states != OPEN)
    if doors.any() and not closed.any():
        return OptionStatus.DONE
    key_color = int(view.colors[view.agent]) if view.carrying == KEY else -1
    fits = closed & ((view.states != LOCKED) | (view.colors == key_color))
    return view.approach(fits | boxes, then=(TOGGLE,))


_POLICIES = {
    "go to": go_to,
    "go through": go_through,
    "pick up": pick_up,
    "drop": drop,
    "open": open_,
}


def decide(view: GridView, option: Option) -> Decision:
    """What the option does in this observation."""
    if option.verb == "explore":
        return explore(view)
    if option.verb == "put":
        return put(view, option.target, option.beside)
    return _POLICIES[option.verb](view, option.target)


def decide_plan(view: GridView, plan: Plan) -> Decision:
    """A plan's first option that is not done decides; DONE where all are."""
    for option in plan.options:
        decision = decide(view, option)
        if decision is not OptionStatus.DONE:
            return decision
    return OptionStatus.DONE
