"""Maps cell by cell: the student's encoder of maps, made for speed on a CPU.

A cell is read on its own: what it is, where it is from the agent, which cells beside it have been
seen. Each gives a row of features, their sum is the cell's, and a map's features are the largest
over its cells, as in PointNet (Qi et al., arXiv 1612.00593, section 4.2). So nothing is computed
for the unseen, the three tables are multiplied out once per batch, and a gradient goes to one cell
per feature.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llm4teach.student.model.encoder import Encoder
from llm4teach.student.model.maps import (
    COLORS,
    LARGE,
    MARK,
    MARKS,
    NO_CELL,
    OBJECTS,
    STATES,
    UNSEEN,
    at,
    cell_codes,
    check_codes,
    facing_east,
    is_traced,
)

WIDTH = 128  # features of the cells
SPAN = 24  # cells; beyond, a cell counts as at this distance
SURROUNDINGS = 16  # combinations of which of the four cells beside it have been seen
_Tables = tuple[Tensor, Tensor, Tensor]


class CellEncoder(Encoder):
    """The largest features of all cells seen, normalized; on a large map also where the agent is.

    There, most of what would show that has not been seen yet. On a small one it would be learned by
    heart.

    Args:
        shape: of the maps, (width, height, channels).
        width: features per cell.
    """

    place_features: Tensor
    bits: Tensor

    def __init__(self, shape: tuple[int, ...], width: int = WIDTH) -> None:
        self.side = max(shape[:2])
        self.large = self.side > LARGE
        super().__init__(width + 2 * self.side if self.large else width, width)
        self.shape, self.span = shape, min(self.side - 1, SPAN)
        features = _place_features(self.span)
        self.register_buffer("place_features", features, persistent=False)
        self.places = nn.Linear(features.shape[1], width)
        self.place_table = nn.Parameter(torch.empty((2 * self.span + 1) ** 2, width))
        marks = MARKS if shape[2] > MARK else 1
        self.marks = nn.Parameter(torch.empty(marks, width))
        self.objects = nn.Parameter(torch.empty(OBJECTS, width))
        self.colors = nn.Parameter(torch.empty(COLORS, width))
        self.states = nn.Parameter(torch.empty(STATES, width))
        self.code_table = nn.Parameter(torch.zeros(marks * OBJECTS * COLORS * STATES, width))
        self.beside = nn.Parameter(torch.empty(4, width))
        self.surroundings = nn.Parameter(torch.zeros(SURROUNDINGS, width))
        bits = torch.arange(SURROUNDINGS)[:, None] >> torch.tensor([3, 2, 1, 0]) & 1  # (16, 4)
        self.register_buffer("bits", bits.float(), persistent=False)
        self.norm = nn.LayerNorm(width)
        self._fixed: _Tables | None = None
        nn.init.normal_(self.places.weight, std=0.3)
        nn.init.normal_(self.place_table, std=0.02)
        nn.init.normal_(self.beside, std=0.3)
        for table in (self.marks, self.objects, self.colors, self.states):
            nn.init.normal_(table, std=0.5)

    def encode(self, observations: Tensor) -> Tensor:
        """Return int16 (N, cells + 1, 3): place, code and surroundings of the cells seen.

        The place of rows without a cell is -1, as is that of the last row, which tells how many
        cells lie between the agent and the map's edge, ahead and to its right.

        Raises:
            TaskError: the observations hold other numbers than the codes of cells.
        """
        if observations.is_cuda or is_traced():
            return encode_slowly(observations, self.span)
        from llm4teach.student.model.cells_kernel import encode_cells  # compiles: not for --help

        n, width, height, _ = observations.shape
        inputs = torch.empty(n, width * height + 1, 3, dtype=torch.int16)
        if not encode_cells(observations.contiguous().numpy(), self.span, inputs.numpy()):
            check_codes(observations)  # says what is wrong
            raise AssertionError("the kernel refuses what the slow check takes")
        return inputs

    @contextmanager
    def fixed(self) -> Iterator[None]:
        with torch.no_grad():
            self._fixed = self._tables()
        try:
            yield
        finally:
            self._fixed = None

    def forward(self, inputs: Tensor) -> Tensor:
        """Return features, float32 (N, width), of large maps (N, width + 2 side)."""
        tables = self._tables()
        if inputs.is_cuda or is_traced():
            largest = largest_features_slowly(inputs, *tables)
        else:
            largest = LargestFeatures.apply(inputs, *tables)  # type: ignore[no-untyped-call]
        return self._finish(largest, inputs)

    def _finish(self, largest: Tensor, inputs: Tensor) -> Tensor:
        """Normalize the largest features, (N, width); add where the agent is on a large map."""
        features: Tensor = self.norm(largest)  # (N, width)
        if not self.large:
            return features
        edges = inputs[:, -1, 1:3].long().clamp(max=self.side - 1)  # (N, 2); other maps are larger
        ahead, right = edges.unbind(1)  # each (N,)
        where = [F.one_hot(cells, self.side).float() for cells in (ahead, right)]
        return torch.cat([features, *where], 1)

    def _tables(self) -> _Tables:
        """Features of each place, (P, width), code, (C, width), and surroundings, (16, width)."""
        fixed = self._fixed
        if fixed is not None and not torch.is_grad_enabled():
            return fixed
        places = self.places(self.place_features) + self.place_table  # (P, width)
        codes = self.objects[:, None, None] + self.colors[:, None] + self.states
        codes = (self.marks[:, None] + codes.flatten(0, 2)).flatten(0, 1) + self.code_table
        return places, codes, self.bits @ self.beside + self.surroundings


class LargestFeatures(torch.autograd.Function):
    """`largest_features_slowly` by the compiled kernels."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, *tables: Tensor) -> Tensor:
        from llm4teach.student.model.cells_kernel import largest_features

        features = torch.empty(len(inputs), tables[0].shape[1])
        winners = torch.empty(features.shape, dtype=torch.int16)
        places, codes, surroundings = (table.detach().numpy() for table in tables)
        rows = inputs.numpy()
        largest_features(rows, places, codes, surroundings, features.numpy(), winners.numpy())
        ctx.save_for_backward(inputs, winners)
        ctx.shapes = [table.shape for table in tables]
        return features

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        from llm4teach.student.model.cells_kernel import largest_features_backward

        inputs, winners = ctx.saved_tensors
        of_tables = [torch.zeros(shape) for shape in ctx.shapes]
        places, codes, surroundings = (table.numpy() for table in of_tables)
        gradient = gradients[0].contiguous().numpy()
        largest_features_backward(
            inputs.numpy(), winners.numpy(), gradient, places, codes, surroundings
        )
        return None, *of_tables


def largest_features_slowly(
    inputs: Tensor,
    places: Tensor,
    codes: Tensor,
    surroundings: Tensor,
    further: Tensor | None = None,
) -> Tensor:
    """The largest of each feature over a map's cells, and at least 0, float32 (N, F).

    Args:
        inputs: of `CellEncoder.encode`, int16 (N, cells + 1, 3).
        places: features of a place, (P, F); a cell's are the sum of its three rows.
        codes: features of a code, (C, F).
        surroundings: features of what is around a cell, (16, F).
        further: features of each cell that come on top, (N, cells + 1, F).
    """
    place, code, around = inputs.long().unbind(2)  # each (N, cells + 1)
    no_cell = place == NO_CELL
    code, around = code.masked_fill(no_cell, 0), around.masked_fill(no_cell, 0)
    cells = places[place.clamp(min=0)] + codes[code] + surroundings[around]  # (N, cells + 1, F)
    if further is not None:
        cells = cells + further
    return cells.masked_fill(no_cell[..., None], 0.0).amax(1).clamp(min=0)


def encode_slowly(observations: Tensor, span: int) -> Tensor:
    """What `CellEncoder.encode` returns, with the cells in another order.

    Args:
        observations: uint8 (N, width, height, channels).
        span: longest distance along either axis, in cells; a longer one counts as this.

    Raises:
        TaskError: they hold other numbers than the codes of cells.
    """
    check_codes(observations)
    cells, agent, side = facing_east(observations)  # (N, side^2, channels), (N,)
    codes = cell_codes(cells, agent)  # (N, side^2)
    if cells.shape[2] > MARK:
        codes = codes + cells[..., MARK].long() * (OBJECTS * COLORS * STATES)
    index = torch.arange(side * side, device=agent.device)
    ahead = (index // side - agent[:, None] // side).clamp(-span, span)  # (N, side^2)
    right = (index % side - agent[:, None] % side).clamp(-span, span)
    seen = (cells[..., 0] != UNSEEN) | at(agent, side * side)
    bordered = F.pad(seen.view(-1, side, side).long(), (1, 1, 1, 1))
    front, behind = bordered[:, 2:, 1:-1], bordered[:, :-2, 1:-1]
    beside, left = bordered[:, 1:-1, 2:], bordered[:, 1:-1, :-2]
    around = (8 * front + 4 * beside + 2 * behind + left).flatten(1)
    place = torch.where(seen, (ahead + span) * (2 * span + 1) + right + span, NO_CELL)
    edges = torch.stack([side - 1 - agent // side, side - 1 - agent % side], 1)  # (N, 2)
    last = torch.cat([torch.full_like(agent[:, None], NO_CELL), edges], 1)  # (N, 3)
    return torch.cat([torch.stack([place, codes, around], 2), last[:, None]], 1).short()


def _place_features(span: int) -> Tensor:
    """What two places have in common, float32 ((2 span + 1)^2, 29): bearings and distances.

    So that what is learned of one place counts for those like it. Steps are counted, since the
    agent moves along the axes.
    """
    cells = torch.arange(-span, span + 1).float()
    a, r = (x.flatten() for x in torch.meshgrid(cells, cells, indexing="ij"))  # ahead, right
    steps = a.abs() + r.abs()
    near = torch.stack([a, r, a.abs(), r.abs(), steps, a.abs().maximum(r.abs()), (a - r).abs()])
    bearings = torch.stack([x.sign() for x in (a, r, a - r, a + r)])
    lines = torch.stack([a == 0, r == 0, a.abs() == r.abs(), steps == 0, steps == 1])
    fading = torch.stack([torch.log1p(steps), torch.exp(-steps / 2), torch.exp(-steps / 6)])
    bent = torch.cat([torch.stack([a / k, r / k]).tanh() for k in (1, 2, 4, 8)])
    return torch.cat(
        [near / 5, (a - r)[None] / 5, (a + r)[None] / 5, bearings, lines, fading, bent]
    ).T
