"""Raw maps: cells as in `cells`, each thing also as the mission's words speak of it.

Nothing marks what a mission is about. Words and things are matched by name (`mission_words`), and
what a match means is learned, together with what is carried: the thing to look for may be another
one from then on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llm4teach.envs.encoding import unsupported
from llm4teach.errors import TaskError
from llm4teach.student.model.cells import (
    WIDTH,
    CellEncoder,
    LargestFeatures,
    largest_features_slowly,
)
from llm4teach.student.model.maps import MARK, WORDS, is_traced
from llm4teach.student.model.mission_words import LONGEST, ROLES, Reading, WordReader
from llm4teach.student.model.raw_maps import (
    NAMED,
    NOTHING,
    THINGS,
    check_raw,
    encode_raw_slowly,
)

COLUMNS = 6  # of the inputs: place, code, surroundings, thing, rough place, word
_THING, _WHERE, _WORD = 3, 4, 5


class MissionEncoder(CellEncoder):
    """The largest features of all cells seen, the mission as a whole, and what is carried.

    A thing's features are those of its cell and those of its role: what the mission says of such a
    thing at such a place, given what it says of the carried one.

    Args:
        shape: of the maps, (width, height, 6): four channels of codes, the start pose, the words.
        width: features per cell.
    """

    def __init__(self, shape: tuple[int, ...], width: int = WIDTH) -> None:
        if shape[2] != WORDS + 1:
            raise TaskError(
                f"{unsupported(shape)} with a mission in words: it stands in the last of "
                f"{WORDS + 1} channels"
            )
        super().__init__((*shape[:2], MARK), width)
        self.shape = shape
        self.features += 2 * ROLES
        self.reader = WordReader()
        self.carried = nn.Linear(ROLES, ROLES)
        self.nothing_carried = nn.Parameter(torch.empty(ROLES))
        self.roles = nn.Linear(ROLES, width, bias=False)
        nn.init.normal_(self.nothing_carried, std=0.3)
        nn.init.normal_(self.roles.weight, std=ROLES**-0.5)
        self._met: _Met | None = None

    def encode(self, observations: Tensor) -> Tensor:
        """Return int16 (N, cells + 1, 6), a row for each of the cells seen.

        The first three columns are those of `CellEncoder.encode`, then come the thing and where it
        is from the start pose, and the mission's words, one a row from the first on. The last row
        has the carried thing in the column of things.

        Raises:
            TaskError: the observations hold other numbers than codes of cells, a start pose and
                tokens.
        """
        if observations.is_cuda or is_traced():
            return encode_raw_slowly(observations, self.span)
        # These compile: not for --help.
        from llm4teach.student.model.cells_kernel import encode_cells
        from llm4teach.student.model.mission_kernel import encode_things

        n, width, height, _ = observations.shape
        inputs = torch.empty(n, width * height + 1, COLUMNS, dtype=torch.int16)
        codes = observations[..., :MARK].contiguous()
        are_codes = encode_cells(codes.numpy(), self.span, inputs.numpy())
        if not (are_codes and encode_things(observations.contiguous().numpy(), inputs.numpy())):
            check_raw(observations)  # says what is wrong
            raise AssertionError("the kernels refuse what the slow check takes")
        return inputs

    @contextmanager
    def fixed(self) -> Iterator[None]:
        with super().fixed():
            self._met = _Met(self.reader)
            try:
                yield
            finally:
                self._met = None

    def forward(self, inputs: Tensor) -> Tensor:
        """Return features, float32 (N, width + 2 ROLES), of large maps (N, … + 2 side)."""
        words = inputs[:, : min(LONGEST, inputs.shape[1] - 1), _WORD].to(torch.uint8)  # (N, L)
        if inputs.is_cuda or is_traced():
            return self._forward_slowly(inputs, self.reader(words))
        if self._met is not None and not torch.is_grad_enabled():
            reading, which = self._met.read(words)
        else:
            distinct, which = _distinct(words)
            reading = self.reader(distinct)
        named, first = reading.named.flatten(0, 1), which * NAMED  # (M * NAMED, ROLES), (N,)
        carried = self._carried(named[first + inputs[:, -1, _THING]], inputs)  # (N, ROLES)

        table, codes, surroundings = self._tables()
        row, cell = (inputs[:, :-1, _THING] != NOTHING).nonzero(as_tuple=True)  # each (T,)
        thing, where = inputs[row, cell, _THING:_WORD].long().unbind(1)  # each (T,)
        said = F.embedding(first[row] + thing, named)  # (T, ROLES)
        said = said + F.embedding(first[row] + THINGS + where, named)
        roles = self.roles(F.relu(said + F.embedding(row, self.carried(carried))))  # (T, width)
        # The kernel adds up rows of tables: each of these things gets a row of its own.
        cells = inputs[..., :_THING].int()
        own = F.embedding(cells[row, cell, 1], codes) + roles
        cells[row, cell, 1] = len(codes) + torch.arange(len(row), dtype=torch.int32)
        tables = table, torch.cat([codes, own]), surroundings
        largest = LargestFeatures.apply(cells, *tables)  # type: ignore[no-untyped-call]
        return torch.cat([self._finish(largest, inputs), reading.whole[which], carried], 1)

    def _forward_slowly(self, inputs: Tensor, reading: Reading) -> Tensor:
        """What `forward` returns, from a reading of each row's mission."""
        thing, where = inputs[..., _THING].long(), inputs[..., _WHERE].long()  # (N, cells + 1)
        index = torch.stack([thing, where + THINGS], 2)[..., None]  # (N, cells + 1, 2, 1)
        named = reading.named[:, None].expand(-1, thing.shape[1], -1, -1)
        named = named.gather(2, index.expand(-1, -1, -1, ROLES))  # (N, cells + 1, 2, ROLES)
        carried, said = self._carried(named[:, -1, 0], inputs), named.sum(2)
        roles = self.roles(F.relu(said + self.carried(carried)[:, None]))  # (N, cells + 1, width)
        roles = roles * (thing != NOTHING)[..., None]
        largest = largest_features_slowly(inputs[..., :_THING], *self._tables(), roles)
        return torch.cat([self._finish(largest, inputs), reading.whole, carried], 1)

    def _carried(self, said: Tensor, inputs: Tensor) -> Tensor:
        nothing = (inputs[:, -1, _THING] == NOTHING)[:, None]  # (N, 1)
        return torch.where(nothing, self.nothing_carried, F.relu(said))


class _Met:
    """Readings of the missions met while the parameters are fixed."""

    def __init__(self, reader: WordReader) -> None:
        self._reader, self._rows = reader, dict[bytes, int]()
        self._readings: Reading | None = None

    def read(self, words: Tensor) -> tuple[Reading, Tensor]:
        """Return the reading of all missions met and which of them each row has, int64 (N,)."""
        missions = [row.tobytes() for row in words.numpy()]
        new = [mission for mission in dict.fromkeys(missions) if mission not in self._rows]
        if new or self._readings is None:
            self._rows |= {mission: len(self._rows) + i for i, mission in enumerate(new)}
            tokens = np.frombuffer(bytearray(b"".join(new)), np.uint8).reshape(-1, words.shape[1])
            read = self._reader(_trimmed(torch.from_numpy(tokens)))
            earlier = self._readings or Reading(*(part[:0] for part in read))
            both = zip(earlier, read, strict=True)
            self._readings = Reading(*(torch.cat(parts) for parts in both))
        rows = [self._rows[mission] for mission in missions]
        return self._readings, torch.tensor(rows, dtype=torch.int64)


def _distinct(words: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct missions, uint8 (M, words), and which of them each row has, int64 (N,)."""
    tokens = words.contiguous().numpy()
    keys = tokens.view(np.dtype((np.void, tokens.shape[1])))[:, 0]
    _, first, which = np.unique(keys, return_index=True, return_inverse=True)
    return _trimmed(torch.from_numpy(tokens[first])), torch.from_numpy(which)


def _trimmed(words: Tensor) -> Tensor:
    """Without the columns that no mission reaches, but one."""
    return words[:, : max(1, int((words > 0).sum(1).amax()))] if len(words) else words[:, :1]
