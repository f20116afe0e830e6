"""A recorded episode as its source has it, with what is wrong with its values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Episode:
    """One recorded episode of T steps, not checked against a task yet.

    Where ``problems`` is not empty, the other values are not to be used.
    """

    name: str  # as the source calls it
    actions: NDArray[Any]  # (T,)
    rewards: NDArray[Any]  # (T,)
    terminated: NDArray[np.bool_]  # (T,)
    truncated: NDArray[np.bool_]  # (T,)
    seed: int | None = None
    observations: NDArray[Any] | None = None  # (T, ...): before each action
    behaviors: list[str] | None = None
    logprobs: NDArray[np.float32] | None = None
    rows: NDArray[np.int64] | None = None  # (T,): of the source's file, from 1
    problems: tuple[str, ...] = ()  # values that are missing or cannot be what they should be
    unusable: str = ""  # what its observations are, if they are no arrays of numbers
