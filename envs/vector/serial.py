"""A vector environment over single ones, one after the other: what any task has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from llm4teach.envs.task import Task

_AUTORESET = getattr(gym.vector, "AutoresetMode", None)  # since gymnasium 1.1
AUTORESET_METADATA: dict[str, Any] = {"autoreset_mode": _AUTORESET.DISABLED} if _AUTORESET else {}


class SerialVectorEnv(gym.vector.VectorEnv[NDArray[np.uint8], NDArray[Any], NDArray[Any]]):
    """N environments with array observations, behind the interface of `engine.DoorKeyVectorEnv`.

    Episodes start by `reset` alone. An environment whose episode has ended, or never started, is
    not stepped: its reward is 0, both flags are False, its observation is the last one.
    """

    metadata = AUTORESET_METADATA

    def __init__(self, envs: Sequence[gym.Env[Any, int]]) -> None:
        self.envs, self.num_envs = list(envs), len(envs)
        self.single_observation_space = self.envs[0].observation_space
        self.single_action_space = self.envs[0].action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        space = self.single_observation_space
        self._observations = np.zeros((self.num_envs, *(space.shape or ())), space.dtype)
        self._running = [False] * self.num_envs

    def reset(
        self,
        *,
        seed: int | Sequence[int] | NDArray[np.integer[Any]] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        seeds, mask = seeds_and_mask(self, seed, options)
        for i in np.flatnonzero(mask):
            self._observations[i], _ = self.envs[i].reset(seed=int(seeds[i]))
            self._running[i] = True
        return self._observations.copy(), {}

    def step(self, actions: NDArray[np.integer[Any]]) -> tuple[Any, ...]:
        """Act in every environment whose episode is running; actions are int (N,).

        Returns:
            Observations (N, *shape), rewards float64 (N,), terminated and truncated bool (N,), and
            no info; all of them new arrays.
        """
        rewards = np.zeros(self.num_envs)
        terminated = np.zeros(self.num_envs, np.bool_)
        truncated = np.zeros(self.num_envs, np.bool_)
        for i, env in enumerate(self.envs):
            if self._running[i]:
                self._observations[i], rewards[i], ended, cut, _ = env.step(int(actions[i]))
                terminated[i], truncated[i] = ended, cut
                self._running[i] = not (ended or cut)
        return self._observations.copy(), rewards, terminated, truncated, {}

    def close_extras(self, **kwargs: Any) -> None:
        for env in self.envs:
            env.close()  # type: ignore[no-untyped-call]


def serial_vector_env(task: Task, n_envs: int) -> SerialVectorEnv:
    """Return the vector environment that any task can have."""
    return SerialVectorEnv([task.make_env() for _ in range(n_envs)])


def seeds_and_mask(
    envs: Any,
    seed: int | Sequence[int] | NDArray[np.integer[Any]] | None,
    options: dict[str, Any] | None,
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Read the arguments of ``VectorEnv.reset``.

    Args:
        envs: the vector environment.
        seed: one for each environment, int (N,); or that of the first, the others follow; or None,
            to draw them from the vector environment's own generator.
        options: ``{"reset_mask": bool (N,)}`` says which episodes start; all by default. The seeds
            of the others are not used.

    Returns:
        Seeds int64 (N,) and the mask, bool (N,).

    Raises:
        ValueError: one of them has another shape, or a seed that is used is negative.
    """
    n = envs.num_envs
    mask = np.ones(n, np.bool_)
    if options and "reset_mask" in options:
        mask = np.asarray(options["reset_mask"], np.bool_)
    if seed is None:
        seeds = envs.np_random.integers(0, 1 << 30, n)
    else:
        seeds = np.asarray(seed, np.int64)
        seeds = seeds + np.arange(n) if seeds.ndim == 0 else seeds
    if seeds.shape != (n,) or mask.shape != (n,):
        raise ValueError(
            f"{n} environments need {n} seeds and a mask of {n}; got {seeds.shape} {mask.shape}"
        )
    if (seeds[mask] < 0).any():
        raise ValueError(f"seeds are 0 or more; got {seeds[mask].min()}")
    return seeds, mask
