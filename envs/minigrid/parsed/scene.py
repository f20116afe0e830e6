"""An observation of a generic MiniGrid task, looked at with its mission: what is where, and why."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX
from numpy.typing import NDArray

from llm4teach.envs.grid.options import BOX, DOOR, EMPTY, KEY, LOCKED, OPEN, UNSEEN, WALL, GridView
from llm4teach.envs.grid.paths import beside, pack, reach, unpack
from llm4teach.envs.minigrid.map_env import NOTES, WORDS
from llm4teach.envs.minigrid.parsed.missions import Clause, Mission, Thing, decode_mission
from llm4teach.envs.minigrid.parsed.progress import LATER, NOW

Mask = NDArray[np.bool_]  # (width, height)
BALL, LAVA = OBJECT_TO_IDX["ball"], OBJECT_TO_IDX["lava"]
_MOVABLE = np.isin(np.arange(256), [KEY, BALL, BOX])
_THINGS = _MOVABLE | np.isin(np.arange(256), [DOOR])
_PASSABLE = ~np.isin(np.arange(256), [KEY, BALL, BOX, WALL, LAVA])  # free, a door, or not known


class Scene(GridView):
    """Adds names by purpose, with which a teacher that knows no colors calls things.

    ``target …``: what the mission's next clause is about, ``second …``: what it is to be put next
    to, ``matching key``: of the color of a locked door that was seen, ``locked door``, ``closed
    door`` (not locked), ``blocking …``: it stands in the only known way.
    """

    def __init__(self, observation: NDArray[np.uint8]) -> None:
        super().__init__(observation)
        self.marks = observation[..., NOTES]
        self.mission: Mission = decode_mission(observation[..., WORDS].tobytes())

    # What the mission is about

    @cached_property
    def clause(self) -> Clause | None:
        """Of the next step the first clause whose thing can be reached, else its first."""
        step = self.mission.steps[0] if self.mission.steps else ()
        within_reach = (c for c in step if self.is_near(self._marked(c.thing)))
        return next(within_reach, step[0] if step else None)

    @cached_property
    def target(self) -> Mask:
        """Where things are that the clause may be about; the carried one's place is the agent's."""
        if self.clause is None:
            return np.zeros(self.objects.shape, np.bool_)
        target = self._marked(self.clause.thing)
        if self.clause.thing.place.startswith("from "):  # and the door of the room that it is in
            target |= (self.marks == NOW) & (self.objects == DOOR)
        if self.clause.verb == "open":
            target &= self.states != OPEN
        return target

    @cached_property
    def second(self) -> Mask:
        """Where things are that the clause's thing may be put next to."""
        if self.clause is None or self.clause.beside is None:
            return np.zeros(self.objects.shape, np.bool_)
        return self._marked(self.clause.beside, NOW, LATER)

    def _marked(self, thing: Thing, lowest: int = NOW, highest: int = NOW) -> Mask:
        fits: Mask = (self.marks >= lowest) & (self.marks <= highest)
        if thing.kind == "object":
            fits &= _THINGS[self.objects]
        else:
            fits &= self.objects == OBJECT_TO_IDX[thing.kind]
        if thing.color:
            fits &= self.colors == COLOR_TO_IDX[thing.color]
        return fits

    # What can be reached

    def is_near(self, cells: Mask) -> bool:
        """Whether the agent can come to stand before one of the cells."""
        return bool(self.near & pack(cells & self.elsewhere))

    @cached_property
    def elsewhere(self) -> Mask:
        """All cells but the agent's, in which what it carries is shown."""
        mask = np.ones(self.objects.shape, np.bool_)
        mask[self.agent] = False
        return mask

    @cached_property
    def _doors(self) -> Mask:
        mask: Mask = self.objects == DOOR
        return mask

    @cached_property
    def locked(self) -> Mask:
        """Locked doors."""
        mask: Mask = self._doors & (self.states == LOCKED)
        return mask

    @cached_property
    def lockable(self) -> Mask:
        """Locked doors that matter now: of the carried key's color, if it has one's, else all."""
        if not self.matching[self.agent]:
            return self.locked
        mask: Mask = self.locked & (self.colors == self.colors[self.agent])
        return mask

    @cached_property
    def closed(self) -> Mask:
        """Doors that are closed and not locked."""
        mask: Mask = self._doors & (self.states != LOCKED) & (self.states != OPEN)
        return mask

    @cached_property
    def matching(self) -> Mask:
        """Keys of the color of a locked door, if possible of one that can be reached.

        The carried key is one of them if it opens any locked door.
        """
        keys, doors = self.objects == KEY, self.locked
        reached = doors & unpack(self.near & pack(doors), doors.shape)
        matching = self._of_colors(keys, reached if reached.any() else doors)
        matching[self.agent] = self._of_colors(keys, doors)[self.agent]
        return matching

    def _of_colors(self, cells: Mask, models: Mask) -> Mask:
        fits = np.zeros(256, np.bool_)
        fits[self.colors[models]] = True
        mask: Mask = cells & fits[self.colors]
        return mask

    @cached_property
    def blocking(self) -> Mask:
        """Things that stand in the only known way to what matters next: none if it is free."""
        board, movable = self.board, pack(_MOVABLE[self.objects] & self.elsewhere)
        reachable = reach(board.free, board.agent, board.height)
        cleared = board.free | movable
        beyond = beside(reach(cleared, board.agent, board.height), board.height)
        wants = (self.target, self.lockable, self.matching, self.closed, self.objects == UNSEEN)
        for wanted in wants:
            cells = pack(wanted & self.elsewhere)
            if cells & self.near:
                if wanted is not self.lockable or self.matching[self.agent]:
                    break
            elif cells & beyond:
                start = beside(cells & beyond, board.height) & cleared & ~reachable
                way = reach(cleared & ~reachable, start, board.height) & movable & self.near
                return unpack(self._enough(way, cells) or way, self.objects.shape)
        return np.zeros(self.objects.shape, np.bool_)

    def _enough(self, things: int, cells: int) -> int:
        """Those of the things of which one alone, taken away, opens a way to the cells."""
        enough, board = 0, self.board
        for i in range(things.bit_length()):
            if thing := things & 1 << i:
                reachable = reach(board.free | thing, board.agent, board.height)
                enough |= thing * bool(beside(reachable, board.height) & cells)
        return enough

    # Names

    def _named(self, name: str) -> Mask | None:
        """The things of a name of this class, carried or not; None if it is not one of them."""
        adjective, _, kind = name.rpartition(" ")
        chosen = {
            "target": self.target,
            "locked target": self.target & self.locked,
            "open target": self.target & self._doors & (self.states == OPEN),
            "second": self.second,
            "matching": self.matching,
            "locked": self.lockable & ~self.target,
            "closed": self.closed,
        }.get(adjective)
        if adjective == "blocking":
            chosen = self.blocking
        if adjective == "other":
            chosen = ~self.target & ~self.matching
        if chosen is None:
            return None
        kinds = _THINGS if adjective == "second" else _MOVABLE
        if kind != "object":
            kinds = np.arange(256) == OBJECT_TO_IDX.get(kind, 255)
        named: Mask = chosen & kinds[self.objects]
        return named

    def holds(self, name: str) -> bool:
        """Whether the agent carries an object of this name."""
        named = self._named(name)
        if named is None:
            return super().holds(name)
        return self.carrying != EMPTY and bool(named[self.agent])

    def cells(self, name: str) -> Mask:
        """Where objects of this name were seen and not carried; bool (width, height)."""
        named = self._named(name)
        return super().cells(name) if named is None else named & self.elsewhere

    def places_to_drop(self) -> Mask:
        """Empty cells, if there are any such, that no way leads through.

        The free cells around such a cell stay connected without it (a simple point of the grid:
        Yokoi's connectivity number is at most 1; doors and never-seen cells count as free).
        """
        free = _PASSABLE[self.objects].astype(np.int8)
        free[self.agent] = 1
        around = np.pad(free, 1)
        shifts = ((2, 1), (2, 2), (1, 2), (0, 2), (0, 1), (0, 0), (1, 0), (2, 0))
        width, height = free.shape
        ring = [around[x : x + width, y : y + height] for x, y in shifts]  # clockwise, 8 of (W, H)
        number = sum(
            ring[k] - ring[k] * ring[k + 1] * ring[(k + 2) % 8] for k in (0, 2, 4, 6)
        )  # (W, H)
        empty = self.cells("empty")
        harmless = empty & (number <= 1)
        return harmless if self.is_near(harmless) else empty
