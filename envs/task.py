"""The Task protocol: the rest of the code uses an environment only through it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm4teach.envs.encoding import EncoderFactory, EncoderName
from llm4teach.envs.plan import Plan
from llm4teach.envs.verbs import Verbs

Observations = NDArray[np.uint8]  # (N, *observation_shape)
Mixture = tuple[tuple[Plan, float], ...]  # plans and their probabilities; empty: no advice


@dataclass(frozen=True)
class State:
    """What the teacher knows about an observation; equal for observations it cannot distinguish.

    ``options`` are the plans that are admissible here. They follow from ``text`` alone, so that
    advice stored under ``key`` fits every observation with that key. There may be none, for example
    while another party acts: such a state has nothing to choose, so it is never asked about and its
    advice is empty; the tasks here always offer at least one plan.
    """

    key: str
    text: str
    options: tuple[Plan, ...]


def state_key(family: str, text: str) -> str:
    """64-bit content hash, in hex, of a task family and a state's text."""
    return hashlib.sha256(f"{family}\n{text}".encode()).hexdigest()[:16]


class Family(str):
    """Name of a task family; it carries what its tasks tell a teacher about their world.

    Args:
        name: tasks of one family share their state texts, and so their advice.
        prompts: templates of its own by use (``sampling``, ``logprobs``, …), as text.
        about: a few sentences for the system message of the standard prompts: what the world is,
            what the options do.
        verbs: what the options are called; by default the verbs and the grammar of `envs.plan`.
    """

    prompts: Mapping[str, str]
    about: str
    verbs: Verbs | None

    def __new__(
        cls,
        name: str,
        prompts: Mapping[str, str] | None = None,
        about: str = "",
        verbs: Verbs | None = None,
    ) -> Family:
        family = super().__new__(cls, name)
        family.prompts, family.about, family.verbs = dict(prompts or {}), about, verbs
        return family


def verbs_of(family: str) -> Verbs | None:
    """Return the verbs of a family's own; None: those of `envs.plan`."""
    return family.verbs if isinstance(family, Family) else None


class Task(Protocol):
    """An environment with its describer, its options and their grounding.

    Batches come first: one call identifies or grounds many observations, which is what lets an
    implementation be fast. Within a process a state is an integer; its text is made once.

    An observation is all that is recorded of a moment: what the student sees and what the teacher
    sees. They are the same unless `student_observations` selects a part.

    Inherit from `custom.base.BaseTask`, which has defaults for most members, or let
    `custom.gym_task.GymTask` make a task of a gymnasium environment.
    """

    name: str  # by which `registry.get_task` finds it
    family: str  # tasks of one family share their texts, and so their advice; see `Family`
    trained_as: str  # the task whose students play this one: its own name, unless it is shifted
    action_names: tuple[str, ...]
    observation_shape: tuple[int, ...]
    max_steps: int  # time limit of an episode, in steps
    many_plans: bool  # most plans lead nowhere: one that led back to a state gives way to others

    @property
    def return_scale(self) -> float:
        """About how large an episode's return is, in units of reward."""
        ...

    @property
    def student_shape(self) -> tuple[int, ...]:
        """Shape of one of the student's observations."""
        ...

    def student_observations(self, observations: Observations) -> Observations:
        """Return what the student sees, uint8 (N, *student_shape)."""
        ...

    @property
    def encoder(self) -> EncoderName | EncoderFactory:
        """What reads the student's observations: a built-in encoder by name, or one of your own.

        The latter is a function from ``student_shape`` to a ``torch.nn.Module`` that maps
        observations (N, *student_shape) to features, float32 (N, features). The module receives
        bytes, uint8, if it takes them, and else float32 from 0 to 1. It has no randomness and no
        batch statistics. A student's file holds its weights alone, so loading a student needs the
        task.
        """
        ...

    def make_env(self, render_mode: str | None = None) -> gym.Env[Any, int]:
        """Return a new environment; ``env.reset(seed=s)`` determines its whole episode."""
        ...

    def make_worker_env(self, n_envs: int, workers: int) -> gym.vector.VectorEnv[Any, Any, Any]:
        """Return what `make_vector_env` does, stepped by so many processes if that pays."""
        ...

    def make_vector_env(self, n_envs: int) -> gym.vector.VectorEnv[Any, Any, Any]:
        """Return many environments that are stepped together, without automatic resets.

        Episodes start by ``reset(seed=int (N,), options={"reset_mask": bool (N,)})``; the seeds
        lead through the same episodes as in `make_env`. One whose episode has ended, or never
        started, stays as it is: reward 0, both flags False, the last observation again. Arrays
        that are returned are not written to again. `vector.serial.serial_vector_env` is one.
        """
        ...

    def identify(self, observations: Observations) -> NDArray[np.int64]:
        """Return each observation's state as an id, int64 (N,): equal where the states are.

        Ids are small and not negative: they may be used as indices into a table.
        """
        ...

    def state(self, state_id: int) -> State:
        """Return the state that `identify` gave this id."""
        ...

    def question(self, state: State, plan: Plan) -> str:
        """Return the facts that matter to one plan of a state, and the plan: a yes/no question.

        For the elicitation ``judgments``, which asks about each plan alone. A function of the
        state's text and the plan. States that do not differ in these facts share the question, so
        fewer facts make a cheaper teacher. An empty text: the plan is not asked about, and counts
        as undecided.
        """
        ...

    def ground(
        self,
        observations: Observations,
        mixtures: Sequence[Mixture],
        which: NDArray[np.integer[Any]],
    ) -> NDArray[np.float32]:
        """Mix the plans' policies: ``sum_k P(k | c(s)) * pi_k(a | s)`` (2311.13373, section 3.2).

        A plan's first option that is not done acts.

        Args:
            observations: uint8 (N, *observation_shape).
            mixtures: pieces of advice; the same tuple in call after call is cheapest.
            which: index into ``mixtures`` of each observation's advice, int (N,).

        Returns:
            float32 (N, n_actions); rows sum to 1, or to 0. The probability of plans that cannot
            act in an observation goes to those that can; a row of zeros says that none can, all
            are done, or there is no advice.
        """
        ...

    def is_success(
        self, terminated: NDArray[np.bool_], returns: NDArray[np.floating[Any]]
    ) -> NDArray[np.bool_]:
        """Return which ended episodes succeeded, bool (N,).

        Args:
            terminated: True if the episode terminated, False if the time limit truncated it, (N,).
            returns: undiscounted sum of the episode's rewards, (N,).
        """
        ...

    def example_states(self) -> Sequence[State]:
        """Return a few distinct states, to try prompts and teachers on, an early one first."""
        ...

    def draw(self, frame: NDArray[np.uint8], observation: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a frame of a film, uint8 (height, width, 3).

        Args:
            frame: what the environment rendered, of that shape.
            observation: of the same moment, uint8 (*observation_shape).
        """
        ...


def describe(task: Task, observations: Observations) -> list[State]:
    """Return the state of each observation; observations are uint8 (N, *observation_shape)."""
    distinct, inverse = np.unique(task.identify(observations), return_inverse=True)
    states = [task.state(int(state_id)) for state_id in distinct]
    return [states[i] for i in inverse]


def whole_question(state: State, plan: Plan) -> str:
    """Return the question of a task that names no facts: all of them."""
    return f"{state.text}\nOption: {plan}"


def question_about(task: Task, state: State, plan: Plan) -> str:
    """Return `Task.question`, or for tasks that lack it the whole text."""
    question = getattr(task, "question", whole_question)
    return str(question(state, plan))


def normalize_rows(probs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale each row to the sum 1 in place, (N, n_actions), and return them; zeros stay zeros."""
    total = probs.sum(axis=1, keepdims=True)  # (N, 1)
    np.divide(probs, total, out=probs, where=total > 0)
    return probs


def ground_plan(task: Task, observations: Observations, plan: Plan) -> NDArray[np.float32]:
    """Return one plan's policy, float32 (N, n_actions); rows of zeros where it does not act."""
    return task.ground(observations, [((plan, 1.0),)], np.zeros(len(observations), np.int64))
