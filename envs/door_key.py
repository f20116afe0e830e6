"""SimpleDoorKey: find the key, find the door of the room, open it (arXiv 2311.13373, 4.1)."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from minigrid.core.constants import COLOR_NAMES
from minigrid.core.grid import Grid
from minigrid.core.world_object import Door, Key

from llm4teach.envs.fog_of_war import FogOfWarEnv

SIMPLE_DOOR_KEY_ID = "llm4teach/SimpleDoorKey-v0"


class SimpleDoorKeyEnv(FogOfWarEnv):
    """One room in the corner of a grid, one locked door in its outer wall, one matching key.

    Reward ``1 - 0.9 t / max_steps`` when a toggle opens the door, which ends the episode.
    """

    def __init__(
        self,
        min_room_size: int = 5,
        max_room_size: int = 10,
        agent_view_size: int = 3,
        max_steps: int = 150,
        **kwargs: Any,
    ) -> None:
        self.min_room_size, self.max_room_size = min_room_size, max_room_size
        super().__init__(
            mission="open the door",
            width=max_room_size,
            height=max_room_size,
            agent_view_size=agent_view_size,
            max_steps=max_steps,
            **kwargs,
        )

    def _gen_grid(self, width: int, height: int) -> None:
        self.grid = Grid(width, height)
        sizes = (self.min_room_size, self.max_room_size + 1)
        room = (self._rand_int(*sizes), self._rand_int(*sizes))
        self.grid.wall_rect(0, 0, *room)

        right, bottom = room[0] - 1, room[1] - 1
        along_x, along_y = self._rand_int(1, right), self._rand_int(1, bottom)
        sides = [(right, along_y), (along_x, bottom), (0, along_y), (along_x, 0)]
        colour = self._rand_elem(sorted(COLOR_NAMES))
        self.door = Door(colour, is_locked=True)
        self.put_obj(self.door, *self._rand_elem(sides))

        self.place_agent((0, 0), room)  # type: ignore[no-untyped-call]
        self.place_obj(Key(colour), (0, 0), room)

    def step(self, action: Any) -> Any:
        """Act; opening the door ends the episode with its reward."""
        obs, reward, terminated, truncated, info = super().step(action)
        if action == self.actions.toggle and self.door.is_open:
            reward, terminated, truncated = self._reward(), True, False
        return obs, reward, terminated, truncated, info


if SIMPLE_DOOR_KEY_ID not in gym.registry:
    gym.register(SIMPLE_DOOR_KEY_ID, entry_point=f"{__name__}:SimpleDoorKeyEnv")
