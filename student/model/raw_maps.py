"""Raw maps: which thing is in each cell, where from the start, and the mission's words.

This is the slow and obvious way, in torch, as in `maps`; `mission_kernel` is the fast one.
"""

from __future__ import annotations

import torch
from minigrid.core.constants import OBJECT_TO_IDX
from torch import Tensor
from torch.nn import functional as F

from llm4teach.envs.encoding import unsupported
from llm4teach.envs.minigrid.raw.env import ON_DOOR, START
from llm4teach.envs.minigrid.words import VOCABULARY
from llm4teach.errors import TaskError
from llm4teach.student.model.cells import encode_slowly
from llm4teach.student.model.maps import (
    COLORS,
    MARK,
    NO_HEADING,
    NOTES,
    WORDS,
    at,
    check_codes,
    facing_east,
    is_traced,
)

SPELLED = 128  # tokens from this one on are the letters of words outside the vocabulary
FIRST_KIND, LAST_KIND = OBJECT_TO_IDX["door"], OBJECT_TO_IDX["lava"]  # the kinds with a name
KINDS = LAST_KIND - FIRST_KIND + 1
THINGS = KINDS * COLORS  # a thing is a kind and a color: (kind - FIRST_KIND) * COLORS + color
PLACES = 9  # rough ones from the start: 3 * (behind, beside, ahead) + (left, straight, right)
HERE = 4  # the start itself; also of what has no rough place
NOTHING = THINGS + PLACES  # stands for no thing
NAMED = NOTHING + 1
_NO_NOTE = ON_DOOR + COLORS


def encode_raw_slowly(observations: Tensor, span: int) -> Tensor:
    """What `MissionEncoder.encode` returns, with the cells in another order.

    Args:
        observations: uint8 (N, width, height, 6).
        span: longest distance along either axis, in cells; a longer one counts as this.

    Raises:
        TaskError: they hold other numbers than codes of cells, a start pose and tokens.
    """
    check_raw(observations)
    inputs = encode_slowly(observations[..., :MARK], span)  # (N, side^2 + 1, 3)
    where = _rough_places(observations[..., NOTES])  # (N, width, height)
    maps = torch.cat([observations[..., :MARK], where[..., None]], 3)
    cells, agent, side = facing_east(maps)  # (N, side^2, 5), (N,)
    kinds, colors = cells[..., 0].long(), cells[..., 1].long()
    named = (kinds >= FIRST_KIND) & (kinds <= LAST_KIND)
    thing = torch.where(named, (kinds - FIRST_KIND) * COLORS + colors, NOTHING)  # (N, side^2)
    carried = thing.gather(1, agent[:, None])  # (N, 1)
    where = torch.where(named & ~at(agent, side * side), cells[..., MARK].long(), HERE)

    words = observations[..., WORDS].flatten(1).long()  # (N, width * height)
    words = words * ((words == 0).long().cumsum(1) == 0)  # up to the first 0
    words = F.pad(words, (0, side * side + 1 - words.shape[1]))  # (N, side^2 + 1)
    columns = [torch.cat([thing, carried], 1), F.pad(where, (0, 1), value=HERE), words]
    return torch.cat([inputs, torch.stack(columns, 2).short()], 2)


def _rough_places(poses: Tensor) -> Tensor:
    """Where each cell is from the start pose, uint8 (N, width, height), as are the poses."""
    _, width, height = poses.shape
    poses = poses.flatten(1).long()
    start = _is_pose(poses).int().argmax(1, keepdim=True)  # (N, 1)
    heading = poses.gather(1, start) - START  # none: below 0 or above 3
    index = torch.arange(width * height, device=poses.device)
    x, y = index // height - start // height, index % height - start % height  # (N, cells)
    east, south = _cosine(heading), _cosine(heading - 1)  # (N, 1)
    ahead, right = x * east + y * south, y * east - x * south
    rough = 3 * (ahead.sign() + 1) + right.sign() + 1  # (N, cells)
    rough = torch.where((heading < 0) | (heading >= NO_HEADING), HERE, rough)
    return rough.to(torch.uint8).view(-1, width, height)


def _is_pose(notes: Tensor) -> Tensor:
    return (notes >= START) & (notes < START + NO_HEADING)


def _cosine(heading: Tensor) -> Tensor:
    """1, 0, -1, 0 for 0 to 3 quarter turns."""
    quarter = heading % 4
    return (quarter == 0).long() - (quarter == 2).long()


def check_raw(observations: Tensor) -> None:
    """Check that raw maps, uint8 (N, width, height, 6), hold codes, start poses and tokens.

    Raises:
        TaskError: they hold other numbers.
    """
    check_codes(observations, MARK)
    if is_traced() or not len(observations):
        return
    problem = unsupported(tuple(observations.shape[1:]))
    notes = observations[..., NOTES]
    unknown = notes[(notes >= START) & ~_is_pose(notes) & ((notes < ON_DOOR) | (notes >= _NO_NOTE))]
    if len(unknown):
        raise TaskError(
            f"{problem} with {int(unknown[0])} in channel {NOTES}, which notes a start pose as "
            f"{START} to {START + NO_HEADING - 1} and a door under the agent as {ON_DOOR} to "
            f"{_NO_NOTE - 1}"
        )
    tokens = observations[..., WORDS]
    unknown = tokens[(tokens > len(VOCABULARY)) & (tokens < SPELLED)]
    if len(unknown):
        raise TaskError(
            f"{problem} with a mission that has the token {int(unknown[0])}, but there are "
            f"{len(VOCABULARY)} words; was it stored by a newer version?"
        )
