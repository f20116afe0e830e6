"""Collecting trajectories under behavior policies, written part by part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm4teach.datasets.storage.paths import StoragePath
from llm4teach.datasets.trajectories import Trajectories, write_steps
from llm4teach.envs.task import State, Task, describe
from llm4teach.envs.vector.episodes import EpisodeVector, Step
from llm4teach.student.collection.behavior import NOISE
from llm4teach.student.collection.states import StateTable
from llm4teach.student.policies import BehaviorPolicy, sample

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
        stored: steps of the run that are stored already.
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
        stored: int = 0,
        workers: int = 0,
    ) -> None:
        self._task, self._folder, self._run_id = task, folder, run_id
        self._action_epsilon, self._rng = action_epsilon, rng
        self._envs = EpisodeVector(task, n_envs, seeds, workers)
        self._episodes = first_episode + np.arange(n_envs)  # ids of the running episodes
        self._next_episode = first_episode + n_envs
        self._returns = np.zeros(n_envs)  # of the running episodes, so far
        self._chosen: NDArray[np.int64] | None = None  # behavior policy of each environment
        self._report, self._stored = CollectReport(), stored
        self._columns: dict[str, list[NDArray[Any]]] = {}  # an array (n_envs,) for each step
        self._table = StateTable(folder)
        self._new_states: dict[str, State] = {}  # since the last part
        # Of the next part, one environment after the other: an observation is much like the one
        # before it, so they compress faster, and to less. One array for all parts, since pages of
        # memory that are new to the process take longer than what is written to them.
        steps = -(-WRITE_EVERY // n_envs)
        self._observations = np.empty((n_envs, steps, *task.observation_shape), np.uint8)
        self._kept = 0  # steps of each environment

    def collect(
        self,
        steps: int,
        behaviors: Sequence[tuple[BehaviorPolicy, float]],
        on_steps: Callable[[int], None] = lambda steps: None,
    ) -> CollectReport:
        """Collect at most ``steps`` env steps (a multiple of n_envs), after what was restored.

        Each part carries the state from which `restore` continues, so that a collection that was
        killed stores the same steps in the end.

        Args:
            steps: upper bound.
            behaviors: policies, each with the fraction of episodes that it controls.
            on_steps: called with the number of env steps after each batch of them.

        Returns:
            Numbers that include what the restored collection had done.
        """
        fractions = np.array([fraction for _, fraction in behaviors])
        policies = [behavior for behavior, _ in behaviors]
        n = len(self._envs)

        def draw(count: int) -> NDArray[np.int64]:
            return self._rng.choice(len(behaviors), size=count, p=fractions / fractions.sum())

        report = self._report
        if self._chosen is None:
            self._chosen = draw(n)
        chosen = self._chosen  # (n_envs,)
        for left in reversed(range(steps // n)):
            step = self._step(policies, chosen)
            ended = step.terminated | step.truncated
            chosen[ended] = draw(int(ended.sum()))
            report.steps += n
            report.episodes_ended += int(ended.sum())
            self._returns += step.rewards
            succeeded = self._task.is_success(step.terminated, self._returns)
            report.successes += int((succeeded & ended).sum())
            self._returns[ended] = 0
            on_steps(n)
            if left and self._kept == self._observations.shape[1]:
                self._write(self._state(policies))
        self._write({})
        return report

    def _state(self, policies: Sequence[BehaviorPolicy]) -> dict[str, Any]:
        """What `restore` needs beside the stored steps, as plain JSON."""
        assert self._chosen is not None
        return {
            "rng": self._rng.bit_generator.state,
            "chosen": self._chosen.tolist(),
            "episodes": self._episodes.tolist(),
            "next_episode": self._next_episode,
            "seeds": self._envs.seeds.tolist(),
            "returns": self._returns.tolist(),
            "behaviors": [policy.state() for policy in policies],
        }

    def restore(
        self,
        state: Mapping[str, Any],
        stored: Trajectories,
        seeds: Iterator[int],
        policies: Sequence[BehaviorPolicy],
    ) -> None:
        """Continue a collection that was killed, at the end of its last part.

        Args:
            state: that this part carries (`collection_state`).
            stored: the run's steps.
            seeds: of the episodes from ``state["next_episode"]`` on.
            policies: those of the collection, new ones.
        """
        self._rng.bit_generator.state = state["rng"]
        self._chosen = np.array(state["chosen"], np.int64)
        self._episodes = np.array(state["episodes"])
        self._next_episode, self._returns = state["next_episode"], np.array(state["returns"])
        self._report = CollectReport(**state["report"])
        ids, actions = stored.column("episode_id"), stored.column("action")
        first, end = (np.searchsorted(ids, self._episodes, side) for side in ("left", "right"))
        running = [
            {"seed": seed, "active": True, "actions": actions[i:j].tolist()}
            for seed, i, j in zip(state["seeds"], first, end, strict=True)
        ]
        self._envs.restore(running, seeds, self._next_episode)
        for policy, own in zip(policies, state["behaviors"], strict=True):
            policy.restore(own)

    def _step(self, behaviors: Sequence[BehaviorPolicy], chosen: NDArray[np.int64]) -> Step:
        observations, started = self._envs.observations, self._envs.steps_in_episode == 0
        probs = np.zeros((len(chosen), len(self._task.action_names)), np.float32)
        labels = np.full(len(chosen), "", object)
        states = describe(self._task, observations)
        for i, behavior in enumerate(behaviors):
            envs = np.flatnonzero(chosen == i)
            if len(envs):
                seen = observations if len(envs) == len(chosen) else observations[envs]
                probs[envs], labels[envs] = behavior.act(
                    seen, envs, started[envs], [states[k] for k in envs]
                )
        uniform = np.full_like(probs, 1 / probs.shape[1])
        noisy = self._rng.random(len(probs)) < self._action_epsilon
        actions = sample(np.where(noisy[:, None], uniform, probs), self._rng)
        epsilon = self._action_epsilon
        mixture = (1 - epsilon) * probs + epsilon * uniform  # (n_envs, n_actions)
        before = {"t": self._envs.steps_in_episode, "seed": self._envs.seeds.copy()}
        step = self._envs.step(actions)
        self._observations[:, self._kept] = observations
        self._kept += 1
        self._new_states.update({state.key: state for state in states})
        self._keep(
            {
                **before,
                "run_id": np.full(len(actions), self._run_id, object),
                "episode_id": self._episodes.copy(),
                "state_key": np.array([state.key for state in states], object),
                "state_text": np.array([state.text for state in states], object),
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

    def _keep(self, rows: Mapping[str, NDArray[Any]]) -> None:
        for name, column in rows.items():
            self._columns.setdefault(name, []).append(column)

    def _write(self, state: Mapping[str, Any]) -> None:
        """Store the steps collected since the last part; without a state, they are the last."""
        if self._kept:
            shape = self._observations.shape[2:]
            observations = self._observations[:, : self._kept].reshape(-1, *shape)
            columns = {
                name: np.stack(column, axis=1).ravel()  # (n_envs, steps), then one after the other
                for name, column in self._columns.items()
            }
            self._stored += len(observations)
            progress = {"stored": self._stored, "report": asdict(self._report)}
            self._table.add(self._new_states.values())
            write_steps(self._folder, columns, observations, {**progress, **state})
            self._kept, self._columns, self._new_states = 0, {}, {}
