"""Any gymnasium observation as bytes: exactly, for the teacher, and as amounts, for the student."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from llm4teach.envs.encoding import text_bytes
from llm4teach.errors import TaskError

Bytes = NDArray[np.uint8]
_ON = 255  # byte of a one-hot vector's hot place
_UTF32 = 4  # bytes per character
_PACKED = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary, spaces.Text)


def packed_size(space: gym.Space[Any]) -> int:
    """Return how many bytes `pack` makes of each of the space's elements.

    Raises:
        TaskError: elements of this space have no fixed size.
    """
    return sum(_size(leaf) for leaf in _leaves(space))


def pack(space: gym.Space[Any], element: Any) -> Bytes:
    """Return an element's bytes, uint8 (packed_size,), from which `unpack` restores it.

    Raises:
        TaskError: it is no element of the space.
    """
    parts = [_to_bytes(leaf, value) for leaf, value in _values(space, element)]
    return np.frombuffer(b"".join(parts), np.uint8)


def unpack(space: gym.Space[Any], packed: Bytes) -> Any:
    """Return the element whose bytes these are, uint8 (packed_size,)."""
    element, rest = _from_bytes(space, np.ascontiguousarray(packed).tobytes())
    assert not rest, "the bytes of another space"
    return element


def student_bytes(space: gym.Space[Any], element: Any) -> Bytes:
    """Return an element as amounts, uint8: what a student reads if its task does not say more.

    Bytes stay as they are, with their shape if the space is a single box. Bounded numbers are
    scaled to 0 … 255, choices become one-hot vectors, and all parts are one vector. A space that is
    a text becomes one byte per character (`text_bytes`), as many as it can have.

    Raises:
        TaskError: the space has numbers without bounds, or text among other parts, or the text is
            longer than its space says.
    """
    if isinstance(space, spaces.Box) and space.dtype == np.uint8:
        return np.asarray(element, np.uint8)
    if isinstance(space, spaces.Text):
        return text_bytes(str(element), space.max_length)
    parts = [_amounts(leaf, value) for leaf, value in _values(space, element)]
    return np.concatenate(parts) if parts else np.zeros(0, np.uint8)


def _amounts(space: gym.Space[Any], value: Any) -> Bytes:
    if isinstance(space, spaces.Discrete):
        return _one_hot([int(value) - int(space.start)], [int(space.n)])
    if isinstance(space, spaces.MultiDiscrete):
        return _one_hot((np.asarray(value) - space.start).ravel(), space.nvec.ravel())
    if isinstance(space, spaces.MultiBinary):
        return (np.asarray(value, np.uint8) * _ON).ravel()
    if isinstance(space, spaces.Box) and space.dtype == np.uint8:
        return np.asarray(value, np.uint8).ravel()
    if isinstance(space, spaces.Box) and np.isfinite([space.low, space.high]).all():
        low, high = space.low.astype(np.float64), space.high.astype(np.float64)
        share = (np.asarray(value) - low) / np.maximum(high - low, np.finfo(np.float64).tiny)
        return (share.clip(0, 1) * _ON).round().astype(np.uint8).ravel()
    raise TaskError(
        f"encode is missing: there is no standard encoding of {space} for a student; pass "
        "encode=, a function from the observation to a uint8 array of one shape"
    )


def _one_hot(indices: Any, sizes: Any) -> Bytes:
    ends = np.cumsum(sizes)
    amounts = np.zeros(int(ends[-1]), np.uint8)
    amounts[ends - sizes + np.asarray(indices)] = _ON
    return amounts


def _leaves(space: gym.Space[Any]) -> Iterator[gym.Space[Any]]:
    """Yield a space's parts that are no containers, in a fixed order."""
    if isinstance(space, spaces.Dict):
        for part in space.values():
            yield from _leaves(part)
    elif isinstance(space, spaces.Tuple):
        for part in space.spaces:
            yield from _leaves(part)
    elif isinstance(space, _PACKED):
        yield space
    else:
        raise TaskError(f"elements of {space} have no fixed size; observations and views need one")


def _values(space: gym.Space[Any], element: Any) -> Iterator[tuple[gym.Space[Any], Any]]:
    """Yield a space's leaves with the element's values, in the order of `_leaves`."""
    try:
        if isinstance(space, spaces.Dict):
            for name, part in space.items():
                yield from _values(part, element[name])
        elif isinstance(space, spaces.Tuple):
            for part, value in zip(space.spaces, element, strict=True):
                yield from _values(part, value)
        else:
            yield from ((leaf, element) for leaf in _leaves(space))
    except (KeyError, TypeError, ValueError) as error:
        raise TaskError(f"{element!r} is no element of {space}: {error!r}") from None


def _size(space: gym.Space[Any]) -> int:
    if isinstance(space, spaces.Text):
        return space.max_length * _UTF32
    if isinstance(space, spaces.Discrete):
        return np.dtype(np.int64).itemsize
    assert space.dtype is not None and space.shape is not None
    return int(np.prod(space.shape)) * space.dtype.itemsize


def _to_bytes(space: gym.Space[Any], value: Any) -> bytes:
    if isinstance(space, spaces.Text):
        text = str(value).encode("utf-32-le")
        if len(text) > _size(space):
            raise TaskError(f"{value!r} has more than the {space.max_length} characters of {space}")
        return text.ljust(_size(space), b"\0")
    if isinstance(space, spaces.Discrete):
        return np.int64(value).tobytes()
    array = np.asarray(value, space.dtype)
    if array.shape != space.shape:
        raise TaskError(f"an observation has the shape {array.shape}, but its space {space.shape}")
    return array.tobytes()


def _from_bytes(space: gym.Space[Any], packed: bytes) -> tuple[Any, bytes]:
    """Return the element at the front, and the bytes after it."""
    if isinstance(space, spaces.Dict):
        named: dict[str, Any] = {}
        for name, part in space.items():
            named[name], packed = _from_bytes(part, packed)
        return named, packed
    if isinstance(space, spaces.Tuple):
        values = []
        for part in space.spaces:
            value, packed = _from_bytes(part, packed)
            values.append(value)
        return tuple(values), packed
    front, rest = packed[: _size(space)], packed[_size(space) :]
    if isinstance(space, spaces.Text):
        return front.decode("utf-32-le").rstrip("\0"), rest
    if isinstance(space, spaces.Discrete):
        return int(np.frombuffer(front, np.int64)[0]), rest
    return np.frombuffer(front, space.dtype).reshape(space.shape or ()), rest
