"""The map with marks: a parser has read the mission, and marks the things that it is about."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from llm4teach.envs.minigrid.map_env import CHANNELS, NOTES, MapEnv
from llm4teach.envs.minigrid.parsed.missions import encode_mission
from llm4teach.envs.minigrid.parsed.progress import MissionProgress


class MarkedMapEnv(MapEnv):
    """Channel 4: 1 in seen cells that the mission's next step may be about, 2 for later steps.

    Channel 5: what is left of the mission, one token per cell.

    Raises:
        TaskError: this is no MiniGrid environment, or its mission is not understood.
    """

    def __init__(self, env: gym.Env[Any, int]) -> None:
        super().__init__(env)
        self._progress: MissionProgress

    def _begin(self) -> None:
        self._progress = MissionProgress(self._env)

    def _annotate(self, changed: bool) -> None:
        advanced = self._progress.update(self._things.values(), self._env.carrying)
        if advanced:
            self._write_words(encode_mission(self._progress.left))
        if changed or advanced:
            self._map[NOTES::CHANNELS] = bytes(self._width * self._height)
            for place, thing in self._things.items():
                self._map[place + NOTES] = self._progress.mark(thing)

    def _note_on_agent(self, note: int) -> int:
        carried = self._env.carrying
        return note if carried is None else self._progress.mark(carried)
