"""Maps of cells, compiled: which cells are seen, and the features of the most telling ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from llm4teach.envs.kernels.jit import compiled
from llm4teach.student.model.maps import (
    CODES,
    COLORS,
    DOOR,
    FIRST_THING,
    HEADING,
    LAST_THING,
    MARK,
    MARKS,
    NO_CELL,
    NO_HEADING,
    OBJECTS,
    STATES,
    UNSEEN,
)


@compiled
def encode_cells(
    observations: NDArray[np.uint8],
    span: int,
    inputs: NDArray[np.int16],
) -> bool:
    """List the seen cells of each map, as the agent sees them; see `cells.encode_slowly`.

    Args:
        observations: (N, width, height, channels).
        span: longest distance along either axis, in cells; a longer one counts as this.
        inputs: to be filled, (N, width * height + 1, 3).

    Returns:
        False if the maps hold other numbers than the codes of cells.
    """
    n, width, height, channels = observations.shape
    side = max(width, height)
    across = 2 * span + 1
    is_seen = np.zeros((width + 2, height + 2), np.int64)  # with a border of unseen cells
    ranks, numbers = np.zeros(COLORS, np.int64), np.zeros(COLORS, np.int64)
    for i in range(n):
        heading, agent_x, agent_y = NO_HEADING, 0, 0
        for x in range(width):
            for y in range(height):
                facing = int(observations[i, x, y, HEADING])
                if facing > NO_HEADING:
                    return False
                if facing < heading:
                    heading, agent_x, agent_y = facing, x, y
        if heading >= NO_HEADING:
            return False
        ranks[:] = 3
        for x in range(width):
            for y in range(height):
                thing = observations[i, x, y, 0]
                color = observations[i, x, y, 1]
                if thing >= OBJECTS or color >= COLORS or observations[i, x, y, 2] >= STATES:
                    return False
                is_seen[x + 1, y + 1] = thing != UNSEEN
                if FIRST_THING <= thing <= LAST_THING:
                    held = x == agent_x and y == agent_y
                    rank = 0 if thing == DOOR else (1 if held else 2)
                    ranks[color] = min(rank, ranks[color])
        is_seen[agent_x + 1, agent_y + 1] = 1
        for color in range(COLORS):  # a color's number is how many come before it
            numbers[color] = 0
            for other in range(COLORS):
                if ranks[other] * COLORS + other < ranks[color] * COLORS + color:
                    numbers[color] += 1
        to_right, to_left = side - 1 - agent_x, agent_x
        to_bottom, to_top = side - 1 - agent_y, agent_y
        if heading == 0:
            ahead_of, right_of = to_right, to_bottom
        elif heading == 1:
            ahead_of, right_of = to_bottom, to_left
        elif heading == 2:
            ahead_of, right_of = to_left, to_top
        else:
            ahead_of, right_of = to_top, to_right
        seen = 0
        for x in range(width):
            for y in range(height):
                if not is_seen[x + 1, y + 1]:
                    continue
                thing = int(observations[i, x, y, 0])
                east, west = is_seen[x + 2, y + 1], is_seen[x, y + 1]
                south, north = is_seen[x + 1, y + 2], is_seen[x + 1, y]
                dx, dy = x - agent_x, y - agent_y
                if heading == 0:
                    ahead, right = dx, dy
                    front, beside, behind, left = east, south, west, north
                elif heading == 1:
                    ahead, right = dy, -dx
                    front, beside, behind, left = south, west, north, east
                elif heading == 2:
                    ahead, right = -dx, -dy
                    front, beside, behind, left = west, north, east, south
                else:
                    ahead, right = -dy, dx
                    front, beside, behind, left = north, east, south, west
                ahead = min(max(ahead, -span), span)
                right = min(max(right, -span), span)
                color = int(observations[i, x, y, 1])
                if FIRST_THING <= thing <= LAST_THING:
                    color = numbers[color]
                code = (thing * COLORS + color) * STATES + int(observations[i, x, y, 2])
                if channels > MARK:
                    mark = int(observations[i, x, y, MARK])
                    if mark >= MARKS:
                        return False
                    code += mark * CODES
                around = 8 * front + 4 * beside + 2 * behind + left
                inputs[i, seen, 0] = (ahead + span) * across + right + span
                inputs[i, seen, 1] = code
                inputs[i, seen, 2] = around
                seen += 1
        inputs[i, seen:, 0] = NO_CELL
        inputs[i, seen:, 1:] = 0
        inputs[i, -1, 1], inputs[i, -1, 2] = ahead_of, right_of
    return True


@compiled
def largest_features(
    inputs: NDArray[np.int16],
    places: NDArray[np.float32],
    codes: NDArray[np.float32],
    surroundings: NDArray[np.float32],
    features: NDArray[np.float32],
    winners: NDArray[np.int16],
) -> None:
    """Take each feature of the cell in which it is largest, but not below 0.

    Args:
        inputs: of `encode_cells`, (N, cells, 3).
        places: features of a place, (P, F); a cell's are the sum of its three rows.
        codes: features of a code, (C, F).
        surroundings: features of what is around a cell, (S, F).
        features: to be filled, (N, F).
        winners: to be filled with the cell that each comes from, -1 for none, (N, F).
    """
    n_features = places.shape[1]
    for i in range(len(inputs)):
        for j in range(n_features):
            features[i, j], winners[i, j] = 0.0, -1
        for cell in range(inputs.shape[1]):
            place, code, around = inputs[i, cell, 0], inputs[i, cell, 1], inputs[i, cell, 2]
            if place < 0:
                continue
            for j in range(n_features):
                value = places[place, j] + codes[code, j] + surroundings[around, j]
                larger = value > features[i, j]
                features[i, j] = value if larger else features[i, j]
                winners[i, j] = cell if larger else winners[i, j]


@compiled
def largest_features_backward(
    inputs: NDArray[np.int16],
    winners: NDArray[np.int16],
    gradient: NDArray[np.float32],
    places: NDArray[np.float32],
    codes: NDArray[np.float32],
    surroundings: NDArray[np.float32],
) -> None:
    """Add the gradient of the features, (N, F), to those of the tables; shapes as there."""
    for i in range(len(inputs)):
        for j in range(gradient.shape[1]):
            cell = winners[i, j]
            if cell >= 0:
                places[inputs[i, cell, 0], j] += gradient[i, j]
                codes[inputs[i, cell, 1], j] += gradient[i, j]
                surroundings[inputs[i, cell, 2], j] += gradient[i, j]
