"""Collecting trajectories under behavior policies, written part by part."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm4teach.datasets.storage.paths import StoragePath
from llm4teach.datasets.trajectories import write_steps
from llm4teach.envs.task import Observations, State, Task, describe, episode_success
from llm4teach.envs.vector.episodes import EpisodeVector, Step
from llm4teach.student.collection.behavior import NOISE, BehaviorPolicy
from llm4teach.student.collection.states import StateTable
from llm4teach.student.policies import sample

WRITE_EVERY = 4_096  # steps a part


@dataclass
class CollectReport:
    """What a collection did, in numbers."""

    steps: int = 0
    episodes_ended: int = 0
    successes: int = 0


class Collector:
    """Steps environments; one behavior policy controls each episode, with random actions added.

    Args:
        task: whose episodes.
        folder: where the parts go (one run's trajectories).
        run_id: stored with every step.
        n_envs: episodes side by side.
        action_epsilon: probability of a uniformly random action instead of the behavior policy's.
        seeds: of the episodes.
        rng: draws behavior policies, actions and noise.
        first_episode: id of the first episode.
        workers: processes that step the environments; see `EpisodeVector`.
    """

    def __init__(
        self,
        task: Task,
        folder: StoragePath,
        run_id: str,
        *,
        n_envs: int,
        action_epsilon: float,
        seeds: Iterator[int],
        rng: np.random.Generator,
        first_episode: int = 0,
        workers: int = 0,
    ) -> None:
        self._task, self._folder, self._run_id = task, folder, run_id
        self._action_epsilon, self._rng = action_epsilon, rng
        self._envs = EpisodeVector(task, n_envs, seeds, workers)
        self._episodes = first_episode + np.arange(n_envs)  # ids of the running episodes
        self._next_episode = first_episode + n_envs
        self._returns = np.zeros(n_envs)  # of the running episodes, so far
        self._columns: dict[str, list[Any]] = {}
        self._table = StateTable(folder)
        self._new_states: dict[str, State] = {}  # since the last part
        self._observations: list[Observations] = []

    def collect(
        self,
        steps: int,
        behaviors: Sequence[tuple[BehaviorPolicy, float]],
        on_steps: Callable[[int], None] = lambda steps: None,
    ) -> CollectReport:
        """Collect at most ``steps`` env steps (a multiple of n_envs).

        Args:
            steps: upper bound.
            behaviors: policies, each with the fraction of episodes that it controls.
            on_steps: called with the number of env steps after each batch of them.
        """
        fractions = np.array([fraction for _, fraction in behaviors])
        n = len(self._envs)

        def draw(count: int) -> NDArray[np.int64]:
            return self._rng.choice(len(behaviors), size=count, p=fractions / fractions.sum())

        report = CollectReport()
        chosen = draw(n)  # behavior policy of each environment, (n_envs,)
        for _ in range(steps // n):
            step = self._step([behavior for behavior, _ in behaviors], chosen)
            ended = step.terminated | step.truncated
            chosen[ended] = draw(int(ended.sum()))
            report.steps += n
            report.episodes_ended += int(ended.sum())
            self._returns += step.rewards
            succeeded = episode_success(self._task, step.terminated, self._returns)
            report.successes += int((succeeded & ended).sum())
            self._returns[ended] = 0
            on_steps(n)
            if len(self._observations) * n >= WRITE_EVERY:
                self.write()
        self.write()
        return report

    def _step(self, behaviors: Sequence[BehaviorPolicy], chosen: NDArray[np.int64]) -> Step:
        observations, started = self._envs.observations.copy(), self._envs.steps_in_episode == 0
        probs = np.zeros((len(chosen), len(self._task.action_names)), np.float32)
        labels = np.full(len(chosen), "", object)
        for i, behavior in enumerate(behaviors):
            envs = np.flatnonzero(chosen == i)
            if len(envs):
                probs[envs], labels[envs] = behavior.act(observations[envs], envs, started[envs])
        uniform = np.full_like(probs, 1 / probs.shape[1])
        noisy = self._rng.random(len(probs)) < self._action_epsilon
        actions = sample(np.where(noisy[:, None], uniform, probs), self._rng)
        epsilon = self._action_epsilon
        mixture = (1 - epsilon) * probs + epsilon * uniform  # (n_envs, n_actions)
        states = describe(self._task, observations)
        before = {"t": self._envs.steps_in_episode, "seed": self._envs.seeds.copy()}
        step = self._envs.step(actions)
        self._observations.append(observations)
        self._new_states.update({state.key: state for state in states})
        self._keep(
            {
                **before,
                "run_id": [self._run_id] * len(actions),
                "episode_id": self._episodes,
                "state_key": [state.key for state in states],
                "state_text": [state.text for state in states],
                "action": actions,
                "reward": step.rewards,
                "terminated": step.terminated,
                "truncated": step.truncated,
                "behavior": np.where(noisy, NOISE, labels),
                "action_logprob": np.log(mixture[np.arange(len(actions)), actions]),
            }
        )
        ended = step.terminated | step.truncated
        self._episodes[ended] = self._next_episode + np.arange(ended.sum())
        self._next_episode += int(ended.sum())
        return step

    def close(self) -> None:
        """End the environments' processes, if they have any."""
        self._envs.close()

    def _keep(self, rows: Mapping[str, Iterable[Any]]) -> None:
        for name, column in rows.items():
            self._columns.setdefault(name, []).extend(column)

    def write(self) -> None:
        """Store the steps collected since the last part."""
        if self._observations:
            self._table.add(self._new_states.values())
            write_steps(self._folder, self._columns, np.concatenate(self._observations))
            self._observations, self._columns, self._new_states = [], {}, {}
