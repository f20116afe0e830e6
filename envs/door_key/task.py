"""The paper's grid tasks: rooms with keys and doors, their describer and the option policies.

The kernels that identify, ground and step are imported where they are first used: importing numba
takes half a second, which listing the tasks should not cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm4teach.envs.custom.base import BaseTask
from llm4teach.envs.door_key.rooms import ROOMS, Room, env_id, shifted_rooms
from llm4teach.envs.door_key.state import Naming, door_key_state, pack
from llm4teach.envs.grid.fog_of_war import with_fog
from llm4teach.envs.task import Mixture, Observations, State

if TYPE_CHECKING:
    from llm4teach.envs.door_key.grounding import PlanGrounder

MINIGRID_ACTIONS = ("left", "right", "forward", "pickup", "drop", "toggle", "done")
_NAMINGS = {"ColoredDoorKey": Naming.COLORS, "DivergedDoorKey": Naming.COUNTED}
# The paper's describer omits lava, so the teacher's advice in LavaDoorKey is SimpleDoorKey's.
_FAMILIES = {"LavaDoorKey": "SimpleDoorKey"}


class DoorKeyTask(BaseTask):
    """A Task on one of the rooms; the option policies walk through lava as if it were floor.

    Args:
        name: of the task.
        trained_as: the task whose students play it.
        engine: step many environments as arrays; without it they are MiniGrid's, one by one.
    """

    action_names: tuple[str, ...] = MINIGRID_ACTIONS

    def __init__(self, name: str, trained_as: str, *, engine: bool = True) -> None:
        self.name, self.trained_as, self._engine = name, trained_as, engine
        self.family = _FAMILIES.get(trained_as, trained_as)
        self.naming = _NAMINGS.get(trained_as, Naming.PLAIN)
        self._room = _room(name)
        self.observation_shape: tuple[int, ...] = (self._room.grid_size, self._room.grid_size, 4)
        self.max_steps: int = self._room.max_steps

    def make_env(self, render_mode: str | None = None) -> gym.Env[Any, int]:
        return gym.make(env_id(self.name), render_mode=render_mode, disable_env_checker=True)

    def make_vector_env(self, n_envs: int) -> gym.vector.VectorEnv[Any, Any, Any]:
        if not self._engine:
            return super().make_vector_env(n_envs)
        from llm4teach.envs.door_key.engine import DoorKeyVectorEnv

        return DoorKeyVectorEnv(self._room, n_envs)

    def make_worker_env(self, n_envs: int, workers: int) -> gym.vector.VectorEnv[Any, Any, Any]:
        """Return many environments in this process: one core steps more than others can take."""
        return self.make_vector_env(n_envs)

    def draw(self, frame: NDArray[np.uint8], observation: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the frame, uint8 (height, width, 3), with fog on the cells never seen."""
        return with_fog(frame, observation)

    def identify(self, observations: Observations) -> NDArray[np.int64]:
        """Return the packed state of each observation, int64 (N,); see `state.pack`.

        Raises:
            ValueError: an observation has no agent.
        """
        return self._grounder.identify(observations, counted=self.naming is Naming.COUNTED)

    def state(self, state_id: int) -> State:
        return door_key_state(self.family, self.naming, state_id)

    def example_states(self) -> Sequence[State]:
        """Return the states of nothing seen, key and door seen, and the door seen with the key."""
        return [self.state(packed) for packed in (pack(0, 0, 0), pack(1, 1, 0), pack(0, 1, 1))]

    def ground(
        self,
        observations: Observations,
        mixtures: Sequence[Mixture],
        which: NDArray[np.integer[Any]],
    ) -> NDArray[np.float32]:
        """Return the grounded advice, float32 (N, n_actions); see Task.ground.

        Raises:
            ValueError: an observation has no agent.
        """
        return self._grounder.ground(observations, mixtures, which)

    @cached_property
    def _grounder(self) -> PlanGrounder:
        from llm4teach.envs.door_key.grounding import PlanGrounder

        return PlanGrounder(
            len(self.action_names),
            lava_blind=True,
            neutral_colors=self.naming is Naming.COLORS,
        )


def _room(name: str) -> Room:
    trained_as, _, shift = name.partition("-")
    return shifted_rooms(trained_as)[shift] if shift else ROOMS[trained_as]


@cache
def door_key_task(name: str) -> DoorKeyTask:
    """Return one of the tasks named in `door_key_task_names`."""
    return DoorKeyTask(name, trained_as=name.partition("-")[0])


def door_key_task_names() -> list[str]:
    """The paper's four tasks, each followed by its shifted variants."""
    return [f"{name}{shift}" for name in ROOMS for shift in ("", *_suffixes(name))]


def _suffixes(name: str) -> list[str]:
    return [f"-{shift}" for shift in shifted_rooms(name)]
