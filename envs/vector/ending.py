"""What an episode's last action led to: trajectories hold what was seen before each action."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from llm4teach.envs.task import Observations, Task


class Played(NamedTuple):
    """An episode of T steps, or the first T steps of one."""

    seed: int
    actions: NDArray[np.integer]  # (T,)
    observations: Observations  # (T, *observation_shape): before each action


class Replayer:
    """Plays episodes again, side by side, for the observation after their last step.

    Args:
        task: whose episodes.
        n_envs: how many are played side by side.
    """

    def __init__(self, task: Task, n_envs: int) -> None:
        self.n_envs = n_envs
        self._envs = task.make_vector_env(n_envs)

    def final_observations(self, episodes: Sequence[Played]) -> list[NDArray[np.uint8] | None]:
        """Return what each episode's last action led to, uint8 (*observation_shape).

        None where the environment shows something else than what is stored, on the way there.

        Args:
            episodes: at most ``n_envs`` of them.
        """
        n = len(episodes)
        mask = np.arange(self.n_envs) < n
        seeds = np.zeros(self.n_envs, np.int64)
        seeds[:n] = [episode.seed for episode in episodes]
        options = {"reset_mask": mask}
        seen, _ = self._envs.reset(seed=seeds, options=options)  # type: ignore[arg-type]
        found: list[NDArray[np.uint8] | None] = [None] * n
        following = set(range(n))  # episodes that have been the same so far
        for t in range(1 + max(len(episode.actions) for episode in episodes)):
            actions = np.zeros(self.n_envs, np.int64)
            for i in sorted(following):
                episode = episodes[i]
                if t == len(episode.actions):
                    found[i] = seen[i].copy()
                    following.discard(i)
                elif np.array_equal(seen[i], episode.observations[t]):
                    actions[i] = episode.actions[t]
                else:
                    following.discard(i)
            if not following:
                break
            seen, *_ = self._envs.step(actions)
        return found

    def close(self) -> None:
        """Close the environments."""
        self._envs.close()
