"""The Task protocol: all that the rest of the code knows of an environment."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm4teach.envs.plan import Plan

Observations = NDArray[np.uint8]  # (N, *observation_shape)


class TaskError(ValueError):
    """A task was asked for that does not exist, or used in a way it does not allow."""


@dataclass(frozen=True)
class State:
    """What the teacher can tell of an observation; equal for observations it cannot tell apart.

    ``options`` are the plans that are admissible here. They follow from ``text`` alone, so that
    advice stored under ``key`` fits every observation with that key.
    """

    key: str
    text: str
    options: tuple[Plan, ...]


def state_key(family: str, text: str) -> str:
    """64-bit content hash, in hex, of a task family and a state's text."""
    return hashlib.sha256(f"{family}\n{text}".encode()).hexdigest()[:16]


class Task(Protocol):
    """An environment with its describer, its options and their grounding.

    Batches come first: one call describes or grounds many observations, which is what lets an
    implementation be fast.
    """

    name: str
    family: str  # tasks of one family share their state texts, and so their advice
    action_names: tuple[str, ...]
    observation_shape: tuple[int, ...]
    max_steps: int  # time limit of an episode, in steps

    def make_env(self, render_mode: str | None = None) -> gym.Env[Any, int]:
        """Return a new environment; ``env.reset(seed=s)`` determines its whole episode."""
        ...

    def describe(self, observations: Observations) -> list[State]:
        """Return the state of each observation; observations are uint8 (N, *observation_shape)."""
        ...

    def ground(self, observations: Observations, plan: Plan) -> NDArray[np.float32]:
        """Return the plan's policy, float32 (N, n_actions): each row sums to 1, or to 0.

        A plan's first option that is not done acts. A row of zeros says that the plan has nothing
        to do in this observation (all its options are done) or cannot be done.
        """
        ...


def ground_mixture(
    task: Task, observations: Observations, advice: Sequence[Sequence[tuple[Plan, float]]]
) -> NDArray[np.float32]:
    """Mix the plans' policies: ``sum_k P(k | c(s)) * pi_k(a | s)`` (arXiv 2311.13373, section 3.2).

    Args:
        task: grounds the plans.
        observations: uint8 (N, *observation_shape).
        advice: for each observation its plans and their probabilities; may be empty.

    Returns:
        float32 (N, n_actions). The mass of plans that cannot act in an observation goes to those
        that can; a row of zeros says that none can, or that there is no advice.
    """
    probs = np.zeros((len(observations), len(task.action_names)), np.float32)
    rows_of: dict[Plan, list[int]] = {}
    for row, plans in enumerate(advice):
        for plan, _ in plans:
            rows_of.setdefault(plan, []).append(row)
    weight = [dict(plans) for plans in advice]
    for plan, rows in rows_of.items():
        share = np.array([weight[row][plan] for row in rows], np.float32)  # (n,)
        probs[rows] += share[:, None] * task.ground(observations[rows], plan)  # (n, n_actions)
    total = probs.sum(axis=1, keepdims=True)  # (N, 1)
    np.divide(probs, total, out=probs, where=total > 0)
    return probs
