"""What an encoder is: the part of a student that depends on the kind of observation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn


class Encoder(nn.Module):
    """Turns observations into features for the trunk.

    `encode` has no parameters: its result is kept with a step and used in every gradient step.
    `forward` is what is learned.

    Args:
        features: number of features that `forward` returns for each observation.
        width: the size that `make_encoder` can be asked for; 0 if it has none.
    """

    def __init__(self, features: int, width: int = 0) -> None:
        super().__init__()
        self.features, self.width = features, width

    def encode(self, observations: Tensor) -> Tensor:
        """Return inputs, (N, ...), of observations, uint8 (N, *observation_shape).

        Raises:
            TaskError: the observations are not of the kind that this encoder reads.
        """
        return observations

    @contextmanager
    def fixed(self) -> Iterator[None]:
        """Let what follows from the parameters alone be computed once: they must not change."""
        yield

    def forward(self, inputs: Tensor) -> Tensor:
        """Return features, float32 (N, features), of what `encode` has returned."""
        raise NotImplementedError
