"""Habitat's Nav & Pick as Tasks: find the table, go there without a bump, pick up the object."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm4teach.envs.custom.base import BaseTask
from llm4teach.envs.habitat.client import ON_HABITAT_SIM
from llm4teach.envs.habitat.skills import plan_actions
from llm4teach.envs.habitat.state import FAMILY, identify, nav_pick_state
from llm4teach.envs.habitat.vector import HabitatEnv, HabitatVectorEnv
from llm4teach.envs.habitat.worker.layout import (
    ACTIONS,
    CAMERA_SHAPE,
    CAMERA_STUDENT_SHAPE,
    MAX_STEPS,
    shape_of,
)
from llm4teach.envs.task import Mixture, Observations, State, normalize_rows
from llm4teach.errors import TaskError

WORKERS = "LLM4TEACH_HABITAT_WORKERS"  # processes of a kinematic vector environment, 1 by default
DATA = "LLM4TEACH_HABITAT_DATA"  # folder of habitat-sim's data, ./data by default
_OBSERVATIONS: dict[str, dict[str, Any]] = {
    "": {"depth": False},
    "Depth": {"depth": True},
    "Camera": {"depth": True, "camera": True},
}
_SETTINGS: dict[str, dict[str, Any]] = {
    **{f"HabitatNavPick{k}": {"simulator": "kinematic", **v} for k, v in _OBSERVATIONS.items()},
    **{f"HabitatSimNavPick{k}": {"simulator": "apartments", **v} for k, v in _OBSERVATIONS.items()},
    "HabitatRearrange": {"simulator": "rearrange", "depth": False},
    "HabitatRearrangeDepth": {"simulator": "rearrange", "depth": True},
}
# Students of the kinematic simulator play these without training, on habitat-sim.
_SHIFTED = {f"HabitatNavPick{k}-sim": f"HabitatNavPick{k}" for k in _OBSERVATIONS}
_SETTINGS |= {f"HabitatNavPick{k}-sim": _SETTINGS[f"HabitatSimNavPick{k}"] for k in _OBSERVATIONS}


class NavPickTask(BaseTask):
    """A Task with its environments in habitat workers; describer and grounding are here."""

    family = FAMILY
    action_names: tuple[str, ...] = ACTIONS
    max_steps = MAX_STEPS

    def __init__(self, name: str) -> None:
        self.name, self.trained_as = name, _SHIFTED.get(name, name)
        self.observation_shape: tuple[int, ...] = shape_of(_SETTINGS[name])

    @property
    def student_shape(self) -> tuple[int, ...]:
        """The whole observation's; with a camera not its last row, which is the skills'."""
        camera = self.observation_shape == CAMERA_SHAPE
        return CAMERA_STUDENT_SHAPE if camera else self.observation_shape

    def student_observations(self, observations: Observations) -> Observations:
        if self.observation_shape == CAMERA_SHAPE:
            return np.ascontiguousarray(observations[:, : CAMERA_STUDENT_SHAPE[0]])
        return observations

    @property
    def settings(self) -> dict[str, Any]:
        """What a worker makes the environments of."""
        more = {}
        if _SETTINGS[self.name]["simulator"] == "rearrange":
            more["data_path"] = os.path.abspath(os.environ.get(DATA, "data"))  # noqa: PTH100
        return {**_SETTINGS[self.name], **more}

    def make_env(self, render_mode: str | None = None) -> gym.Env[Any, int]:
        return HabitatEnv(self.settings, render_mode)

    def make_vector_env(self, n_envs: int) -> gym.vector.VectorEnv[Any, Any, Any]:
        alone = self.settings["simulator"] in ON_HABITAT_SIM
        return HabitatVectorEnv(self.settings, n_envs, n_envs if alone else _workers())

    def make_worker_env(self, n_envs: int, workers: int) -> gym.vector.VectorEnv[Any, Any, Any]:
        """Return the environments of `make_vector_env`, which are in other processes anyway."""
        return self.make_vector_env(n_envs)

    def identify(self, observations: Observations) -> NDArray[np.int64]:
        """Return each observation's state, int64 (N,), packed."""
        return identify(observations)

    def state(self, state_id: int) -> State:
        return nav_pick_state(state_id)

    def example_states(self) -> Sequence[State]:
        """Return the states of nothing seen, the table ahead in 1 to 3 m, and it in reach."""
        return [nav_pick_state(packed) for packed in (0, 18, 12)]

    def ground(
        self,
        observations: Observations,
        mixtures: Sequence[Mixture],
        which: NDArray[np.integer[Any]],
    ) -> NDArray[np.float32]:
        """Return the grounded advice, float32 (N, n_actions); see Task.ground."""
        probs = np.zeros((len(observations), len(ACTIONS)), np.float32)
        for i in np.unique(which):
            rows = np.flatnonzero(which == i)
            for plan, share in mixtures[i]:
                actions = plan_actions(observations[rows], plan)
                acting = actions >= 0
                probs[rows[acting], actions[acting]] += share
        return normalize_rows(probs)


def _workers() -> int:
    count = os.environ.get(WORKERS, "1")
    if not count.isdigit() or not 1 <= int(count) <= 256:
        raise TaskError(f"{WORKERS} is a number of processes, 1 to 256; got {count!r}")
    return int(count)


def habitat_task_names(shifted: bool = False) -> list[str]:
    """The tasks, the kinematic ones first; with ``shifted`` also those for evaluation alone."""
    return [name for name in _SETTINGS if shifted or name not in _SHIFTED]


@cache
def habitat_task(name: str) -> NavPickTask:
    """Return one of the tasks named in `habitat_task_names`."""
    return NavPickTask(name)
