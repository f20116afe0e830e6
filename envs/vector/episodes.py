"""Many episodes of a task side by side, each with its own seed, restorable in mid-episode."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm4teach.envs.task import Observations, Task


class Step(NamedTuple):
    """What one step of `EpisodeVector` returns; every array has length n_envs and is new."""

    observations: Observations  # after the automatic reset, where an episode ended
    rewards: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    final_observations: Observations  # what the action itself led to, before any reset


class EpisodeVector:
    """Environments stepped together; one that ends starts the next seed's episode at once.

    With a finite iterator of seeds, an environment without a further seed goes idle: ``active`` is
    False there and its rows repeat its last observation. Where no episode ends in a step,
    ``final_observations`` and ``observations`` are one array.

    Args:
        task: whose environments.
        n_envs: how many.
        seeds: of the episodes.
        workers: processes that step them, where that pays; 0 for this one. What is played is the
            same.
    """

    def __init__(self, task: Task, n_envs: int, seeds: Iterator[int], workers: int = 0) -> None:
        self.task, self._seeds, self._workers = task, seeds, workers
        self._envs = self._make(n_envs)
        self.observations: Observations = np.zeros((n_envs, *task.observation_shape), np.uint8)
        self.seeds = np.full(n_envs, -1, np.int64)  # of the episodes that are running
        self.active = np.zeros(n_envs, np.bool_)
        self.episodes_started = 0
        # Measures of the episodes that the last step ended, by name, (n_envs,).
        self.measures: dict[str, NDArray[np.float64]] = {}
        self._steps = np.zeros(n_envs, np.int64)
        self._actions = np.zeros((n_envs, task.max_steps), np.int8)  # the first _steps are valid
        self._rows = np.arange(n_envs)
        self._start(np.ones(n_envs, np.bool_))

    def __len__(self) -> int:
        return len(self.active)

    def _make(self, n_envs: int) -> gym.vector.VectorEnv[Any, Any, Any]:
        if self._workers:
            return self.task.make_worker_env(n_envs, self._workers)
        return self.task.make_vector_env(n_envs)

    def close(self) -> None:
        """End the workers, if any; the environments cannot be stepped any more."""
        self._envs.close()

    @property
    def steps_in_episode(self) -> NDArray[np.int64]:
        """How many steps each running episode has had, int64 (n_envs,)."""
        return self._steps.copy()

    def _start(self, ended: NDArray[np.bool_]) -> None:
        """Start the next seeds' episodes where ``ended``, in the order of the environments."""
        free = np.flatnonzero(ended)
        seeds = list(islice(self._seeds, len(free)))
        self._steps[free] = 0
        self.active[free[len(seeds) :]] = False
        if not seeds:
            return
        started = free[: len(seeds)]
        self.seeds[started], self.active[started] = seeds, True
        self.episodes_started += len(seeds)
        self._reset(started)

    def _reset(self, which: NDArray[np.integer[Any]]) -> None:
        mask = np.zeros(len(self), np.bool_)
        mask[which] = True
        self.observations, _ = self._envs.reset(
            seed=self.seeds,  # type: ignore[arg-type]  # one an environment; gymnasium types one in all
            options={"reset_mask": mask},
        )

    def step(self, actions: NDArray[np.integer[Any]]) -> Step:
        """Act in every active environment; actions are int (n_envs,)."""
        self._actions[self._rows, self._steps] = actions  # idle ones write into their first column
        self._steps += self.active
        final, rewards, terminated, truncated, info = self._envs.step(actions)
        self.observations, self.measures = final, info.get("measures", {})
        ended = terminated | truncated
        if np.count_nonzero(ended):
            self._start(ended)
        return Step(self.observations, rewards.astype(np.float32), terminated, truncated, final)

    def state(self) -> list[dict[str, Any]]:
        """What `restore` needs, as plain JSON: each episode's seed and its actions so far."""
        return [
            {"seed": int(seed), "active": bool(active), "actions": actions[:steps].tolist()}
            for seed, active, actions, steps in zip(
                self.seeds, self.active, self._actions, self._steps, strict=True
            )
        ]

    def restore(self, state: list[dict[str, Any]], seeds: Iterator[int], started: int) -> None:
        """Bring every episode back to where it was, by playing its actions again.

        ``seeds`` are those of the episodes after the ``started`` first ones. The observations of
        idle environments are not brought back.
        """
        self._seeds, self.episodes_started = seeds, started
        self._envs.close()
        self._envs = self._make(len(self))
        self.observations = np.zeros_like(self.observations)
        self.seeds[:] = [saved["seed"] for saved in state]
        self.active[:] = [saved["active"] for saved in state]
        self._steps[:] = [len(saved["actions"]) for saved in state]
        for row, saved in zip(self._actions, state, strict=True):
            row[: len(saved["actions"])] = saved["actions"]
        longest = int(self._steps.max())
        for t in range(longest + 1):  # an episode starts late enough for all to arrive together
            played = t - (longest - self._steps)  # actions that each has played by now
            if (starting := self.active & (played == 0)).any():
                self._reset(np.flatnonzero(starting))
            if t < longest:
                actions = self._actions[self._rows, np.maximum(played, 0)]
                self.observations, *_ = self._envs.step(actions)
