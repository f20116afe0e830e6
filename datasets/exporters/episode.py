"""An episode with the teacher's advice, as the exporters write it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Layout:
    """What all episodes of an export have in common."""

    observation_shape: tuple[int, ...]  # of the student's observations
    record_shape: tuple[int, ...] | None  # of all that is recorded; None: the same
    action_names: tuple[str, ...]
    plans: tuple[str, ...]  # all that the teacher advises anywhere


@dataclass(frozen=True)
class AdvisedEpisode:
    """One episode of T steps, and what is known of its L moments.

    L is T + 1 where the observation after the last step is known, else T: moment t is the one
    before step t.
    """

    run_id: str
    number: int  # in its run
    seed: int | None
    actions: NDArray[np.int8]  # (T,)
    rewards: NDArray[np.float32]  # (T,)
    terminated: NDArray[np.bool_]  # (T,)
    truncated: NDArray[np.bool_]  # (T,)
    behaviors: Sequence[str]  # (T,): name of the behavior policy
    action_logprobs: NDArray[np.float32]  # (T,) nats, under the behavior policy; nan: unknown
    observations: NDArray[np.uint8]  # (L, *observation_shape): the student's
    records: NDArray[np.uint8] | None  # (L, *record_shape)
    state_keys: Sequence[str]  # (L,)
    state_texts: Sequence[str]  # (L,)
    plan_probs: NDArray[np.float64]  # (L, n_plans): the advice; a row of zeros: none
    teacher_probs: NDArray[np.float32]  # (L, n_actions): grounded; a row of zeros: none can act

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def has_final(self) -> bool:
        """Whether the observation after the last step is known."""
        return len(self.observations) > len(self.actions)


class Writer(Protocol):
    """Writes episodes into a folder that nobody reads yet."""

    def write(self, episodes: Sequence[AdvisedEpisode]) -> None:
        """Append episodes."""
        ...

    def close(self) -> None:
        """Finish the files, or let go of unfinished ones."""
        ...
