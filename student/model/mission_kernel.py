"""Raw maps, compiled: the thing in each cell seen, its place from the start, and the words."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from llm4teach.envs.kernels.jit import compiled
from llm4teach.envs.minigrid.raw.env import ON_DOOR, START
from llm4teach.envs.minigrid.words import VOCABULARY
from llm4teach.student.model.maps import COLORS, HEADING, NO_HEADING, NOTES, UNSEEN, WORDS
from llm4teach.student.model.raw_maps import (
    FIRST_KIND,
    HERE,
    LAST_KIND,
    NOTHING,
    SPELLED,
)

_LAST_WORD = len(VOCABULARY)


@compiled
def encode_things(observations: NDArray[np.uint8], inputs: NDArray[np.int16]) -> bool:
    """Write columns 3 to 5 of `mission.MissionEncoder.encode`, in the order of `encode_cells`.

    Args:
        observations: uint8 (N, width, height, 6), which `encode_cells` takes.
        inputs: to be filled, (N, width * height + 1, 6).

    Returns:
        False if channels 4 and 5 hold other numbers than a start pose and tokens.
    """
    n, width, height, _ = observations.shape
    for i in range(n):
        agent, facing, start, heading, ended = -1, NO_HEADING, -1, 0, False
        for cell in range(width * height):
            x, y = cell // height, cell % height
            if observations[i, x, y, HEADING] < facing:
                agent, facing = cell, int(observations[i, x, y, HEADING])
            note = int(observations[i, x, y, NOTES])
            if START <= note < START + NO_HEADING:
                if start < 0:
                    start, heading = cell, note - START
            elif note >= START and not ON_DOOR <= note < ON_DOOR + COLORS:
                return False
            token = int(observations[i, x, y, WORDS])
            if _LAST_WORD < token < SPELLED:
                return False
            ended = ended or token == 0
            inputs[i, cell, 5] = 0 if ended else token
        inputs[i, :, 3], inputs[i, :, 4], inputs[i, -1, 5] = NOTHING, HERE, 0
        seen = 0
        for cell in range(width * height):
            x, y = cell // height, cell % height
            kind = int(observations[i, x, y, 0])
            if kind == UNSEEN and cell != agent:
                continue
            if FIRST_KIND <= kind <= LAST_KIND:
                thing = (kind - FIRST_KIND) * COLORS + int(observations[i, x, y, 1])
                inputs[i, seen, 3] = thing
                if cell == agent:
                    inputs[i, -1, 3] = thing
                elif start >= 0:
                    dx, dy = x - start // height, y - start % height
                    if heading == 0:
                        ahead, right = dx, dy
                    elif heading == 1:
                        ahead, right = dy, -dx
                    elif heading == 2:
                        ahead, right = -dx, -dy
                    else:
                        ahead, right = -dy, dx
                    rough = 3 * (min(max(ahead, -1), 1) + 1) + min(max(right, -1), 1) + 1
                    inputs[i, seen, 4] = rough
            seen += 1
    return True
