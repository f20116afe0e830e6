"""The network under d3rlpy's algorithms: the student's own, for flattened observations.

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

    ``reads`` names the student's encoder that reads them; by default the shape decides.
    """

    shape: list[int] = field(default_factory=list)
    reads: str = ""

    def create(self, observation_shape: Sequence[int]) -> nn.Module:  # type: ignore[override]
        shape = tuple(self.shape) if len(self.shape) <= 3 else (math.prod(self.shape),)
        reads = cast(EncoderName, self.reads) if self.reads else None
        return _Shaped(make_encoder(shape, "cells", name=reads), shape)

    @staticmethod
    def get_type() -> str:
        return "llm4teach-critic"


register_encoder_factory(CriticEncoderFactory)
