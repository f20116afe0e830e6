"""Maps by convolutions: the encoder of version 0.1, an order of magnitude slower than `cells`."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llm4teach.student.model.encoder import Encoder
from llm4teach.student.model.maps import (
    COLORS,
    LARGE,
    MARK,
    MARKS,
    OBJECTS,
    STATES,
    at,
    cell_codes,
    check_codes,
    facing_east,
)

CHANNELS, BLOCKS, FAR_BLOCKS = 16, 3, 2
NEAR, BLOCK = 11, 3  # sides in cells: of the window around the agent, of a block of cells


class ConvolutionalEncoder(Encoder):
    """Embedding of the cells, residual 3x3 convolutions, a read-out at the agent's cell.

    Codes are embedded, not scaled: they are names, not amounts. A large map is looked at twice:
    cell by cell near the agent, and as a whole by blocks of cells; where the agent stands on it is
    told in numbers, since most of what would show that has not been seen yet.

    Args:
        shape: of the maps, (width, height, channels).
        channels: of the convolutions.
    """

    def __init__(self, shape: tuple[int, ...], channels: int = CHANNELS) -> None:
        self.large = max(shape[:2]) > LARGE
        super().__init__(4 * channels + 2 if self.large else 2 * channels, channels)
        self.shape = shape
        self.embedding = nn.Embedding(OBJECTS + COLORS + STATES + 1, channels)
        self.marks = nn.Embedding(MARKS, channels) if shape[2] > MARK else None
        self.blocks = nn.ModuleList(_Block(channels) for _ in range(BLOCKS))
        self.far = nn.ModuleList(_Block(channels) for _ in range(FAR_BLOCKS if self.large else 0))

    def initialize(self) -> None:
        """Draw the embeddings; apart from the rest, so that a seed gives version 0.1's weights."""
        nn.init.normal_(self.embedding.weight, std=0.5)

    def encode(self, observations: Tensor) -> Tensor:
        """Return int16 (N, 1 + side^2), or 1 + 2 side^2 with marks: the agent's cell, codes, marks.

        Raises:
            TaskError: the observations hold other numbers than the codes of cells.
        """
        check_codes(observations)
        cells, agent, _ = facing_east(observations)  # (N, side^2, channels), (N,)
        parts = [agent[:, None], cell_codes(cells, agent)]
        parts += [cells[..., MARK].long()] if self.marks is not None else []
        return torch.cat(parts, 1).short()

    def forward(self, inputs: Tensor) -> Tensor:
        """Return features, (N, 2 C) of small maps, (N, 4 C + 2) of large ones."""
        cells = (inputs.shape[1] - 1) // (1 if self.marks is None else 2)
        agent, codes, marks = inputs.long().tensor_split([1, 1 + cells], 1)
        side = math.isqrt(cells)  # of this map, which may be larger than those trained on
        return self._features(agent[:, 0], codes, marks if self.marks is not None else None, side)

    def _features(self, agent: Tensor, codes: Tensor, marks: Tensor | None, side: int) -> Tensor:
        if not self.large:
            return _read(self._embed(codes, marks, agent), self.blocks, agent)
        near = _window(agent, side)  # (N, NEAR^2) in the map with a border
        middle = torch.full_like(agent, NEAR * NEAR // 2)
        seen = None if marks is None else _bordered(marks, side).gather(1, near)
        fine = self._embed(_bordered(codes, side).gather(1, near), seen, middle)
        whole = F.max_pool2d(self._embed(codes, marks, agent), BLOCK, ceil_mode=True)
        block = agent // side // BLOCK * whole.shape[3] + agent % side // BLOCK
        place = torch.stack([agent // side, agent % side], 1) * 2 / (side - 1) - 1  # (N, 2)
        read = [_read(fine, self.blocks, middle), _read(whole, self.far, block)]
        return torch.cat([*read, place], 1)

    def _embed(self, codes: Tensor, marks: Tensor | None, agent: Tensor) -> Tensor:
        """Embed a square of cells, (N, C, side, side), from codes and marks, (N, side^2)."""
        x = F.embedding(codes, self._cell_table())  # (N, side^2, C)
        if self.marks is not None:
            x = x + self.marks(marks)
        x = x + at(agent, codes.shape[1]).unsqueeze(-1) * self.embedding.weight[-1]
        side = math.isqrt(codes.shape[1])
        return x.transpose(1, 2).reshape(x.shape[0], -1, side, side)

    def _cell_table(self) -> Tensor:
        """Embedding of every kind of cell, (OBJECTS * COLORS * STATES, C): one lookup of three."""
        weight = self.embedding.weight
        objects, colors = weight[:OBJECTS], weight[OBJECTS : OBJECTS + COLORS]
        states = weight[OBJECTS + COLORS : -1]
        table: Tensor = objects[:, None, None] + colors[:, None] + states
        return table.flatten(0, 2)


class _Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.second(F.relu(self.first(F.relu(x))))
        return out


def _read(x: Tensor, blocks: nn.ModuleList, agent: Tensor) -> Tensor:
    """Features at the agent's cell and the largest of all cells, (N, 2 C), after the blocks."""
    for block in blocks:
        x = block(x)
    flat = x.flatten(2)  # (N, C, cells)
    at_agent = flat.gather(2, agent[:, None, None].expand(-1, flat.shape[1], 1)).squeeze(2)
    return torch.cat([at_agent, flat.amax(2)], 1)


def _bordered(values: Tensor, side: int) -> Tensor:
    """A map with a border of NEAR // 2 zeros, which say unseen, flat: (N, (side + NEAR - 1)^2)."""
    return F.pad(values.view(-1, side, side), (NEAR // 2,) * 4).flatten(1)


def _window(agent: Tensor, side: int) -> Tensor:
    """Flat cells of the bordered map in the window around each agent, (N, NEAR^2)."""
    offsets = torch.arange(NEAR, device=agent.device)
    rows = agent[:, None] // side + offsets  # (N, NEAR)
    columns = agent[:, None] % side + offsets
    return (rows[:, :, None] * (side + NEAR - 1) + columns[:, None]).flatten(1)
