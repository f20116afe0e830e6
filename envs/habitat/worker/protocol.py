"""The messages between core and worker: framed bytes with a version and bounded sizes, no pickle.

A message is a header (magic, version, kind, two lengths), JSON for what is sent once, and a payload
of raw little-endian arrays for what is sent at every step. Anything else is refused.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from llm4teach.envs.habitat.worker.layout import Array

VERSION = 1
MAGIC = b"HbtW"
MAX_JSON, MAX_PAYLOAD = 1 << 16, 1 << 26  # bytes
MAX_ENVS = 4096  # of one worker
_HEADER = struct.Struct("<4sHHII")

KINDS = ("HELLO", "MAKE", "RESET", "STEP", "RENDER", "CLOSE", "DONE", "FAILED")
HELLO, MAKE, RESET, STEP, RENDER, CLOSE, DONE, FAILED = range(1, len(KINDS) + 1)


class ProtocolError(RuntimeError):
    """What arrived is no message of this protocol."""


class Message(NamedTuple):
    """One message."""

    kind: int
    json: dict[str, Any] = {}  # noqa: RUF012  never written to
    payload: bytes = b""


class StepResults(NamedTuple):
    """What K environments answer, in the order of the question."""

    observations: Array  # uint8 (K, *observation_shape)
    rewards: Array  # float64 (K,)
    terminated: Array  # bool (K,)
    truncated: Array  # bool (K,)
    measures: Array  # float64 (K, M), in the order of `layout.MEASURES`


def pack(message: Message) -> bytes:
    """Return the bytes of a message.

    Raises:
        ProtocolError: it is too large.
    """
    text = json.dumps(message.json, allow_nan=False).encode() if message.json else b""
    if len(text) > MAX_JSON or len(message.payload) > MAX_PAYLOAD:
        raise ProtocolError(
            f"a message of {len(text)} and {len(message.payload)} bytes is too large (at most "
            f"{MAX_JSON} and {MAX_PAYLOAD})"
        )
    header = _HEADER.pack(MAGIC, VERSION, message.kind, len(text), len(message.payload))
    return header + text + message.payload


def read_message(read: Callable[[int], bytes]) -> Message | None:
    """Read one message; None if there is nothing more to read.

    Args:
        read: returns the requested number of bytes, or fewer at the end.

    Raises:
        ProtocolError: these are other bytes, another version, or a truncated message.
    """
    header = read(_HEADER.size)
    if not header:
        return None
    if len(header) < _HEADER.size or header[:4] != MAGIC:
        raise ProtocolError(f"expected a message, got {header[:16]!r}")
    _, version, kind, text_size, payload_size = _HEADER.unpack(header)
    if version != VERSION:
        raise ProtocolError(f"a message of version {version}; this side speaks {VERSION}")
    if not 0 < kind <= len(KINDS) or text_size > MAX_JSON or payload_size > MAX_PAYLOAD:
        raise ProtocolError(f"a message of kind {kind} with {text_size} and {payload_size} bytes")
    text, payload = read(text_size), read(payload_size)
    if len(text) < text_size or len(payload) < payload_size:
        raise ProtocolError("a message that ends too early")
    try:
        content = json.loads(text) if text else {}
    except ValueError as error:
        raise ProtocolError(f"a message without JSON: {error}") from None
    if not isinstance(content, dict):
        raise ProtocolError("a message whose JSON is no object")
    return Message(kind, content, payload)


def pack_request(envs: Array, values: Array) -> bytes:
    """Which environments (K,) a request is about, and the seed or action of each, (K,)."""
    return np.asarray(envs, "<i4").tobytes() + np.asarray(values, "<i8").tobytes()


def unpack_request(payload: bytes, n_envs: int) -> tuple[Array, Array]:
    """Undo `pack_request`.

    Raises:
        ProtocolError: the size is wrong, or there is no such environment.
    """
    count, rest = divmod(len(payload), 12)
    if rest:
        raise ProtocolError(f"a request of {len(payload)} bytes")
    envs = np.frombuffer(payload, "<i4", count)
    values = np.frombuffer(payload, "<i8", count, 4 * count)
    if count and not 0 <= min(envs.tolist()) <= max(envs.tolist()) < n_envs:
        raise ProtocolError(f"environments {envs.tolist()} of {n_envs}")
    return envs, values


def pack_results(results: StepResults) -> bytes:
    """The bytes of an answer."""
    return b"".join(
        (
            results.rewards.astype("<f8").tobytes(),
            results.measures.astype("<f8").tobytes(),
            results.terminated.tobytes(),
            results.truncated.tobytes(),
            results.observations.tobytes(),
        )
    )


def unpack_results(
    payload: bytes, count: int, shape: tuple[int, ...], measures: int
) -> StepResults:
    """Undo `pack_results`; the arrays cannot be written to.

    Raises:
        ProtocolError: the size is wrong, or a flag is neither 0 nor 1.
    """
    pixels = math.prod(shape)
    if len(payload) != count * (8 + 8 * measures + 2 + pixels):
        raise ProtocolError(f"an answer of {len(payload)} bytes for {count} environments")
    at = 0

    def take(kind: str, *size: int) -> Array:
        nonlocal at
        array = np.frombuffer(payload, kind, math.prod(size), at).reshape(size)
        at += array.nbytes
        return array

    rewards, values = take("<f8", count), take("<f8", count, measures)
    strange = payload[at : at + 2 * count].translate(None, b"\0\1")  # flags that are none
    if strange or not all(map(math.isfinite, rewards.tolist())):
        raise ProtocolError("an answer with flags or rewards that make no sense")
    terminated, truncated = take("?", count), take("?", count)
    return StepResults(take("u1", count, *shape), rewards, terminated, truncated, values)
