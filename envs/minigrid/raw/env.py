"""The map beside the mission's own words, which nothing here reads."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import gymnasium as gym
from minigrid.core.constants import COLOR_TO_IDX
from minigrid.core.world_object import Door
from minigrid.envs.babyai.core.roomgrid_level import RoomGridLevel

from llm4teach.envs.minigrid.instructions import clauses_of
from llm4teach.envs.minigrid.map_env import NOTES, MapEnv
from llm4teach.envs.minigrid.words import SEPARATOR, encode_words, words_of

START = 8  # the note on the cell where the episode started: this plus the heading there
ON_DOOR = 16  # the note on the agent's cell while it stands in a door: this plus the door's color


class WordedMapEnv(MapEnv):
    """Channel 4 notes where the episode started, and the door that hides under the agent.

    `START` plus the first heading in the cell where the episode started, `ON_DOOR` plus the door's
    color in the agent's cell while it stands in a door; else 0.

    Channel 5: the mission's words, one token per cell. Of BabyAI's missions of several clauses, a
    separator and the words of each clause that BabyAI counts as done follow.
    """

    def __init__(self, env: gym.Env[Any, int]) -> None:
        super().__init__(env)
        self._clauses: list[str] = []  # of a mission of several, in the account's order
        self._done: list[bool] | None = None  # None: no words are written yet

    def _begin(self) -> None:
        x, y = map(int, self._env.agent_pos)
        self._map[self._place(x, y) + NOTES] = START + int(self._env.agent_dir)
        # Their words are made now: later they would describe what has been moved.
        self._clauses = [leaf.surface(self._env) for leaf, _ in self._account()]
        self._done = None

    def _annotate(self, changed: bool) -> None:
        done = [is_done for _, is_done in self._account()]
        if done == self._done:
            return
        self._done = done
        words = words_of(self._mission())
        for clause, is_done in zip(self._clauses, done, strict=True):
            words += [SEPARATOR, *words_of(clause)] if is_done else []
        self._write_words(encode_words(words))

    def _mission(self) -> str:
        mission: str = self._env.mission
        return mission

    def _account(self) -> list[tuple[Any, bool]]:
        """The clauses of a mission of several, and whether each is done."""
        if not isinstance(self._env, RoomGridLevel):
            return []
        clauses = clauses_of(self._env)
        return clauses if len(clauses) > 1 else []

    def _note_on_agent(self, note: int) -> int:
        under = self._env.grid.get(*self._env.agent_pos)
        return ON_DOOR + COLOR_TO_IDX[under.color] if isinstance(under, Door) else note


class SwappedMissionEnv(WordedMapEnv):
    """Shows the mission of another episode; the environment keeps its own.

    A teacher that reads the mission does worse with it. One that does not read it, does not.
    """

    def __init__(self, env: gym.Env[Any, int]) -> None:
        super().__init__(env)
        assert env.spec is not None
        self._other = gym.make(env.spec, disable_env_checker=True)
        self._shown = ""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Start an episode; the next seed's shows the mission."""
        with contextlib.redirect_stdout(io.StringIO()):
            self._other.reset(seed=None if seed is None else seed + 1)
        self._shown = self._other.unwrapped.mission  # type: ignore[attr-defined]
        return super().reset(seed=seed, options=options)

    def close(self) -> None:
        self._other.close()  # type: ignore[no-untyped-call]
        super().close()  # type: ignore[no-untyped-call]

    def _mission(self) -> str:
        return self._shown

    def _account(self) -> list[tuple[Any, bool]]:
        return []
