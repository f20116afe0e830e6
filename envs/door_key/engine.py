"""The rooms of rooms.py by the thousand: a vector environment without Python for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from llm4teach.envs.door_key.engine_kernel import (
    EMPTY,
    N_ACTIONS,
    Rooms,
    reset_rooms,
    room_numbers,
    step_rooms,
)
from llm4teach.envs.door_key.rooms import Room
from llm4teach.envs.vector.serial import AUTORESET_METADATA, seeds_and_mask

Arrays = tuple[
    NDArray[np.uint8], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]
]


class DoorKeyVectorEnv(gym.vector.VectorEnv[NDArray[np.uint8], NDArray[Any], NDArray[Any]]):
    """Step for step what `DoorKeyEnv` does, for N rooms at once.

    Episodes start by `reset` alone. A room whose episode has ended, or never started, stays as it
    is: its reward is 0, both flags are False, its observation is the last one.
    """

    metadata = AUTORESET_METADATA

    def __init__(self, room: Room, num_envs: int) -> None:
        self.num_envs, self.room = num_envs, room
        shape = (room.grid_size, room.grid_size, 4)
        self.single_observation_space = gym.spaces.Box(0, 255, shape, np.uint8)
        self.single_action_space = gym.spaces.Discrete(N_ACTIONS)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._room = room_numbers(room)
        hands = np.zeros((num_envs, 3), np.uint8)
        hands[:, 0] = EMPTY
        self._rooms = Rooms(
            np.zeros((num_envs, *shape), np.uint8),
            np.zeros((num_envs, 3), np.int64),
            hands,
            np.zeros(num_envs, np.int64),
            np.zeros(num_envs, np.bool_),
            np.zeros((num_envs, *shape), np.uint8),
        )

    def reset(
        self,
        *,
        seed: int | Sequence[int] | NDArray[np.integer[Any]] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Start episodes; see `vector.serial.seeds_and_mask` for the arguments.

        Returns:
            All observations, uint8 (N, width, height, 4), and no info.
        """
        seeds, mask = seeds_and_mask(self, seed, options)
        which = np.flatnonzero(mask)
        reset_rooms(self._rooms, which, seeds[which], *self._room, self.room.view_size)
        return self._rooms.maps.copy(), {}

    def step(self, actions: NDArray[np.integer[Any]]) -> Arrays:
        """Act in every room whose episode is running.

        Args:
            actions: int (N,), MiniGrid's seven.

        Returns:
            Observations uint8 (N, width, height, 4), rewards float64 (N,), terminated and truncated
            bool (N,), and no info; all of them new arrays.

        Raises:
            ValueError: an action is none of the seven, or there are not N of them.
        """
        acts = np.asarray(actions, np.int64)
        rewards = np.empty(self.num_envs)
        terminated = np.empty(self.num_envs, np.bool_)
        truncated = np.empty(self.num_envs, np.bool_)
        if acts.shape != (self.num_envs,) or not step_rooms(
            self._rooms,
            acts,
            self.room.view_size,
            self.room.max_steps,
            rewards,
            terminated,
            truncated,
        ):
            raise ValueError(
                f"{self.num_envs} actions from 0 to {N_ACTIONS - 1} are needed; got {actions!r}"
            )
        return self._rooms.maps.copy(), rewards, terminated, truncated, {}
