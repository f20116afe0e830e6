"""Encoders of observations that are no maps of cells: vectors of numbers, and depth images."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llm4teach.errors import TaskError

WIDTH = 128  # features of either encoder
MAP_CHANNELS = 4  # at least: object, color, state, heading
SUPPORTED = (
    "Supported are uint8 maps of cells (width, height, channels) with MiniGrid's codes of object, "
    "color, state and heading in the first four channels, depth images (rows, columns) and vectors "
    "(size,). Pixels of a camera are not: describe the task's observation in one of these forms"
)
_MIDDLE = 127.5  # bytes are scaled to -1 … 1


class VectorEncoder(nn.Module):
    """Two layers over a vector of bytes, each an amount."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.first = nn.Linear(size, WIDTH)
        self.second = nn.Linear(WIDTH, WIDTH)
        for layer in (self.first, self.second):
            nn.init.orthogonal_(layer.weight, 2**0.5)
            nn.init.zeros_(layer.bias)

    def forward(self, observations: Tensor) -> Tensor:
        """Features, float32 (N, WIDTH), of uint8 (N, size)."""
        x = observations.float() / _MIDDLE - 1
        return F.relu(self.second(F.relu(self.first(x))))


class DepthEncoder(nn.Module):
    """Convolutions over a depth image, beside a vector: the image's last row, padded with zeros."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(1, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
        )
        with torch.no_grad():
            seen = self.convolutions(torch.zeros(1, 1, rows - 1, columns)).shape[1]
        self.image = nn.Linear(seen, WIDTH)
        self.vector = VectorEncoder(columns)
        self.both = nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, observations: Tensor) -> Tensor:
        """Features, float32 (N, WIDTH), of uint8 (N, rows, columns)."""
        near = 1 - observations[:, None, :-1].float() / 255  # (N, 1, rows - 1, columns)
        image = F.relu(self.image(self.convolutions(near)))  # (N, WIDTH)
        vector = self.vector(observations[:, -1])
        return F.relu(self.both(torch.cat([image, vector], 1)))


def encoder_of(observation_shape: tuple[int, ...]) -> VectorEncoder | DepthEncoder | None:
    """Return the encoder of (size,) or (rows, columns); None for maps, (width, height, channels).

    Raises:
        TaskError: there is none for such observations.
    """
    if len(observation_shape) == 1:
        return VectorEncoder(*observation_shape)
    if len(observation_shape) == 2:
        return DepthEncoder(*observation_shape)
    if len(observation_shape) == 3 and observation_shape[2] >= MAP_CHANNELS:
        return None
    raise TaskError(f"{unsupported(observation_shape)}. {SUPPORTED}")


def unsupported(observation_shape: tuple[int, ...]) -> str:
    """The start of a message about observations that no encoder reads."""
    return f"there is no student for observations of shape {tuple(observation_shape)}"
