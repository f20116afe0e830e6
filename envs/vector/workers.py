"""N environments over W worker processes, with observations and actions in shared memory.

Gymnasium's `AsyncVectorEnv` has a process for each environment and resets by itself, with seeds
that nobody chose; here a worker steps many environments, and episodes start by `reset` alone.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

_STEP, _RESET, _CLOSE, _DONE = b"step", b"reset", b"close", b"done"
_SECONDS_TO_END = 5.0


class WorkerError(RuntimeError):
    """A worker process failed or is gone; the message says which, and why."""


class _Shared(NamedTuple):
    """What parent and workers read and write; each worker only the rows of its environments."""

    observations: Any  # uint8, N times the observation
    rewards: Any  # float64 (N,)
    terminated: Any  # bool (N,), and so the next
    truncated: Any
    actions: Any  # int64 (N,), and so the next
    seeds: Any
    starts: Any  # bool (N,): whose episodes begin at the next reset

    def arrays(self, shape: tuple[int, ...]) -> list[NDArray[Any]]:
        """The same memory as numpy arrays, in this order."""
        types = (np.uint8, np.float64, np.bool_, np.bool_, np.int64, np.int64, np.bool_)
        flat: list[NDArray[Any]] = [
            np.frombuffer(raw, dtype) for raw, dtype in zip(self, types, strict=True)
        ]
        return [flat[0].reshape(-1, *shape), *flat[1:]]


class WorkerVectorEnv(gym.vector.VectorEnv[NDArray[np.uint8], NDArray[Any], NDArray[Any]]):
    """Plays exactly what the same environments play one after the other in one process.

    Episodes start by ``reset(seed=int (N,), options={"reset_mask": bool (N,)})``. One whose
    episode has ended, or never started, is not stepped: reward 0, both flags False, the last
    observation again. Arrays that are returned are new ones.

    Args:
        make: makes one environment with uint8 observations; it is pickled for the workers.
        n_envs: number of environments.
        workers: number of processes, at most one an environment.

    Raises:
        WorkerError: a worker failed, now or in any later call; the others are ended with it.
    """

    def __init__(self, make: Callable[[], gym.Env[Any, int]], n_envs: int, workers: int) -> None:
        example = make()
        self.num_envs = n_envs
        self.single_observation_space = example.observation_space
        self.single_action_space = example.action_space
        self.observation_space = batch_space(example.observation_space, n_envs)
        self.action_space = batch_space(example.action_space, n_envs)
        shape = example.observation_space.shape
        assert shape is not None and example.observation_space.dtype == np.uint8
        example.close()  # type: ignore[no-untyped-call]

        # A forked copy of a process with threads (torch, llama.cpp) may hang; a spawned one not.
        context = multiprocessing.get_context("spawn")
        sizes = [("B", n_envs * int(np.prod(shape))), ("d", n_envs), ("B", n_envs), ("B", n_envs)]
        sizes += [("q", n_envs), ("q", n_envs), ("B", n_envs)]
        shared = _Shared(*(context.RawArray(code, size) for code, size in sizes))
        (self._observations, self._rewards, self._terminated, self._truncated, *rest) = (
            shared.arrays(shape)
        )
        self._actions, self._seeds, self._starts = rest
        self._rows = [part for part in np.array_split(np.arange(n_envs), workers) if len(part)]
        self._pipes: list[Connection] = []
        self._processes = []
        for rows in self._rows:
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_work, args=(theirs, make, rows, shared, shape), daemon=True
            )
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)
        self._collect()

    def reset(
        self,
        *,
        seed: int | Sequence[int] | NDArray[np.integer[Any]] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Start episodes, all or those of ``options["reset_mask"]``, with a seed for each.

        A single seed is that of the first environment, the others follow.
        """
        n = self.num_envs
        seeds = self.np_random.integers(0, 1 << 30, n) if seed is None else np.asarray(seed)
        self._seeds[:] = seeds if seeds.ndim else seeds + np.arange(n)
        self._starts[:] = (options or {}).get("reset_mask", np.ones(n, np.bool_))
        self._ask(_RESET)
        return self._observations.copy(), {}

    def step(self, actions: NDArray[np.integer[Any]]) -> tuple[Any, ...]:
        """Act in every environment whose episode is running; actions are int (N,).

        Returns:
            Observations (N, *shape), rewards float64 (N,), terminated and truncated bool (N,), and
            no info.
        """
        self._actions[:] = actions
        self._ask(_STEP)
        flags = self._terminated.copy(), self._truncated.copy()
        return self._observations.copy(), self._rewards.copy(), *flags, {}

    def _ask(self, request: bytes) -> None:
        for pipe in self._pipes:
            with contextlib.suppress(OSError):  # whose process is gone; _collect says so
                pipe.send_bytes(request)
        self._collect()

    def _collect(self) -> None:
        """Wait until every worker has answered."""
        for number, (pipe, process) in enumerate(zip(self._pipes, self._processes, strict=True)):
            wait([pipe, process.sentinel])
            try:
                answer = pipe.recv_bytes()
            except (EOFError, OSError):
                process.join(_SECONDS_TO_END)
                answer = f"it is gone, with exit code {process.exitcode}".encode()
            if answer != _DONE:
                rows = self._rows[number]
                self.close()
                raise WorkerError(
                    f"worker {number + 1} of {len(self._rows)}, with the environments {rows[0]} to "
                    f"{rows[-1]}, failed: {answer.decode()}"
                )

    def close_extras(self, **kwargs: Any) -> None:
        for pipe in self._pipes:
            with contextlib.suppress(OSError):
                pipe.send_bytes(_CLOSE)
        for process in self._processes:
            process.join(_SECONDS_TO_END)
            if process.is_alive():
                process.terminate()


def _work(
    pipe: Connection,
    make: Callable[[], gym.Env[Any, int]],
    rows: NDArray[np.int64],
    shared: _Shared,
    shape: tuple[int, ...],
) -> None:
    """Run a worker: make its environments, then serve the parent's requests until `_CLOSE`."""
    try:
        observations, rewards, terminated, truncated, actions, seeds, starts = shared.arrays(shape)
        envs = {int(i): make() for i in rows}
        running = dict.fromkeys(envs, False)
        pipe.send_bytes(_DONE)
        while (request := pipe.recv_bytes()) != _CLOSE:
            for i, env in envs.items():
                if request == _RESET and starts[i]:
                    observations[i], _ = env.reset(seed=int(seeds[i]))
                    running[i] = True
                elif request == _STEP:
                    rewards[i], terminated[i], truncated[i] = 0.0, False, False
                    if running[i]:
                        observations[i], rewards[i], terminated[i], truncated[i], _ = env.step(
                            int(actions[i])
                        )
                        running[i] = not (terminated[i] or truncated[i])
            pipe.send_bytes(_DONE)
    except (EOFError, KeyboardInterrupt):
        pass  # the parent is gone, or ends everything
    except BaseException:
        pipe.send_bytes(traceback.format_exc().encode())
