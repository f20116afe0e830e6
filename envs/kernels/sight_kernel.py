"""What an agent sees from where it stands, and the map of what it has seen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from llm4teach.envs.kernels.jit import compiled


@compiled
def visible(clear: NDArray[np.bool_], mask: NDArray[np.bool_]) -> None:
    """Fill ``mask`` with what is visible, MiniGrid's rule (Grid.process_vis).

    Light starts at the agent, in the middle of the last row, and passes from row to row away from
    it; within a row it spreads to both sides, through cells that one can see behind.

    Args:
        clear: bool (size, size), [to the right, towards the agent]: one can see behind the cell.
        mask: filled, bool (size, size).
    """
    size = len(clear)
    mask[:] = False
    mask[size // 2, size - 1] = True
    for j in range(size - 1, -1, -1):
        for i in range(size - 1):
            if mask[i, j] and clear[i, j]:
                mask[i + 1, j] = True
                if j > 0:
                    mask[i + 1, j - 1] = mask[i, j - 1] = True
        for i in range(size - 1, 0, -1):
            if mask[i, j] and clear[i, j]:
                mask[i - 1, j] = True
                if j > 0:
                    mask[i - 1, j - 1] = mask[i, j - 1] = True


@compiled
def look(
    window: NDArray[np.uint8],
    left: int,
    top: int,
    x: int,
    y: int,
    heading: int,
    size: int,
    through_walls: bool,
    seen: NDArray[np.uint8],
) -> None:
    """Copy the codes of the cells that an agent sees into the map.

    Args:
        window: part of the grid with all in view that is on the grid, uint8 (w, h, 4): object,
            color and state codes, and whether one can see behind the cell.
        left: column of the window's first column.
        top: row of its first row.
        x: the agent's column.
        y: the agent's row.
        heading: 0 east, 1 south, 2 west, 3 north.
        size: of the view, in cells; odd.
        through_walls: everything in view is visible.
        seen: the map, uint8 (width, height, at least 3); updated.
    """
    width, height = seen.shape[:2]
    ahead_x, ahead_y = (1, 0, -1, 0)[heading], (0, 1, 0, -1)[heading]
    corner_x = x + ahead_x * (size - 1) + ahead_y * (size // 2)
    corner_y = y + ahead_y * (size - 1) - ahead_x * (size // 2)
    mask = np.ones((size, size), np.bool_)
    if not through_walls:
        clear = np.zeros((size, size), np.bool_)  # beyond the grid is wall
        for i in range(size):
            for j in range(size):
                cx, cy = corner_x - ahead_y * i - ahead_x * j, corner_y + ahead_x * i - ahead_y * j
                if 0 <= cx < width and 0 <= cy < height:
                    clear[i, j] = window[cx - left, cy - top, 3] != 0
        visible(clear, mask)
    for i in range(size):
        for j in range(size):
            cx, cy = corner_x - ahead_y * i - ahead_x * j, corner_y + ahead_x * i - ahead_y * j
            if mask[i, j] and 0 <= cx < width and 0 <= cy < height:
                for channel in range(3):
                    seen[cx, cy, channel] = window[cx - left, cy - top, channel]
