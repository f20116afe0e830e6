"""Which encoder reads which observations; those of vectors, depth images and images."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llm4teach.envs.encoding import TILE, EncoderName, check_encoder, encoder_of_shape
from llm4teach.student.model.cells import CellEncoder
from llm4teach.student.model.convolutions import ConvolutionalEncoder
from llm4teach.student.model.encoder import Encoder
from llm4teach.student.model.mission import MissionEncoder
from llm4teach.student.model.text import TextEncoder

MapEncoder = Literal["cells", "convolutions"]
WIDTH = 128  # features of the encoders of vectors, depth images and images
TILE_FEATURES = 256
_MIDDLE = 127.5  # bytes are scaled to -1 … 1


class VectorEncoder(Encoder):
    """Two layers over a vector of bytes, each an amount."""

    def __init__(self, size: int) -> None:
        super().__init__(WIDTH)
        self.first = nn.Linear(size, WIDTH)
        self.second = nn.Linear(WIDTH, WIDTH)
        for layer in (self.first, self.second):
            nn.init.orthogonal_(layer.weight, 2**0.5)
            nn.init.zeros_(layer.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        """Features, float32 (N, WIDTH), of uint8 (N, size)."""
        x = inputs.float() / _MIDDLE - 1
        return F.relu(self.second(F.relu(self.first(x))))


class DepthEncoder(Encoder):
    """Convolutions over a depth image, beside a vector: the image's last row, padded with zeros."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__(WIDTH)
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

    def forward(self, inputs: Tensor) -> Tensor:
        """Features, float32 (N, WIDTH), of uint8 (N, rows, columns)."""
        near = 1 - inputs[:, None, :-1].float() / 255  # (N, 1, rows - 1, columns)
        image = F.relu(self.image(self.convolutions(near)))  # (N, WIDTH)
        vector = self.vector(inputs[:, -1])
        return F.relu(self.both(torch.cat([image, vector], 1)))


class ImageEncoder(Encoder):
    """Three convolutions over an image in gray or color, as of Nature's DQN, with half its width.

    A forward pass takes about a million multiplications per 63 x 63 image: a CPU's work.
    """

    def __init__(self, rows: int, columns: int, channels: int) -> None:
        super().__init__(WIDTH)
        self.convolutions = nn.Sequential(
            nn.Conv2d(channels, 16, 8, stride=4, padding=2),
            nn.ReLU(),
            nn.Conv2d(16, 32, 4, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
        )
        with torch.no_grad():
            seen = self.convolutions(torch.zeros(1, channels, rows, columns)).shape[1]
        self.image = nn.Linear(seen, WIDTH)
        for layer in (*self.convolutions, self.image):
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.orthogonal_(layer.weight, 2**0.5)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, inputs: Tensor) -> Tensor:
        """Features, float32 (N, WIDTH), of uint8 (N, rows, columns, channels)."""
        image = inputs.permute(0, 3, 1, 2).float() / 255  # (N, channels, rows, columns)
        return F.relu(self.image(self.convolutions(image)))


class TileEncoder(Encoder):
    """What each tile of an image shows, and where, for images drawn as a grid of tiles.

    One layer embeds each tile, as a vision transformer embeds patches (Dosovitskiy et al., "An
    image is worth 16x16 words", ICLR 2021, section 3.1), and two more read it; one layer over all
    tiles knows their places. A 63 x 63 image takes 1.7 million multiplications.
    """

    def __init__(self, rows: int, columns: int, channels: int) -> None:
        super().__init__(TILE_FEATURES)
        self.tiles = nn.Sequential(
            nn.Conv2d(channels, 64, TILE, stride=TILE),
            nn.ReLU(),
            nn.Conv2d(64, 64, 1),
            nn.ReLU(),
            nn.Conv2d(64, 32, 1),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.image = nn.Linear(32 * (rows // TILE) * (columns // TILE), TILE_FEATURES)

    def forward(self, inputs: Tensor) -> Tensor:
        """Features, float32 (N, TILE_FEATURES), of uint8 (N, rows, columns, channels)."""
        image = inputs.permute(0, 3, 1, 2).float() / 255  # (N, channels, rows, columns)
        return F.relu(self.image(self.tiles(image)))


def make_encoder(
    observation_shape: tuple[int, ...],
    maps: MapEncoder,
    width: int = 0,
    name: EncoderName | None = None,
) -> Encoder:
    """Return a new built-in encoder.

    Args:
        observation_shape: of one observation.
        maps: what reads maps of cells, (width, height, channels).
        width: of that; 0 for its usual one.
        name: which encoder; by default the shape decides.

    Raises:
        TaskError: there is none for such observations.
    """
    name = name or encoder_of_shape(observation_shape)
    check_encoder(name, observation_shape)
    if name in ("cells", "mission"):
        of_maps: type[CellEncoder | ConvolutionalEncoder]
        of_maps = CellEncoder if maps == "cells" else ConvolutionalEncoder
        of_maps = MissionEncoder if name == "mission" else of_maps
        return of_maps(observation_shape, width) if width else of_maps(observation_shape)
    others: dict[EncoderName, type[Encoder]] = {
        "vector": VectorEncoder,
        "depth": DepthEncoder,
        "image": ImageEncoder,
        "tiles": TileEncoder,
        "text": TextEncoder,
    }
    return others[name](*observation_shape)
