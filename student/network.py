"""The student: a small actor-critic that looks at symbolic maps from the agent's own heading."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

OBJECTS, COLOURS, STATES = 11, 6, 4  # MiniGrid's vocabularies of cell codes
DOOR = FIRST_THING = 4
LAST_THING = 7  # door, key, ball, box: their colours matter


class Output(NamedTuple):
    """What the student says of N observations."""

    logits: Tensor  # float32 (N, n_actions)
    values: Tensor  # float32 (N,)


class Student(nn.Module):
    """Embedding of the cells, residual 3x3 convolutions, a read-out at the agent's cell.

    The map is first rotated so that the agent faces one way always: what it learns facing east
    holds for all headings. Colours are renumbered, a door's first: what it learns of red and blue
    holds for green and grey, and a key that fits looks like one. Codes are embedded, not
    scaled: they are names, not amounts. Maps of any size will do.
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
        self.embedding = nn.Embedding(OBJECTS + COLOURS + STATES + 1, channels)
        self.blocks = nn.ModuleList(_Block(channels) for _ in range(blocks))
        self.trunk = nn.Linear(2 * channels, hidden)
        self.policy = nn.Linear(hidden, n_actions)
        self.value = nn.Linear(hidden, 1)
        nn.init.normal_(self.embedding.weight, std=0.5)
        nn.init.orthogonal_(self.policy.weight, 0.01)  # start near the uniform policy
        nn.init.zeros_(self.value.weight)
        nn.init.zeros_(self.policy.bias)
        nn.init.zeros_(self.value.bias)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.value.weight.device

    def forward(self, observations: Tensor) -> Output:
        """Logits and values of observations, uint8 (N, width, height, 4)."""
        cells, agent, side = facing_east(observations)  # (N, side^2, 3), (N,)
        x = F.embedding(_cell_codes(cells, agent), self._cell_table())  # (N, side^2, C)
        marker = F.one_hot(agent, side**2).unsqueeze(-1)  # (N, side^2, 1)
        x = x + marker * self.embedding.weight[-1]
        x = x.transpose(1, 2).reshape(len(x), -1, side, side)  # (N, C, side, side)
        for block in self.blocks:
            x = block(x)
        flat = x.flatten(2)  # (N, C, side^2)
        here = flat.gather(2, agent[:, None, None].expand(-1, flat.shape[1], 1)).squeeze(2)
        features = F.relu(self.trunk(torch.cat([here, flat.amax(2)], 1)))  # (N, hidden)
        return Output(self.policy(features), self.value(features).squeeze(1))

    def _cell_table(self) -> Tensor:
        """Embedding of every kind of cell, (OBJECTS * COLOURS * STATES, C): one lookup of three."""
        weight = self.embedding.weight
        objects, colours = weight[:OBJECTS], weight[OBJECTS : OBJECTS + COLOURS]
        states = weight[OBJECTS + COLOURS : -1]
        table: Tensor = objects[:, None, None] + colours[:, None] + states
        return table.flatten(0, 2)


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
        observations: uint8 (N, width, height, 4).

    Returns:
        The cells' codes, uint8 (N, side^2, 3), where side is the larger of width and height; the
        agent's flat cell, int64 (N,); and side.
    """
    _, width, height, _ = observations.shape
    side = max(width, height)
    if (width, height) != (side, side):  # pad with never-seen cells, without agent
        pad = (0, 0, 0, side - height, 0, side - width)
        heading = F.pad(observations[..., 3:], pad, value=4)
        observations = torch.cat([F.pad(observations[..., :3], pad), heading], -1)
    cells = observations.flatten(1, 2)  # (N, side^2, 4)
    heading, _ = cells[..., 3].min(1)  # (N,)
    index = _rotations(side).to(cells.device)[heading.long()]  # (N, side^2)
    cells = cells.gather(1, index.unsqueeze(-1).expand(-1, -1, 4))
    return cells[..., :3], cells[..., 3].argmin(1), side


def _cell_codes(cells: Tensor, agent: Tensor) -> Tensor:
    """One code a cell, int64 (N, side^2), with the colours of things renumbered.

    First come the colours of doors seen, then what the agent holds, then other things, each by
    their codes.
    """
    objects, colours, states = cells.long().unbind(-1)  # each (N, side^2)
    things = (objects >= FIRST_THING) & (objects <= LAST_THING)
    held = torch.zeros_like(things).scatter_(1, agent[:, None], True)
    rank = torch.where(objects == DOOR, 0, torch.where(held, 1, 2))  # (N, side^2)
    place = torch.full((len(cells), COLOURS + 1), 3, dtype=torch.long, device=cells.device)
    place.scatter_reduce_(1, torch.where(things, colours, COLOURS), rank, "amin")
    order = place[:, :COLOURS].argsort(stable=True, dim=1)  # (N, COLOURS): colours, first to last
    numbers = order.argsort(1)  # (N, COLOURS): the number of each colour
    colours = torch.where(things, numbers.gather(1, colours), colours)
    return (objects * COLOURS + colours) * STATES + states


@cache
def _rotations(side: int) -> Tensor:
    """Flat source index of each cell after turning heading 0..3 to face east: (4, side^2)."""
    cells = torch.arange(side * side).view(side, side)
    return torch.stack([torch.rot90(cells, -heading, (0, 1)).flatten() for heading in range(4)])


def n_bytes(module: nn.Module) -> int:
    """Size of a module's parameters in bytes."""
    return sum(p.numel() * p.element_size() for p in module.parameters())
