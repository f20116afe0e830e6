"""MiniGrid's rule of what an agent sees, a row of cells at a time.

The view is a square of ``size`` cells a side in the agent's own frame: row 0 is the agent's, which
stands in its middle, and each further row is one ahead. A row is an integer with bit i for the
i-th cell from the left.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache


@lru_cache(maxsize=1 << 16)
def spread(lit: int, transparent: int, size: int) -> tuple[int, int]:
    """Light of one row, first rightwards, then leftwards, through its transparent cells.

    Returns the row's own visible cells and those that become visible in the row ahead. The order
    of the two sweeps, and that each leaves out its last cell, is MiniGrid's (Grid.process_vis).
    """
    ahead = 0
    for cells, towards in ((range(size - 1), 1), (range(size - 1, 0, -1), -1)):
        for i in cells:
            if lit & transparent & 1 << i:
                lit |= 1 << i + towards
                ahead |= 1 << i | 1 << i + towards
    return lit, ahead


def visible(transparent: Callable[[int], int], size: int) -> list[int]:
    """The visible cells of each row, from the agent's own; ends before the first dark row.

    ``transparent(j)`` is the row j's transparent cells; it is called for lit rows only.
    """
    rows, lit = [], 1 << size // 2
    for j in range(size):
        if not lit:
            break
        row, lit = spread(lit, transparent(j), size)
        rows.append(row)
    return rows
