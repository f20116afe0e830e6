"""The paper's grid tasks: rooms with keys and doors, their describer and the option policies."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm4teach.envs.door_key import ROOMS, env_id, shifted_rooms
from llm4teach.envs.door_key_state import NOTHING, Naming, door_key_state, pack
from llm4teach.envs.options import DOOR, KEY, GridView, Outcome, decide_plan
from llm4teach.envs.task import Mixture, Observations, State

MINIGRID_ACTIONS = ("left", "right", "forward", "pickup", "drop", "toggle", "done")
_NAMINGS = {"ColoredDoorKey": Naming.COLOURS, "DivergedDoorKey": Naming.COUNTED}
# The paper's teacher is not told of lava: it says in LavaDoorKey what it says in SimpleDoorKey.
_FAMILIES = {"LavaDoorKey": "SimpleDoorKey"}


class DoorKeyTask:
    """A Task on one of the rooms; the option policies walk through lava as if it were floor."""

    action_names: tuple[str, ...] = MINIGRID_ACTIONS

    def __init__(self, name: str, trained_as: str) -> None:
        self.name, self.trained_as = name, trained_as
        self.family = _FAMILIES.get(trained_as, trained_as)
        self.naming = _NAMINGS.get(trained_as, Naming.PLAIN)
        env = self.make_env()
        self.observation_shape: tuple[int, ...] = env.observation_space.shape  # type: ignore[assignment]
        self.max_steps: int = env.unwrapped.max_steps  # type: ignore[attr-defined]

    def make_env(self, render_mode: str | None = None) -> gym.Env[Any, int]:
        """Return a new environment; ``env.reset(seed=s)`` determines its whole episode."""
        return gym.make(env_id(self.name), render_mode=render_mode, disable_env_checker=True)

    def identify(self, observations: Observations) -> NDArray[np.int64]:
        """Return the packed state of each observation, int64 (N,); see `door_key_state.pack`."""
        return np.array([self._identify(self._view(o)) for o in observations], np.int64)

    def state(self, state_id: int) -> State:
        """Return what the teacher is told."""
        return door_key_state(self.family, self.naming, state_id)

    def _view(self, observation: NDArray[np.uint8]) -> GridView:
        palette = _colours_met(observation) if self.naming is Naming.COLOURS else ()
        return GridView(observation, lava_blind=True, palette=palette)

    def _identify(self, view: GridView) -> int:
        def neutral(colour: int) -> int:
            return view.palette.index(colour) + 1 if view.palette else 1

        keys = sum({1 << neutral(int(c)) - 1 for c in view.colours[view.cells("key")]})
        doors = view.colours[view.cells("door")]
        seen = len(doors) if self.naming is Naming.COUNTED else NOTHING
        if self.naming is not Naming.COUNTED and len(doors):
            seen = neutral(int(doors[0]))
        held = neutral(int(view.colours[view.agent])) if view.carrying == KEY else NOTHING
        return pack(keys, seen, held)

    def ground(
        self,
        observations: Observations,
        mixtures: Sequence[Mixture],
        which: NDArray[np.integer[Any]],
    ) -> NDArray[np.float32]:
        """Return the grounded advice, float32 (N, n_actions); see Task.ground."""
        probs = np.zeros((len(observations), len(self.action_names)), np.float32)
        for row, observation, i in zip(probs, observations, which, strict=True):
            view = self._view(observation)
            for plan, share in mixtures[i]:
                decision = decide_plan(view, plan)
                if not isinstance(decision, Outcome):
                    row[list(decision)] += share / len(decision)
        total = probs.sum(axis=1, keepdims=True)  # (N, 1)
        np.divide(probs, total, out=probs, where=total > 0)
        return probs


def _colours_met(observation: NDArray[np.uint8]) -> tuple[int, ...]:
    """Colour codes of keys and doors: of keys seen by their code, then doors, then the hand."""
    view = GridView(observation)
    met = [sorted(map(int, view.colours[view.cells(kind)])) for kind in ("key", "door")]
    held = [int(view.colours[view.agent])] if view.carrying in (KEY, DOOR) else []
    return tuple(dict.fromkeys(met[0] + met[1] + held))


@cache
def door_key_task(name: str) -> DoorKeyTask:
    """Return one of the tasks named in `door_key_task_names`."""
    return DoorKeyTask(name, trained_as=name.partition("-")[0])


def door_key_task_names() -> list[str]:
    """The paper's four tasks, each followed by its shifted variants."""
    return [f"{name}{shift}" for name in ROOMS for shift in ("", *_suffixes(name))]


def _suffixes(name: str) -> list[str]:
    return [f"-{shift}" for shift in shifted_rooms(name)]
