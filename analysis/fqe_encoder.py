"""The network under d3rlpy's Q function: symbolic maps are read as names, not as amounts.

Imported only where d3rlpy is there; see `off_policy`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from d3rlpy.models.encoders import EncoderFactory, register_encoder_factory
from torch import Tensor, nn
from torch.nn import functional as F

HIDDEN = 128


class OneHotEncoder(nn.Module):
    """One-hot codes of all cells and channels, through two layers.

    A sum of embeddings is the first layer's product with one-hot vectors, without these.
    """

    offsets: Tensor

    def __init__(self, observation_shape: Sequence[int], codes: int) -> None:
        super().__init__()
        self.codes, places = codes, math.prod(observation_shape)
        self.first = nn.EmbeddingBag(places * codes, HIDDEN, mode="sum")
        nn.init.normal_(self.first.weight, std=1 / math.sqrt(places))
        self.second = nn.Linear(HIDDEN, HIDDEN)
        self.register_buffer("offsets", torch.arange(places) * codes)

    def forward(self, x: Tensor) -> Tensor:
        """Features of observations, (B, channels, width, height) to (B, HIDDEN)."""
        codes = x.flatten(1).long().clamp(0, self.codes - 1)  # (B, places)
        hidden = F.relu(self.first(codes + self.offsets))
        return F.relu(self.second(hidden))


@dataclass()
class OneHotFactory(EncoderFactory):
    """Makes `OneHotEncoder`s; ``codes`` is how many values a channel can have."""

    codes: int = 16

    def create(self, observation_shape: Sequence[int]) -> OneHotEncoder:  # type: ignore[override]
        """Return an encoder for observations of this shape."""
        return OneHotEncoder(observation_shape, self.codes)

    @staticmethod
    def get_type() -> str:
        """Return the name under which d3rlpy knows it."""
        return "llm4teach-one-hot"


register_encoder_factory(OneHotFactory)
