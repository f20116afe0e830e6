"""The paper's four rooms: find the key, find the door, open it (arXiv 2311.13373, section 4.1).

One environment serves them all; a `Room` says how they differ. Shifted rooms are for tests of
generalization and are never trained on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import gymnasium as gym
from minigrid.core.grid import Grid
from minigrid.core.world_object import Ball, Box, Door, Key, Lava

from llm4teach.envs.grid.fog_of_war import FogOfWarEnv

TRAINING_COLORS = ("blue", "green", "grey", "red")
UNSEEN_COLORS = ("purple", "yellow")


@dataclass(frozen=True)
class Room:
    """How a room is drawn; sizes are in cells, walls included."""

    min_size: int = 5
    max_size: int = 10
    grid_size: int = 10  # of the square map, in whose corner the room stands
    anywhere: bool = False  # the room stands anywhere on the map instead
    colors: tuple[str, ...] = TRAINING_COLORS
    keys: int = 1  # the first fits; the others have another color
    doors: int = 1  # two stand in opposite walls, and either ends the episode
    central_key: bool = False  # the key lies in the middle 2 x 2 cells
    lava: int = 0
    distractors: int = 0  # balls and boxes
    clear_doors: bool = True  # nothing but the agent stands before a door at the start
    view_size: int = 3
    max_steps: int = 150


ROOMS = {
    "SimpleDoorKey": Room(clear_doors=False),
    "ColoredDoorKey": Room(keys=2),
    "LavaDoorKey": Room(lava=1),
    "DivergedDoorKey": Room(min_size=20, max_size=20, grid_size=20, doors=2, central_key=True),
}


def shifted_rooms(name: str) -> dict[str, Room]:
    """The shifted variants of one of the four rooms, by what is new in them."""
    room = ROOMS[name]
    larger = room.max_size + 4
    shifts = {
        "colours": replace(room, colors=UNSEEN_COLORS),
        "sizes": replace(room, min_size=room.max_size + 1, max_size=larger, grid_size=larger),
        "positions": replace(room, central_key=False)
        if room.central_key
        else replace(room, max_size=8, anywhere=True),
        "distractors": replace(room, min_size=max(room.min_size, 7), distractors=2),
    }
    if room.lava:
        shifts["lava"] = replace(room, min_size=6, lava=2)
    return shifts


class DoorKeyEnv(FogOfWarEnv):
    """One room, locked doors in its outer wall, keys inside; opening a door ends the episode.

    Reward ``1 - 0.9 t / max_steps`` when a toggle opens a door.
    """

    def __init__(self, room: Room, **kwargs: Any) -> None:
        self.room = room
        super().__init__(
            mission="open the door",
            width=room.grid_size,
            height=room.grid_size,
            agent_view_size=room.view_size,
            max_steps=room.max_steps,
            **kwargs,
        )

    def _gen_grid(self, width: int, height: int) -> None:
        room = self.room
        self.grid = Grid(width, height)
        sizes = (room.min_size, room.max_size + 1)
        size = (self._rand_int(*sizes), self._rand_int(*sizes))
        corner = (0, 0)
        if room.anywhere:
            corner = (
                self._rand_int(0, width - size[0] + 1),
                self._rand_int(0, height - size[1] + 1),
            )
        self.grid.wall_rect(*corner, *size)

        colors = self._rand_subset(room.colors, room.keys)
        self.doors = self._place_doors(corner, size, colors[0])  # by their cells
        if room.central_key:
            middle = (side // 2 - 1 + self._rand_int(0, 2) for side in size)
            self.put_obj(Key(colors[0]), *middle)
        self.place_agent(corner, size)  # type: ignore[no-untyped-call]

        before_doors = self._cells_before_doors(corner, size) if room.clear_doors else []

        def blocks(env: Any, cell: Any) -> bool:
            return tuple(cell) in before_doors

        def blocks_or_at_wall(env: Any, cell: Any) -> bool:
            inner = all(c + 1 < x < c + s - 2 for x, c, s in zip(cell, corner, size, strict=True))
            return not inner or blocks(env, cell)

        for color in colors[room.central_key :]:
            self.place_obj(Key(color), corner, size, reject_fn=blocks)
        lava = Lava()  # type: ignore[no-untyped-call]
        for i in range(room.lava):  # a second obstacle at a wall could close off a corner
            self.place_obj(lava, corner, size, reject_fn=blocks_or_at_wall if i else blocks)
        for i in range(room.distractors):
            thing = (Ball, Box)[i % 2](self._rand_elem(room.colors))
            self.place_obj(thing, corner, size, reject_fn=blocks_or_at_wall)

    def _place_doors(
        self, corner: tuple[int, ...], size: tuple[int, int], color: str
    ) -> dict[tuple[int, int], Door]:
        """Put the doors into the walls: any wall for one, opposite walls for two."""
        far = [c + s - 1 for c, s in zip(corner, size, strict=True)]
        first = self._rand_int(0, 4)  # right, bottom, left, top
        doors: dict[tuple[int, int], Door] = {}
        for wall in (first, (first + 2) % 4)[: self.room.doors]:
            along_x = self._rand_int(corner[0] + 1, far[0])
            along_y = self._rand_int(corner[1] + 1, far[1])
            cells = (
                (far[0], along_y),
                (along_x, far[1]),
                (corner[0], along_y),
                (along_x, corner[1]),
            )
            doors[cells[wall]] = Door(color, is_locked=True)
            self.put_obj(doors[cells[wall]], *cells[wall])
        return doors

    def _cells_before_doors(
        self, corner: tuple[int, ...], size: tuple[int, int]
    ) -> list[tuple[int, ...]]:
        """The cell inside the room before each door."""

        def clamp(door: int, start: int, side: int) -> int:
            return min(max(door, start + 1), start + side - 2)

        return [tuple(map(clamp, door, corner, size)) for door in self.doors]

    def step(self, action: Any) -> Any:
        """Act; opening a door ends the episode with its reward."""
        obs, reward, terminated, truncated, info = super().step(action)
        if action == self.actions.toggle and any(door.is_open for door in self.doors.values()):
            reward, terminated, truncated = self._reward(), True, False
        return obs, reward, terminated, truncated, info


def _register(name: str, room: Room) -> None:
    if env_id(name) not in gym.registry:
        gym.register(env_id(name), entry_point=f"{__name__}:DoorKeyEnv", kwargs={"room": room})


def env_id(name: str) -> str:
    """The gymnasium id of one of these environments; a shifted one is ``LavaDoorKey-colours``."""
    return f"llm4teach/{name}-v0"


for _name, _room in ROOMS.items():
    _register(_name, _room)
    for _shift, _shifted in shifted_rooms(_name).items():
        _register(f"{_name}-{_shift}", _shifted)
