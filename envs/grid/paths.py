"""Shortest paths over known free cells, turns counted, as breadth-first search on bitboards.

A set of cells is a Python integer with bit ``x * height + y`` set; a set of poses is four of them,
one a heading. One layer of the search is then some twenty integer operations, however many cells.
The outermost ring of cells is never walkable, so that a shift cannot wrap from edge to edge.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEFT, RIGHT, FORWARD = 0, 1, 2  # MiniGrid's action codes
Poses = tuple[int, int, int, int]  # cells by heading: 0 east, 1 south, 2 west, 3 north


@dataclass(frozen=True)
class Board:
    """The walkable cells of a grid and the agent's pose on it (its own cell is walkable)."""

    free: int
    agent: int  # the agent's cell: one bit
    heading: int
    height: int

    def facing(self, cells: int) -> Poses:
        """Poses on free cells whose next cell ahead is one of ``cells``."""
        free, h = self.free, self.height
        return (cells >> h & free, cells >> 1 & free, cells << h & free, cells << 1 & free)

    def first_actions(self, goal: Poses) -> tuple[int, ...] | None:
        """All actions that start a shortest path to the nearest pose of ``goal``.

        Left, right and forward cost one step each. Returns ``()`` where the agent's pose is in
        ``goal`` already and None where no path leads to it.
        """
        free, h, agent, heading = self.free, self.height, self.agent, self.heading
        e, s, w, n = goal  # poses from which the goal is at most `layer` steps away
        if (e, s, w, n)[heading] & agent:
            return ()
        while True:
            e2 = e | s | n | (e >> h & free)
            s2 = s | e | w | (s >> 1 & free)
            w2 = w | s | n | (w << h & free)
            n2 = n | e | w | (n << 1 & free)
            if (e2, s2, w2, n2)[heading] & agent:
                break
            if (e2, s2, w2, n2) == (e, s, w, n):
                return None
            e, s, w, n = e2, s2, w2, n2
        before = (e, s, w, n)
        ahead = (agent << h, agent << 1, agent >> h, agent >> 1)[heading] & free
        successors = (
            (LEFT, (heading - 1) % 4, agent),
            (RIGHT, (heading + 1) % 4, agent),
            (FORWARD, heading, ahead),
        )
        return tuple(action for action, facing, cell in successors if before[facing] & cell)


def pack(cells: NDArray[np.bool_]) -> int:
    """The bitboard of a boolean mask (width, height)."""
    return int.from_bytes(np.packbits(cells.ravel(), bitorder="little").tobytes(), "little")


def unpack(cells: int, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Undo `pack`: a boolean mask (width, height)."""
    width, height = shape
    raw = np.frombuffer(cells.to_bytes((width * height + 7) // 8, "little"), np.uint8)
    bits = np.unpackbits(raw, count=width * height, bitorder="little")
    return bits.astype(np.bool_).reshape(width, height)


def beside(cells: int, height: int) -> int:
    """The cells with a neighbor among ``cells``, which must not lie in the outermost ring."""
    return cells << height | cells >> height | cells << 1 | cells >> 1


def reach(free: int, start: int, height: int) -> int:
    """The free cells that can be walked to from ``start``, itself included."""
    reached, grown = 0, start
    while grown != reached:
        reached = grown
        grown |= beside(reached, height) & free
    return reached
