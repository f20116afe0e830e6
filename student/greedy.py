"""Greedy play that cannot run in circles: it remembers what it has tried in this episode."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from llm4teach.envs.task import Observations


class GreedyPlay:
    """Takes the likeliest action; where an observation comes back, actions take turns.

    An observation holds all that was seen, so one that comes back says that what was done since
    has led nowhere; in a world without chance the likeliest action would do so for ever. An action
    that was taken n times in this very observation counts ``p / (1 + n)`` (D'Hondt's method), so
    that the turns go by the policy's own probabilities and nothing absurd is tried.
    """

    def __init__(self) -> None:
        self._tried: dict[int, dict[bytes, NDArray[np.int64]]] = defaultdict(dict)

    def choose(
        self, probs: NDArray[np.float32], observations: Observations, envs: NDArray[np.intp]
    ) -> NDArray[np.int64]:
        """Return one action a row, int64 (n,).

        Args:
            probs: (n, n_actions).
            observations: uint8 (n, *observation_shape).
            envs: which environments these are, (n,).
        """
        actions: NDArray[np.int64] = probs.argmax(1)
        for i, env in enumerate(envs):
            tried = self._tried[int(env)]
            counts = tried.setdefault(observations[i].tobytes(), np.zeros(probs.shape[1], np.int64))
            actions[i] = (probs[i] / (1 + counts)).argmax()
            counts[actions[i]] += 1
        return actions

    def forget(self, env: int) -> None:
        """Begin a new episode in this environment."""
        self._tried.pop(env, None)
