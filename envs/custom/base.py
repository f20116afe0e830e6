"""A Task's defaults: what is left to write is the environment, its describer and its options."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import CloudpickleWrapper
from numpy.typing import NDArray

from llm4teach.envs.encoding import EncoderFactory, EncoderName, encoder_of_shape
from llm4teach.envs.plan import Plan
from llm4teach.envs.task import Mixture, Observations, State, describe, whole_question
from llm4teach.envs.vector.serial import serial_vector_env
from llm4teach.envs.vector.workers import WorkerVectorEnv

_EXAMPLE_EPISODES, _EXAMPLE_STEPS, _EXAMPLES = 4, 50, 3


class BaseTask(ABC):
    """A `Task` with a default for every member that can have one; see there for what they mean."""

    name: str
    family: str
    trained_as: str
    action_names: tuple[str, ...]
    observation_shape: tuple[int, ...]
    max_steps: int
    many_plans: bool = False

    @abstractmethod
    def make_env(self, render_mode: str | None = None) -> gym.Env[Any, int]:
        """Return a new environment; ``env.reset(seed=s)`` determines its whole episode."""

    @abstractmethod
    def identify(self, observations: Observations) -> NDArray[np.int64]:
        """Return each observation's state as an id, int64 (N,): equal where the states are."""

    @abstractmethod
    def state(self, state_id: int) -> State:
        """Return the state that `identify` gave this id."""

    @abstractmethod
    def ground(
        self,
        observations: Observations,
        mixtures: Sequence[Mixture],
        which: NDArray[np.integer[Any]],
    ) -> NDArray[np.float32]:
        """Mix the plans' policies, float32 (N, n_actions); see `Task.ground`."""

    @property
    def return_scale(self) -> float:
        """What learning divides rewards by; its settings are for returns of about 1."""
        return 1.0

    @property
    def student_shape(self) -> tuple[int, ...]:
        """The whole observation's, unless `student_observations` selects a part."""
        return self.observation_shape

    def student_observations(self, observations: Observations) -> Observations:
        """Return the whole observations, uint8 (N, *student_shape)."""
        return observations

    @property
    def encoder(self) -> EncoderName | EncoderFactory:
        """The built-in encoder of observations of this shape."""
        return encoder_of_shape(self.student_shape)

    def question(self, state: State, plan: Plan) -> str:
        """Return the state's whole text, and the plan; see `Task.question`."""
        return whole_question(state, plan)

    def make_vector_env(self, n_envs: int) -> gym.vector.VectorEnv[Any, Any, Any]:
        """Return many environments, stepped one by one in this process."""
        return serial_vector_env(self, n_envs)

    def make_worker_env(self, n_envs: int, workers: int) -> gym.vector.VectorEnv[Any, Any, Any]:
        """Return many environments, stepped by worker processes; the task is pickled for them."""
        return WorkerVectorEnv(CloudpickleWrapper(self.make_env), n_envs, workers)

    def is_success(
        self, terminated: NDArray[np.bool_], returns: NDArray[np.floating[Any]]
    ) -> NDArray[np.bool_]:
        """Return which ended episodes terminated with a positive return, bool (N,)."""
        return terminated & (returns > 0)

    def example_states(self) -> Sequence[State]:
        """Return the first, middle and last distinct state of a few episodes of random actions."""
        rng, env, found = np.random.default_rng(0), self.make_env(), dict[str, State]()
        try:
            for seed in range(_EXAMPLE_EPISODES):
                observation, _ = env.reset(seed=seed)
                for _ in range(_EXAMPLE_STEPS):
                    (state,) = describe(self, np.asarray(observation)[None])
                    found.setdefault(state.key, state)
                    action = int(rng.integers(len(self.action_names)))
                    observation, _, terminated, truncated, _ = env.step(action)
                    if terminated or truncated:
                        break
        finally:
            env.close()  # type: ignore[no-untyped-call]
        states = [state for state in found.values() if state.options]
        places = np.linspace(0, len(states) - 1, min(_EXAMPLES, len(states))).astype(int)
        return [states[i] for i in places]

    def draw(self, frame: NDArray[np.uint8], observation: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the rendered frame, uint8 (height, width, 3), unchanged."""
        return frame
