"""Sensor readings as the bytes of `layout`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from llm4teach.envs.habitat_worker.boxes import Array
from llm4teach.envs.habitat_worker.layout import (
    DEPTH_COLUMNS,
    DEPTH_ROWS,
    FLAGS_AT,
    MAX_DEPTH_M,
    MAX_DISTANCE_M,
    MAX_RANGE_M,
    STATE_BYTES,
    TARGETS_AT,
)

VECTOR_SHAPE = (STATE_BYTES,)
DEPTH_SHAPE = (DEPTH_ROWS, DEPTH_COLUMNS)

_TARGET_SCALE = np.array([255.0, 127.0, 127.0, 255 / MAX_DISTANCE_M])
_TARGET_ZERO = np.array([0.0, 128.0, 128.0, 0.0])


def encode_state(ranges: Array, flags: Any, targets: Array, out: Array) -> None:
    """Write a state into uint8 (STATE_BYTES,); see `layout` for the arguments' order."""
    out[:FLAGS_AT] = ranges * (255 / MAX_RANGE_M) + 0.5
    out[FLAGS_AT:TARGETS_AT] = np.multiply(flags, 255)
    there = targets[:, :1]  # (4, 1)
    values = targets * _TARGET_SCALE + _TARGET_ZERO * there + 0.5 * there
    out[TARGETS_AT:] = np.minimum(values, 255).ravel()


def encode(observations: Mapping[str, Any], out: Array) -> None:
    """Write habitat-lab's observations into uint8 of `VECTOR_SHAPE` or `DEPTH_SHAPE`."""
    state = out
    if out.ndim == 2:
        out[:-1] = observations["depth"] * (255 / MAX_DEPTH_M) + 0.5
        out[-1, STATE_BYTES:] = 0
        state = out[-1, :STATE_BYTES]
    encode_state(observations["ranges"], observations["flags"], observations["targets"], state)
