"""Sensor readings as the bytes of `layout`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llm4teach.envs.habitat.worker.boxes import Array
from llm4teach.envs.habitat.worker.layout import (
    DEPTH_COLUMNS,
    DEPTH_ROWS,
    FLAGS_AT,
    MAX_DEPTH_M,
    MAX_DISTANCE_M,
    MAX_RANGE_M,
    STATE_BYTES,
    TARGET_BYTES,
)

VECTOR_SHAPE = (STATE_BYTES,)
DEPTH_SHAPE = (DEPTH_ROWS, DEPTH_COLUMNS)

_ABSENT = (0,) * TARGET_BYTES


def encode_state(ranges: Array, flags: Any, targets: Array, out: Array) -> None:
    """Write a state into uint8 (STATE_BYTES,); see `layout` for the arguments' order."""
    out[:FLAGS_AT] = ranges * (255 / MAX_RANGE_M) + 0.5
    rest = [255 if flag else 0 for flag in flags]
    for there, sine, cosine, distance in targets.tolist():
        if there:
            away = min(distance * (255 / MAX_DISTANCE_M) + 0.5, 255)
            bearing = int(sine * 127 + 128 + 0.5), int(cosine * 127 + 128 + 0.5)
            rest += (255, *bearing, int(away))
        else:
            rest += _ABSENT
    out[FLAGS_AT:] = rest


def encode(observations: Mapping[str, Any], out: Array) -> None:
    """Write habitat-lab's observations into uint8 of `VECTOR_SHAPE` or `DEPTH_SHAPE`."""
    state = out
    if out.ndim == 2:
        out[:-1] = observations["depth"] * (255 / MAX_DEPTH_M) + 0.5
        out[-1, STATE_BYTES:] = 0
        state = out[-1, :STATE_BYTES]
    encode_state(observations["ranges"], observations["flags"], observations["targets"], state)
