"""The task Crafter: pixels for the student, a text of what was seen for the teacher."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from threading import Lock
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm4teach.envs.crafter.describe import FAMILY, PLANS, Facts, crafter_state
from llm4teach.envs.crafter.questions import crafter_question
from llm4teach.envs.crafter.symbols import ACTIONS, PIXEL_SHAPE, PIXELS, RECORD
from llm4teach.envs.crafter.vector import MAX_STEPS, CrafterEnv, CrafterVectorEnv
from llm4teach.envs.custom.base import BaseTask
from llm4teach.envs.encoding import EncoderName
from llm4teach.envs.plan import Plan
from llm4teach.envs.task import Mixture, Observations, State, normalize_rows

NAME = "Crafter"
# An episode's return is its achievements (of 22) less at most 0.9 for health lost, so it takes 11
# of them to exceed 10.05.
HALF_OF_THE_ACHIEVEMENTS = 10.05


class CrafterTask(BaseTask):
    """A Task on Craftax-Classic; see `symbols` for what an observation holds.

    An episode succeeds if it unlocks half of the 22 achievements, however it ends; the published
    measures (the success rate of each achievement, their score) are in the episodes' measures.
    """

    name: str = NAME
    trained_as: str = NAME
    family: str = FAMILY
    action_names: tuple[str, ...] = ACTIONS
    observation_shape: tuple[int, ...] = (RECORD,)
    max_steps: int = MAX_STEPS
    return_scale = 10.0

    def __init__(self) -> None:
        self._states: list[State] = []
        self._ids: dict[bytes, int] = {}  # by the bytes of the facts
        self._option_numbers = {name: number for number, name in enumerate(PLANS)}
        self._lock = Lock()

    @property
    def student_shape(self) -> tuple[int, ...]:
        """The pixels' shape."""
        return PIXEL_SHAPE

    def student_observations(self, observations: Observations) -> Observations:
        return np.ascontiguousarray(observations[:, :PIXELS]).reshape(-1, *PIXEL_SHAPE)

    @property
    def encoder(self) -> EncoderName:
        """The built-in encoder of tiles, as which the engine draws the pixels."""
        return "tiles"

    def make_env(self, render_mode: str | None = None) -> gym.Env[Any, int]:
        return CrafterEnv(render_mode)

    def make_vector_env(self, n_envs: int) -> gym.vector.VectorEnv[Any, Any, Any]:
        return CrafterVectorEnv(n_envs)

    def make_worker_env(self, n_envs: int, workers: int) -> gym.vector.VectorEnv[Any, Any, Any]:
        """Return many environments in this process: every other would compile the engine again."""
        return self.make_vector_env(n_envs)

    def identify(self, observations: Observations) -> NDArray[np.int64]:
        """Return each observation's state, int64 (N,), as its position in this task's table."""
        from llm4teach.envs.crafter.facts_kernel import N_FACTS, facts_all  # imports numba
        from llm4teach.envs.crafter.paths_kernel import new_paths

        facts = np.zeros((len(observations), N_FACTS), np.uint8)
        facts_all(_as_compiled_for(observations), new_paths(), facts)
        ids = np.empty(len(observations), np.int64)
        with self._lock:  # shards may run in threads
            for i, row in enumerate(facts):
                key = row.tobytes()
                if key not in self._ids:
                    self._ids[key] = len(self._states)
                    self._states.append(crafter_state(Facts.of(key)))
                ids[i] = self._ids[key]
        return ids

    def state(self, state_id: int) -> State:
        return self._states[state_id]

    def question(self, state: State, plan: Plan) -> str:
        """Return an option, its rule and the facts that the rule speaks of."""
        return crafter_question(state.text, str(plan))

    def ground(
        self,
        observations: Observations,
        mixtures: Sequence[Mixture],
        which: NDArray[np.integer[Any]],
    ) -> NDArray[np.float32]:
        """Return the grounded advice, float32 (N, n_actions); see Task.ground."""
        from llm4teach.envs.crafter.option_kernel import ground_all  # imports numba
        from llm4teach.envs.crafter.paths_kernel import new_paths

        used, which = np.unique(which, return_inverse=True)  # of all advice only a little
        longest = max((len(mixtures[i]) for i in used), default=0)
        options = np.full((len(used), max(longest, 1)), -1, np.int64)
        shares = np.zeros(options.shape)
        for row, i in enumerate(used):
            for k, (plan, share) in enumerate(mixtures[i]):
                options[row, k], shares[row, k] = self._option_numbers.get(str(plan), -1), share
        probs = np.zeros((len(observations), len(ACTIONS)), np.float32)
        records = _as_compiled_for(observations)
        ground_all(records, options[which], shares[which], new_paths(), probs)
        return normalize_rows(probs)

    def is_success(
        self, terminated: NDArray[np.bool_], returns: NDArray[np.floating[Any]]
    ) -> NDArray[np.bool_]:
        """Return which ended episodes unlocked at least half of the achievements, bool (N,)."""
        return np.asarray(returns > HALF_OF_THE_ACHIEVEMENTS, np.bool_)


def _as_compiled_for(observations: Observations) -> Observations:
    """The same records as the kernels are compiled for; for others they would be compiled again."""
    flags = observations.flags
    if flags.c_contiguous and flags.writeable and observations.dtype == np.uint8:
        return observations
    return np.array(observations, np.uint8, order="C")


@cache
def crafter_task() -> CrafterTask:
    """Return the task; its environments need craftax, what was recorded does not."""
    return CrafterTask()
