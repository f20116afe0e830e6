"""How a student reads a task's observations: encoders by name, and texts as bytes; no torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from llm4teach.errors import TaskError

EncoderName = Literal["cells", "mission", "vector", "image", "tiles", "depth", "text"]
# From the shape of the student's observations to a torch.nn.Module, or a student's `Encoder`.
EncoderFactory = Callable[[tuple[int, ...]], Any]

ENCODERS: tuple[EncoderName, ...] = get_args(EncoderName)
SMALLEST = 8  # side of an image in pixels
TILE = 7  # side of a tile in pixels, of images that are drawn as a grid of tiles
CELL_CHANNELS = 4  # of a map at least: object, color, state, heading
TEXT_SIZE = 512  # bytes of a text whose space does not limit its length
_READS: dict[EncoderName, str] = {
    "cells": "maps of cells (width, height, channels) with MiniGrid's codes of object, color, "
    "state and heading in the first four channels",
    "mission": "maps of cells with the words of a mission",
    "image": f"images (rows, columns, channels) of at least {SMALLEST} pixels a side",
    "tiles": f"images (rows, columns, channels) whose sides are multiples of {TILE} pixels: a grid "
    f"of {TILE} x {TILE} tiles",
    "depth": "depth images (rows, columns)",
    "vector": "vectors (size,)",
    "text": "texts (size,), one byte per character",
}
SUPPORTED = (
    f"Supported are uint8 {_READS['cells']}, images in gray or color (rows, columns, 1 or 3) of at "
    f"least {SMALLEST} pixels a side, {_READS['depth']} and {_READS['vector']}; for others, give "
    "the task an encoder"
)


def unsupported(shape: tuple[int, ...]) -> str:
    """Return the start of a message about observations that no encoder reads."""
    return f"there is no student for observations of shape {tuple(shape)}"


def encoder_of_shape(shape: tuple[int, ...]) -> EncoderName:
    """Return the encoder that reads observations of this shape unless their task names one.

    Raises:
        TaskError: there is none.
    """
    if len(shape) == 1:
        return "vector"
    if len(shape) == 2:
        return "depth"
    if len(shape) == 3 and shape[2] in (1, 3) and min(shape[:2]) >= SMALLEST:
        return "image"
    if len(shape) == 3 and shape[2] >= CELL_CHANNELS:
        return "cells"
    raise TaskError(f"{unsupported(shape)}. {SUPPORTED}")


def check_encoder(encoder: object, shape: tuple[int, ...]) -> None:
    """Check that an encoder is a factory, or the name of one that reads this shape.

    Raises:
        TaskError: it is neither.
    """
    if callable(encoder):
        return
    if encoder not in ENCODERS:
        raise TaskError(
            f"encoder is {encoder!r}; it must be one of {', '.join(ENCODERS)}, or a function from "
            "the observations' shape to a torch.nn.Module"
        )
    is_map = len(shape) == 3 and shape[2] >= CELL_CHANNELS
    fits = {
        "cells": is_map,
        "mission": is_map,
        "image": len(shape) == 3 and min(shape[:2]) >= SMALLEST,
        "tiles": len(shape) == 3
        and min(shape[:2]) >= TILE
        and not any(n % TILE for n in shape[:2]),
        "depth": len(shape) == 2 and shape[0] >= 2,
        "vector": len(shape) == 1,
        "text": len(shape) == 1,
    }
    if not fits[encoder]:
        raise TaskError(
            f"encoder is {encoder!r}, which reads {_READS[encoder]}, but the student's "
            f"observations have the shape {tuple(shape)}"
        )


def text_bytes(text: str, size: int = TEXT_SIZE) -> NDArray[np.uint8]:
    """Return a text as the encoder ``text`` reads it, uint8 (size,): one byte per character.

    Zeros fill the end. Characters beyond Latin-1 share bytes with others.

    Raises:
        TaskError: it has more than ``size`` characters; nothing is cut off silently.
    """
    if len(text) > size:
        raise TaskError(
            f"a text of {len(text)} characters does not fit into {size}: {text[:60]!r}…; return "
            "text_bytes(text, size) with a larger size from encode"
        )
    codes = np.array([ord(character) for character in text], np.int64)
    padded = np.zeros(size, np.uint8)
    padded[: len(codes)] = np.where(codes < 256, codes, 128 + codes % 128)
    return padded
