"""Policies as the code outside the learner sees them: observations in, action probabilities out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from llm4teach.envs.task import Observations, State
from llm4teach.student.model.network import Student

Policy = Callable[[Observations], NDArray[np.float32]]  # (N, *shape) -> (N, n_actions)


class BehaviorPolicy(Protocol):
    """Chooses actions in some of the environments that are stepped together, with a memory."""

    def act(
        self,
        observations: Observations,
        envs: NDArray[np.intp],
        started: NDArray[np.bool_],
        states: Sequence[State] | None = None,
    ) -> tuple[NDArray[np.float32], list[str]]:
        """Return action probabilities (n, n_actions) and the behavior label of each step.

        Args:
            observations: uint8 (n, *observation_shape).
            envs: index of the environment of each row, (n,).
            started: whether the row is the first step of an episode, (n,).
            states: of these observations, if the caller has described them already.
        """
        ...

    def state(self) -> dict[str, Any]:
        """What `restore` needs, as plain JSON."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Continue as the policy whose `state` this is."""
        ...


def in_one_environment(behavior: BehaviorPolicy) -> Policy:
    """Return a policy with a memory as one for the observations, (1, *shape), of one episode."""
    env, started = np.zeros(1, np.intp), np.ones(1, np.bool_)

    def act(observations: Observations) -> NDArray[np.float32]:
        probs, _ = behavior.act(observations, env, started.copy())
        started[:] = False
        return probs

    return act


class AdviceSource(Protocol):
    """Whoever can give grounded advice; the student never learns which backend is behind it."""

    def teacher_probs(self, observations: Observations) -> NDArray[np.float32]:
        """Return pi_T(a | s), (N, n_actions); a row of zeros where there is no advice."""
        ...


class StudentPolicy:
    """The student's own policy."""

    def __init__(self, student: Student) -> None:
        self._student = student

    @torch.no_grad()
    def __call__(self, observations: Observations) -> NDArray[np.float32]:
        logits = self._student(torch.from_numpy(observations)).logits
        probs: NDArray[np.float32] = torch.softmax(logits, -1).cpu().numpy()
        return probs

    def fixed(self) -> AbstractContextManager[None]:
        """Let what follows from the parameters alone be computed once: they must not change."""
        return self._student.encoder.fixed()


def policy_entropy(student: Student) -> Callable[[Observations], NDArray[np.float32]]:
    """Return what gives the entropy of the student's policy in nats, (N, *shape) -> (N,)."""
    policy = StudentPolicy(student)

    def entropy(observations: Observations) -> NDArray[np.float32]:
        probs = policy(observations)  # (N, n_actions)
        nats: NDArray[np.float32] = -(probs * np.log(np.maximum(probs, 1e-30))).sum(1)  # (N,)
        return nats

    return entropy


def uniform_policy(n_actions: int) -> Policy:
    """Return the policy that chooses every action alike."""
    return lambda observations: np.full((len(observations), n_actions), 1 / n_actions, np.float32)


def teacher_policy(teacher: AdviceSource) -> Policy:
    """Return the teacher's own policy: its grounded advice, and any action where it has none."""
    return lambda observations: _or_uniform(teacher.teacher_probs(observations))


def _or_uniform(probs: NDArray[np.float32]) -> NDArray[np.float32]:
    silent = probs.sum(axis=1) == 0
    probs[silent] = 1 / probs.shape[1]
    return probs


def sample(probs: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.int64]:
    """One action a row, int64 (N,), by inverting the cumulative distribution."""
    cumulative = probs.astype(np.float64).cumsum(axis=1)  # (N, n_actions)
    threshold = rng.random((len(probs), 1)) * cumulative[:, -1:]
    actions: NDArray[np.int64] = (cumulative > threshold).argmax(axis=1)
    return actions


class GreedyPlay:
    """Takes the likeliest action; where an observation comes back, actions take turns.

    An observation holds all that was seen, so one that comes back says that what was done since
    has led nowhere; in a world without chance the likeliest action would do so for ever. An action
    that was taken n times in this very observation counts ``p / (1 + n)`` (D'Hondt's method), so
    that the turns go by the policy's own probabilities and nothing absurd is tried.
    """

    def __init__(self) -> None:
        self._tried: dict[int, dict[bytes, NDArray[np.int64]]] = defaultdict(dict)

    def choose(
        self, probs: NDArray[np.float32], observations: Observations, envs: NDArray[np.intp]
    ) -> NDArray[np.int64]:
        """Return one action a row, int64 (n,).

        Args:
            probs: (n, n_actions).
            observations: uint8 (n, *observation_shape).
            envs: which environments these are, (n,).
        """
        actions: NDArray[np.int64] = probs.argmax(1)
        for i, env in enumerate(envs):
            tried = self._tried[int(env)]
            counts = tried.setdefault(observations[i].tobytes(), np.zeros(probs.shape[1], np.int64))
            actions[i] = (probs[i] / (1 + counts)).argmax()
            counts[actions[i]] += 1
        return actions

    def forget(self, env: int) -> None:
        """Begin a new episode in this environment."""
        self._tried.pop(env, None)
