"""Many episodes of a task side by side, each with its own seed, restorable in mid-episode."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llm4teach.envs.task import Observations, Task


class Step(NamedTuple):
    """What one step of `EpisodeVector` returns; every array has length n_envs."""

    observations: Observations  # after the automatic reset, where an episode ended
    rewards: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    final_observations: Observations  # what the action itself led to, before any reset


class EpisodeVector:
    """Environments stepped together; one that ends starts the next seed's episode at once.

    With a finite iterator of seeds, an environment without a further seed goes idle: ``active`` is
    False there and its rows repeat its last observation.
    """

    def __init__(self, task: Task, n_envs: int, seeds: Iterator[int]) -> None:
        self._envs = [task.make_env() for _ in range(n_envs)]
        self._seeds = seeds
        self.observations: Observations = np.zeros((n_envs, *task.observation_shape), np.uint8)
        self.seeds = np.full(n_envs, -1, np.int64)  # of the episodes that are running
        self.active = np.zeros(n_envs, np.bool_)
        self.episodes_started = 0
        self._actions: list[list[int]] = [[] for _ in range(n_envs)]
        for i in range(n_envs):
            self._start_next(i)

    def __len__(self) -> int:
        return len(self._envs)

    @property
    def steps_in_episode(self) -> NDArray[np.int64]:
        """How many steps each running episode has had, int64 (n_envs,)."""
        return np.array([len(actions) for actions in self._actions])

    def _start_next(self, i: int) -> None:
        seed = next(self._seeds, None)
        self.active[i] = seed is not None
        self._actions[i] = []
        if seed is not None:
            self.episodes_started += 1
            self.seeds[i] = seed
            self.observations[i], _ = self._envs[i].reset(seed=seed)

    def step(self, actions: NDArray[np.integer[Any]]) -> Step:
        """Act in every active environment; actions are int (n_envs,)."""
        n = len(self)
        rewards = np.zeros(n, np.float32)
        terminated, truncated = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
        final = self.observations.copy()
        for i in np.flatnonzero(self.active):
            action = int(actions[i])
            final[i], rewards[i], terminated[i], truncated[i], _ = self._envs[i].step(action)
            self._actions[i].append(action)
        self.observations = final.copy()
        for i in np.flatnonzero(terminated | truncated):
            self._start_next(int(i))
        return Step(self.observations.copy(), rewards, terminated, truncated, final)

    def state(self) -> list[dict[str, Any]]:
        """What `restore` needs, as plain JSON: each episode's seed and its actions so far."""
        return [
            {"seed": int(seed), "active": bool(active), "actions": actions.copy()}
            for seed, active, actions in zip(self.seeds, self.active, self._actions, strict=True)
        ]

    def restore(self, state: list[dict[str, Any]], seeds: Iterator[int], started: int) -> None:
        """Bring every episode back to where it was, by playing its actions again.

        ``seeds`` are those of the episodes after the ``started`` first ones.
        """
        self._seeds, self.episodes_started = seeds, started
        for i, saved in enumerate(state):
            self.seeds[i], self.active[i] = saved["seed"], saved["active"]
            self._actions[i] = list(saved["actions"])
            self.observations[i], _ = self._envs[i].reset(seed=saved["seed"])
            for action in saved["actions"]:
                self.observations[i], *_ = self._envs[i].step(action)
