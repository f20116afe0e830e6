"""Maps of cells as the agent sees them: turned to its heading, colors of things renumbered.

This is the slow and obvious way, in torch: it runs on a GPU and in exported files, and the fast one
(`cells_kernel`) is tested against it.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from llm4teach.envs.encoding import SUPPORTED, unsupported
from llm4teach.errors import TaskError

OBJECTS, COLORS, STATES = 11, 6, 4  # MiniGrid's vocabularies of cell codes
CODES = OBJECTS * COLORS * STATES
HEADING, MARK, MARKS = 3, 4, 3  # a mark says what a mission is about: nothing, this now, or later
NOTES, WORDS = 4, 5  # channels of raw maps: where the episode started, the mission's tokens
UNSEEN, EMPTY, DOOR = 0, 1, 4
FIRST_THING, LAST_THING = 4, 7  # door, key, ball, box: their colors matter
NO_HEADING = 4  # heading code of cells without the agent
NO_CELL = -1  # place, in a list of cells, of a row that holds none
LARGE = 14  # side in cells from which on a map is large


def is_traced() -> bool:
    """Whether torch is recording operations, for a file or a compiler: values are not known."""
    is_tracing: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return is_tracing or torch.compiler.is_compiling()


def check_codes(observations: Tensor, channels: int = MARK + 1) -> None:
    """Check that maps, uint8 (N, width, height, channels), hold codes of cells and an agent.

    More than one agent is let pass: what replays episodes fills up with maps of zeros.

    Args:
        observations: the maps.
        channels: how many of the channels hold codes of cells, at most.

    Raises:
        TaskError: they hold other numbers.
    """
    if is_traced() or not len(observations):
        return
    problem = unsupported(tuple(observations.shape[1:]))
    limits = (OBJECTS, COLORS, STATES, NO_HEADING + 1, MARKS)[
        : min(channels, observations.shape[3])
    ]
    codes = observations[..., : len(limits)]
    largest = codes.amax((0, 1, 2)).tolist()
    if any(code >= limit for code, limit in zip(largest, limits, strict=True)):
        highest = int(observations.max())
        reason = f"{problem} with values up to {highest}: these are no codes of cells"
        raise TaskError(f"{reason}. {SUPPORTED}")
    agents = (observations[..., HEADING] < NO_HEADING).flatten(1).sum(1)  # (N,)
    if bool((agents == 0).any()):
        raise TaskError(
            f"{problem} without an agent: one cell has its heading, 0 to 3, in channel {HEADING}, "
            f"and all others have {NO_HEADING} there"
        )


def facing_east(observations: Tensor) -> tuple[Tensor, Tensor, int]:
    """Turn each map so that its agent faces east.

    Args:
        observations: uint8 (N, width, height, channels).

    Returns:
        The cells' codes, uint8 (N, side^2, channels), where side is the larger of width and height;
        the agent's flat cell, int64 (N,); and side.

    """
    _, width, height, channels = observations.shape
    side = max(width, height)
    if (width, height) != (side, side):  # pad with never-seen cells, without agent
        observations = F.pad(observations, (0, 0, 0, side - height, 0, side - width))
        observations[:, width:, :, HEADING] = observations[:, :, height:, HEADING] = NO_HEADING
    cells = observations.flatten(1, 2)  # (N, side^2, channels)
    heading = cells[..., HEADING].amin(1)  # (N,)
    rotations = torch.from_numpy(_rotations(side)).to(cells.device)
    index = rotations[heading.long()]  # (N, side^2)
    cells = cells.gather(1, index.unsqueeze(-1).expand(-1, -1, channels))
    # Not argmin, which torch.compile's kernel for CPUs gets wrong here (torch 2.13).
    return cells, (cells[..., HEADING] < NO_HEADING).int().argmax(1), side


def cell_codes(cells: Tensor, agent: Tensor) -> Tensor:
    """One code per cell, int64 (N, side^2), with the colors of things renumbered.

    First come the colors of doors seen, then what the agent holds, then other things, each by
    their codes.
    """
    objects, colors, states = cells[..., :3].long().unbind(-1)  # each (N, side^2)
    things = (objects >= FIRST_THING) & (objects <= LAST_THING)
    held = at(agent, cells.shape[1])
    rank = torch.where(objects == DOOR, 0, torch.where(held, 1, 2))  # (N, side^2)
    ranks = torch.full((cells.shape[0], COLORS + 1), 3, dtype=torch.long, device=cells.device)
    ranks.scatter_reduce_(1, torch.where(things, colors, COLORS), rank, "amin")
    # A color's number is how many come before it; where ranks tie, the lower code does.
    keys = ranks[:, :COLORS] * COLORS + torch.arange(COLORS, device=cells.device)
    numbers = (keys[:, None, :] < keys[:, :, None]).sum(2)  # (N, COLORS)
    colors = torch.where(things, numbers.gather(1, colors), colors)
    return (objects * COLORS + colors) * STATES + states


def at(agent: Tensor, cells: int) -> Tensor:
    """Where each agent is, bool (N, cells), from its flat cell, int64 (N,)."""
    return torch.arange(cells, device=agent.device) == agent[:, None]


@cache
def _rotations(side: int) -> NDArray[np.int64]:
    """Flat source index of each cell after turning heading 0..3 to face east: (4, side^2).

    No tensor is kept: it could come from a trace.
    """
    cells = np.arange(side * side).reshape(side, side)
    return np.stack([np.rot90(cells, -heading).flatten() for heading in range(4)])
