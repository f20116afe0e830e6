"""Habitat environments, many or one, over one or several workers, which may die."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from llm4teach.envs.habitat.client import HabitatWorker, WorkerGoneError, give_back
from llm4teach.envs.habitat.start import start_workers
from llm4teach.envs.habitat.worker import protocol
from llm4teach.envs.habitat.worker.layout import ACTIONS, MEASURES
from llm4teach.envs.habitat.worker.protocol import Message, StepResults
from llm4teach.envs.vector.serial import AUTORESET_METADATA, seeds_and_mask
from llm4teach.errors import TaskError

_MOST_RESTARTS = 3  # of one worker, without an answer in between
_logger = logging.getLogger(__name__)


class HabitatVectorEnv(gym.vector.VectorEnv[NDArray[np.uint8], NDArray[Any], NDArray[Any]]):
    """N environments behind the interface of `vector.serial.SerialVectorEnv`.

    A worker that dies, does not answer or sends nonsense is replaced. Its running episodes are
    truncated in that step, with reward 0 and their last observations.

    Args:
        settings: see `HabitatWorker`.
        n_envs: number of environments.
        workers: number of processes, at most one an environment.

    Raises:
        TaskError: there is no interpreter for the workers, they cannot make such environments, or
            one dies again and again; also in later calls.
    """

    metadata = AUTORESET_METADATA

    def __init__(self, settings: Mapping[str, Any], n_envs: int, workers: int = 1) -> None:
        self._settings, self.num_envs = dict(settings), n_envs
        self._rows = [part for part in np.array_split(np.arange(n_envs), workers) if len(part)]
        self._workers: list[HabitatWorker] = []  # also if none starts
        self._workers = start_workers(self._settings, [len(rows) for rows in self._rows])
        shape = self._workers[0].observation_shape
        self.single_observation_space = spaces.Box(0, 255, shape, np.uint8)
        self.single_action_space = spaces.Discrete(len(ACTIONS))
        self.observation_space = batch_space(self.single_observation_space, n_envs)
        self.action_space = batch_space(self.single_action_space, n_envs)
        self._observations = np.zeros((n_envs, *shape), np.uint8)
        self._measures = np.zeros((n_envs, len(MEASURES)))
        self._running = np.zeros(n_envs, np.bool_)
        self._lost = np.zeros(n_envs, np.bool_)  # ran, until their worker was gone
        self._restarts = [0] * len(self._workers)
        self.restarts = 0  # workers that were replaced

    def reset(
        self,
        *,
        seed: int | Sequence[int] | NDArray[np.integer[Any]] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        seeds, mask = seeds_and_mask(self, seed, options)
        self._running &= ~mask  # not any more, should a worker die now
        self._lost &= ~mask
        while (waiting := mask & ~self._running).any():
            for rows, results in self._ask(protocol.RESET, waiting, seeds):
                self._observations[rows] = results.observations
                self._measures[rows] = results.measures
                self._running[rows] = True
        return self._observations.copy(), {}

    def step(self, actions: NDArray[np.integer[Any]]) -> tuple[Any, ...]:
        """Act in every environment whose episode is running; actions are int (N,).

        Returns:
            Observations (N, *shape), rewards float64 (N,), terminated and truncated bool (N,), and
            as info ``measures``: habitat's by name, float64 (N,), of the episodes that end here.
        """
        n = self.num_envs
        rewards, terminated = np.zeros(n), np.zeros(n, np.bool_)
        truncated = np.zeros(n, np.bool_)
        for rows, results in self._ask(protocol.STEP, self._running, np.asarray(actions)):
            self._observations[rows], rewards[rows] = results.observations, results.rewards
            terminated[rows], truncated[rows] = results.terminated, results.truncated
            self._measures[rows] = results.measures
        truncated |= self._lost
        self._lost[:] = False
        self._running &= ~(terminated | truncated)
        info = {"measures": dict(zip(MEASURES, self._measures.T.copy(), strict=True))}
        return self._observations.copy(), rewards, terminated, truncated, info

    def _ask(
        self, kind: int, mask: NDArray[np.bool_], values: NDArray[np.integer[Any]]
    ) -> Iterator[tuple[NDArray[np.int64], StepResults]]:
        """Ask all workers at once about the environments of ``mask``.

        Yields:
            Each worker's answer, after the environments that it is about. A worker that gives none
            is replaced; what it ran is lost.
        """
        pending = []
        for number, own_rows in enumerate(self._rows):
            rows = own_rows[mask[own_rows]]
            if len(rows):
                request = protocol.pack_request(rows - own_rows[0], values[rows])
                try:
                    self._workers[number].send(Message(kind, payload=request))
                    pending.append((number, rows))
                except WorkerGoneError as error:
                    self._replace(number, error)
        for number, rows in pending:
            worker = self._workers[number]
            try:
                limit_s = worker.reset_s if kind == protocol.RESET else None
                payload, shape = worker.receive(limit_s).payload, worker.observation_shape
                results = protocol.unpack_results(payload, len(rows), shape, len(MEASURES))
            except (WorkerGoneError, protocol.ProtocolError) as error:
                self._replace(number, error)
            else:
                self._restarts[number] = 0
                yield rows, results

    def _replace(self, number: int, error: Exception) -> None:
        self._workers[number].close(patience_s=0.0)
        own_rows = self._rows[number]
        self._lost[own_rows] = self._running[own_rows]
        self._running[own_rows] = False
        self._restarts[number] += 1
        self.restarts += 1
        if self._restarts[number] > _MOST_RESTARTS:
            raise TaskError(
                f"the habitat worker {number + 1} of {len(self._workers)} failed "
                f"{self._restarts[number]} times in a row: {error}"
            )
        _logger.warning("a habitat worker is replaced, its episodes are truncated: %s", error)
        self._workers[number] = HabitatWorker(self._settings)
        self._workers[number].prepare(len(self._rows[number]))

    def render_one(self, row: int = 0) -> NDArray[np.uint8]:
        """Return a picture of one environment, uint8 (height, width, 3)."""
        number = next(i for i, rows in enumerate(self._rows) if row in rows)
        worker, first = self._workers[number], self._rows[number][0]
        place = np.array([row - first])
        worker.send(Message(protocol.RENDER, payload=protocol.pack_request(place, place)))
        answer = worker.receive()
        return np.frombuffer(answer.payload, np.uint8).reshape(answer.json["shape"])

    def close_extras(self, **kwargs: Any) -> None:
        """Leave the workers to others."""
        workers, self._workers = self._workers, []
        for worker in workers:
            give_back(worker)


class HabitatEnv(gym.Env[NDArray[np.uint8], int]):
    """A vector environment of one; ``env.reset(seed=s)`` determines its whole episode.

    Args:
        settings: see `client.HabitatWorker`.
        render_mode: ``rgb_array``, or None.

    Raises:
        TaskError: there is no interpreter with habitat-lab, or it cannot make the environment.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 8}  # noqa: RUF012  gymnasium's way

    def __init__(self, settings: Mapping[str, Any], render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self._envs = HabitatVectorEnv(settings, 1)
        self.observation_space = self._envs.single_observation_space
        self.action_space = self._envs.single_action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Start an episode; without a seed one is drawn."""
        super().reset(seed=seed)
        drawn = int(self.np_random.integers(1 << 30)) if seed is None else seed
        observations, info = self._envs.reset(seed=[drawn])
        return observations[0], info

    def step(self, action: int) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        """Act; when the episode ends, the info has habitat's measures by name."""
        observations, rewards, terminated, truncated, infos = self._envs.step(np.array([action]))
        info: dict[str, Any] = {}
        if terminated[0] or truncated[0]:
            info = {name: float(values[0]) for name, values in infos["measures"].items()}
        return observations[0], float(rewards[0]), bool(terminated[0]), bool(truncated[0]), info

    def render(self) -> NDArray[np.uint8] | None:  # type: ignore[override]
        """The world from above, uint8 (height, width, 3)."""
        return self._envs.render_one() if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Return the worker to the pool."""
        self._envs.close()
