"""The network under d3rlpy's Q functions: symbolic maps are read as names, not as amounts.

Imported only where d3rlpy is there; see `fitted_q`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import torch
from d3rlpy.models.encoders import EncoderFactory, register_encoder_factory
from torch import Tensor, nn
from torch.nn import functional as F

from llm4teach.envs.encoding import EncoderName
from llm4teach.student.model.encoder import Encoder
from llm4teach.student.model.encoders import make_encoder

HIDDEN = 128
CODES = 16  # values that a channel of a map's cell can have


class OneHotEncoder(nn.Module):
    """One-hot codes of all cells and channels, through two layers.

    A sum of embeddings is the first layer's product with one-hot vectors, without these.
    """

    offsets: Tensor

    def __init__(self, places: int, codes: int = CODES) -> None:
        super().__init__()
        self.codes = codes
        self.first = nn.EmbeddingBag(places * codes, HIDDEN, mode="sum")
        nn.init.normal_(self.first.weight, std=1 / math.sqrt(places))
        self.second = nn.Linear(HIDDEN, HIDDEN)
        self.register_buffer("offsets", torch.arange(places) * codes)

    def forward(self, x: Tensor) -> Tensor:
        """Features of flat observations, (B, places) to (B, HIDDEN)."""
        codes = x.long().clamp(0, self.codes - 1)
        hidden = F.relu(self.first(codes + self.offsets))
        return F.relu(self.second(hidden))


class _Shaped(nn.Module):
    """One of the student's encoders and the layer above it, for flat observations."""

    def __init__(self, encoder: Encoder, shape: Sequence[int]) -> None:
        super().__init__()
        self.encoder, self.shape = encoder, tuple(shape)
        self.trunk = nn.Linear(encoder.features, HIDDEN)

    def forward(self, x: Tensor) -> Tensor:
        inputs = self.encoder.encode(x.to(torch.uint8).view(-1, *self.shape))
        return F.relu(self.trunk(self.encoder(inputs)))


@dataclass()
class CriticEncoderFactory(EncoderFactory):
    """Makes encoders of flattened observations that had this ``shape``.

    ``reads`` names the student's encoder that reads them. By default the shape decides, and maps
    are read as one-hot codes.
    """

    shape: list[int] = field(default_factory=list)
    reads: str = ""

    def create(self, observation_shape: Sequence[int]) -> nn.Module:  # type: ignore[override]
        if self.reads:
            reads = cast(EncoderName, self.reads)
            return _Shaped(make_encoder(tuple(self.shape), "cells", name=reads), self.shape)
        if len(self.shape) == 3:
            return OneHotEncoder(math.prod(self.shape))
        shape = tuple(self.shape) if len(self.shape) < 3 else (math.prod(self.shape),)
        return _Shaped(make_encoder(shape, "cells"), shape)

    @staticmethod
    def get_type() -> str:
        return "llm4teach-critic"


register_encoder_factory(CriticEncoderFactory)
