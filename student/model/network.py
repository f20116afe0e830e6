"""The student: a small actor-critic, mostly of maps, seen from the agent's own heading."""

from __future__ import annotations

import math
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llm4teach.errors import TaskError
from llm4teach.student.model.encoders import SUPPORTED, WIDTH, encoder_of, unsupported

OBJECTS, COLORS, STATES = 11, 6, 4  # MiniGrid's vocabularies of cell codes
MARK, MARKS = 4, 3  # channel that says what the mission is about: nothing, this now, or later
LARGE, NEAR, BLOCK = 14, 11, 3  # sides in cells: of a large map, of the window, of a block
DOOR = FIRST_THING = 4
NO_HEADING = 4  # heading code of cells without the agent
LAST_THING = 7  # door, key, ball, box: their colors matter


class Output(NamedTuple):
    """What the student says of N observations."""

    logits: Tensor  # float32 (N, n_actions)
    values: Tensor  # float32 (N,)


class Student(nn.Module):
    """An encoder that fits the observations, a layer above it, and the heads.

    Vectors and depth images have encoders of their own (`encoders`). Of a map of cells, what
    follows: embedding of the cells, residual 3x3 convolutions, a read-out at the agent's cell.

    The map is first rotated so that the agent faces one way always: what it learns facing east
    holds for all headings. Colors are renumbered, a door's first: what it learns of red and blue
    holds for green and gray, and a key that fits looks like one. Codes are embedded, not scaled:
    they are names, not amounts. A large map is looked at twice: cell by cell near the agent, and as
    a whole by blocks of cells; where the agent stands on it is told in numbers, since most of what
    would show that has not been seen yet.
    """

    def __init__(
        self,
        observation_shape: tuple[int, ...],
        n_actions: int,
        channels: int = 16,
        blocks: int = 3,
        hidden: int = 64,
    ) -> None:
        super().__init__()
        self.settings: dict[str, Any] = {
            "observation_shape": list(observation_shape),
            "n_actions": n_actions,
            "channels": channels,
            "blocks": blocks,
            "hidden": hidden,
        }
        self.encoder = encoder_of(tuple(observation_shape))
        if self.encoder is None:
            self._build_map(observation_shape, channels, blocks)
            features = 4 * channels + 2 if self.large else 2 * channels
        else:
            features = WIDTH
        self.trunk = nn.Linear(features, hidden)
        self.policy = nn.Linear(hidden, n_actions)
        self.value = nn.Linear(hidden, 1)
        if self.encoder is None:
            nn.init.normal_(self.embedding.weight, std=0.5)
        nn.init.orthogonal_(self.policy.weight, 0.01)  # start near the uniform policy
        nn.init.zeros_(self.value.weight)
        nn.init.zeros_(self.policy.bias)
        nn.init.zeros_(self.value.bias)

    def _build_map(self, shape: tuple[int, ...], channels: int, blocks: int) -> None:
        self.large = max(shape[:2]) > LARGE
        self.embedding = nn.Embedding(OBJECTS + COLORS + STATES + 1, channels)
        self.marks = nn.Embedding(MARKS, channels) if shape[2] > MARK else None
        self.blocks = nn.ModuleList(_Block(channels) for _ in range(blocks))
        self.far = nn.ModuleList(_Block(channels) for _ in range(2 if self.large else 0))

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.value.weight.device

    def forward(self, observations: Tensor) -> Output:
        """Logits and values of observations, uint8 (N, *observation_shape)."""
        read = self._read_map if self.encoder is None else self.encoder
        features = F.relu(self.trunk(read(observations)))  # (N, hidden)
        return Output(self.policy(features), self.value(features).squeeze(1))

    def _read_map(self, observations: Tensor) -> Tensor:
        """Features of maps, uint8 (N, width, height, channels); (N, 2 C), or (N, 4 C + 2).

        Raises:
            TaskError: the observations hold other numbers than the codes of cells.
        """
        try:
            return self._map_features(observations)
        except IndexError:  # of an embedding
            shape = tuple(self.settings["observation_shape"])
            reason = f"{unsupported(shape)} with values up to {int(observations.max())}"
            raise TaskError(f"{reason}: these are no codes of cells. {SUPPORTED}") from None

    def _map_features(self, observations: Tensor) -> Tensor:
        cells, agent, side = facing_east(observations)  # (N, side^2, channels), (N,)
        codes = _cell_codes(cells, agent)  # (N, side^2)
        marks = cells[..., MARK].long() if self.marks is not None else None
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
        x = x + _at(agent, codes.shape[1]).unsqueeze(-1) * self.embedding.weight[-1]
        side = math.isqrt(codes.shape[1])
        return x.transpose(1, 2).reshape(x.shape[0], -1, side, side)

    def _cell_table(self) -> Tensor:
        """Embedding of every kind of cell, (OBJECTS * COLORS * STATES, C): one lookup of three."""
        weight = self.embedding.weight
        objects, colors = weight[:OBJECTS], weight[OBJECTS : OBJECTS + COLORS]
        states = weight[OBJECTS + COLORS : -1]
        table: Tensor = objects[:, None, None] + colors[:, None] + states
        return table.flatten(0, 2)


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


class _Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.second(F.relu(self.first(F.relu(x))))
        return out


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
        observations[:, width:, :, 3] = observations[:, :, height:, 3] = NO_HEADING
    cells = observations.flatten(1, 2)  # (N, side^2, channels)
    heading = cells[..., 3].amin(1)  # (N,)
    index = _rotations(side).to(cells.device)[heading.long()]  # (N, side^2)
    cells = cells.gather(1, index.unsqueeze(-1).expand(-1, -1, channels))
    # Not argmin, which torch.compile's kernel for CPUs gets wrong here (torch 2.13).
    return cells, (cells[..., 3] < NO_HEADING).int().argmax(1), side


def _cell_codes(cells: Tensor, agent: Tensor) -> Tensor:
    """One code a cell, int64 (N, side^2), with the colors of things renumbered.

    First come the colors of doors seen, then what the agent holds, then other things, each by
    their codes.
    """
    objects, colors, states = cells[..., :3].long().unbind(-1)  # each (N, side^2)
    things = (objects >= FIRST_THING) & (objects <= LAST_THING)
    held = _at(agent, cells.shape[1])
    rank = torch.where(objects == DOOR, 0, torch.where(held, 1, 2))  # (N, side^2)
    place = torch.full((cells.shape[0], COLORS + 1), 3, dtype=torch.long, device=cells.device)
    place.scatter_reduce_(1, torch.where(things, colors, COLORS), rank, "amin")
    # A color's number is how many come before it; where places tie, the lower code does.
    keys = place[:, :COLORS] * COLORS + torch.arange(COLORS, device=cells.device)
    numbers = (keys[:, None, :] < keys[:, :, None]).sum(2)  # (N, COLORS)
    colors = torch.where(things, numbers.gather(1, colors), colors)
    return (objects * COLORS + colors) * STATES + states


def _at(agent: Tensor, cells: int) -> Tensor:
    """Where each agent is, bool (N, cells)."""
    return torch.arange(cells, device=agent.device) == agent[:, None]


@cache
def _rotations(side: int) -> Tensor:
    """Flat source index of each cell after turning heading 0..3 to face east: (4, side^2)."""
    cells = torch.arange(side * side).view(side, side)
    return torch.stack([torch.rot90(cells, -heading, (0, 1)).flatten() for heading in range(4)])


def n_bytes(module: nn.Module) -> int:
    """Size of a module's parameters in bytes."""
    return sum(p.numel() * p.element_size() for p in module.parameters())
