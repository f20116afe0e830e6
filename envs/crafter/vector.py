"""Crafter's environments: the engine's worlds with the teacher's memory of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from llm4teach.envs.crafter.engine import LANES, Engine, Scene
from llm4teach.envs.crafter.symbols import (
    ACHIEVEMENTS,
    ACTIONS,
    DONE,
    PIXEL_SHAPE,
    PIXELS,
    RECORD,
    SYMBOLS,
)
from llm4teach.envs.vector.serial import AUTORESET_METADATA, seeds_and_mask

MAX_STEPS = 10_000
COUNT = "achievements"  # measure: how many are unlocked; the others have the achievements' names
_ZOOM = 8  # pixels of a frame for each that the student sees
_SEEDS = 1 << 32
_SPACE = gym.spaces.Box(0, 255, (RECORD,), np.uint8)


class CrafterVectorEnv(gym.vector.VectorEnv[NDArray[np.uint8], NDArray[Any], NDArray[Any]]):
    """N worlds; an episode is the same whatever is played beside it.

    Episodes start by `reset` alone. A world whose episode has ended, or never started, stays as it
    is: its reward is 0, both flags are False, its observation is the last one.

    Raises:
        TaskError: craftax is not installed.
    """

    metadata = AUTORESET_METADATA

    def __init__(self, num_envs: int) -> None:
        from llm4teach.envs.crafter.memory_kernel import remember  # these import numba
        from llm4teach.envs.crafter.pixels_kernel import show

        self.num_envs, self._remember, self._show = num_envs, remember, show
        self.single_observation_space = _SPACE
        self.single_action_space = gym.spaces.Discrete(len(ACTIONS))
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._engines = [Engine() for _ in range(0, num_envs, LANES)]
        lanes = len(self._engines) * LANES
        self._actions = np.zeros(lanes, np.int64)
        self._symbols = np.zeros((num_envs, SYMBOLS), np.uint8)
        self._records = np.zeros((num_envs, RECORD), np.uint8)
        self._steps = np.zeros(num_envs, np.int64)
        self._running = np.zeros(num_envs, np.bool_)

    def reset(
        self,
        *,
        seed: int | Sequence[int] | NDArray[np.integer[Any]] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Start episodes; see `vector.serial.seeds_and_mask` for the arguments.

        Returns:
            All observations, uint8 (N, RECORD), and no info.
        """
        seeds, mask = seeds_and_mask(self, seed, options)
        for i in np.flatnonzero(mask):
            engine, lane = self._engines[i // LANES], int(i) % LANES
            scene = engine.start(lane, int(seeds[i]) % _SEEDS)
            self._draw(engine, scene, slice(i, i + 1), mask[i : i + 1])
        self._remember(self._records, self._symbols, self._actions, mask, True)
        self._steps[mask], self._running[mask] = 0, True
        return self._records.copy(), {}

    def step(self, actions: NDArray[np.integer[Any]]) -> tuple[Any, ...]:
        """Act in every world whose episode is running; actions are int (N,).

        Returns:
            Observations uint8 (N, RECORD), rewards float64 (N,), terminated and truncated bool
            (N,), and as info ``measures``: by name, float64 (N,), which achievements are unlocked,
            and how many. All are new arrays.

        Raises:
            ValueError: an action is none of the 17, or there are not N of them.
        """
        n, running = self.num_envs, self._running.copy()
        acts = np.asarray(actions, np.int64)
        if acts.shape != (n,) or not ((acts >= 0) & (acts < len(ACTIONS))).all():
            raise ValueError(
                f"{n} actions from 0 to {len(ACTIONS) - 1} are needed; got {actions!r}"
            )
        self._actions[:n] = acts
        rewards, over = np.zeros(n), np.zeros(n, np.bool_)
        for k, engine in enumerate(self._engines):
            rows = slice(k * LANES, min((k + 1) * LANES, n))
            if not running[rows].any():
                continue
            moment = engine.step(self._actions[k * LANES : (k + 1) * LANES])
            play = running[rows]  # (lanes in use,)
            used = len(play)
            rewards[rows] = moment.rewards[:used] * play
            over[rows] = moment.over[:used] & play
            self._draw(engine, moment.scene, rows, play)
        self._remember(self._records, self._symbols, self._actions, running, False)
        self._steps += running
        truncated = running & ~over & (self._steps >= MAX_STEPS)
        self._running &= ~(over | truncated)
        return self._records.copy(), rewards, over, truncated, {"measures": self._measures()}

    def _draw(self, engine: Engine, scene: Scene, rows: slice, which: NDArray[np.bool_]) -> None:
        """Write the symbols and pixels of the rows that are chosen."""
        symbols, records = self._symbols[rows], self._records[rows]
        self._show(*scene, which, engine.textures, symbols, records)

    def _measures(self) -> dict[str, NDArray[np.float64]]:
        first = PIXELS + DONE
        done = self._records[:, first : first + len(ACHIEVEMENTS)].astype(np.float64)  # (N, 22)
        return {**dict(zip(ACHIEVEMENTS, done.T, strict=True)), COUNT: done.sum(1)}


class CrafterEnv(gym.Env[NDArray[np.uint8], int]):
    """One world, with the interface of gymnasium."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012  gymnasium's way

    def __init__(self, render_mode: str | None = None) -> None:
        self._envs = CrafterVectorEnv(1)
        self.render_mode = render_mode
        self.observation_space = self._envs.single_observation_space
        self.action_space = self._envs.single_action_space
        self._observation = np.zeros(RECORD, np.uint8)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Start an episode that the seed determines."""
        super().reset(seed=seed)
        if seed is None:
            seed = int(self.np_random.integers(1 << 30))
        observations, info = self._envs.reset(seed=np.array([seed]))
        self._observation = observations[0]
        return self._observation, info

    def step(self, action: int) -> Any:
        """Act; when the episode ends, the info has the measures by name."""
        observations, rewards, terminated, truncated, infos = self._envs.step(np.array([action]))
        self._observation = observations[0]
        info: dict[str, Any] = {}
        if terminated[0] or truncated[0]:
            info = {name: float(values[0]) for name, values in infos["measures"].items()}
        return self._observation, float(rewards[0]), bool(terminated[0]), bool(truncated[0]), info

    def render(self) -> NDArray[np.uint8] | None:  # type: ignore[override]
        """What the student sees, enlarged, uint8 (504, 504, 3)."""
        if self.render_mode != "rgb_array":
            return None
        pixels = self._observation[:PIXELS].reshape(PIXEL_SHAPE)
        return pixels.repeat(_ZOOM, axis=0).repeat(_ZOOM, axis=1)
