"""Which states are worth a question first, where not all of them get one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from llm4teach.envs.task import State
from llm4teach.teacher_labeling.config import AskOrder

ValueAndShare = tuple[float, float]  # expected return of following a plan, and its probability


def share_left(share: float, questions: int, answered: int) -> int:
    """Return how many more questions may get an answer if a share of them may have one."""
    return max(0, math.ceil(share * questions) - answered)


def in_order(
    states: Sequence[State],
    order: AskOrder,
    steps: Mapping[str, int],
    plans: Callable[[], Mapping[str, Sequence[ValueAndShare]]],
    entropies: Callable[[], Mapping[str, float]],
    seed: int,
) -> list[State]:
    """Return the states in the order in which to ask about them; ties keep their order.

    Args:
        states: distinct ones.
        order: ``first``, as they are; ``random``; ``visits``, most env steps first;
            ``uncertain``, largest entropy of the student's policy first; ``spread``, largest
            difference between the values of two plans first; or ``change``, largest expected change
            of the policy first. A teacher whose choice is distributed as the plans
            are by now changes them by a KL of their entropy, on average; this times the env steps
            in the state is its change.
        steps: how many env steps were made in each state, by its key.
        plans: returns what is known of each state's plans by now, by its key.
        entropies: returns that of the student's policy in each state, nats, by its key. Like
            ``plans`` it is called only where the order needs it.
        seed: of the random order.
    """
    if order == "first":
        return list(states)
    if order == "random":
        return [states[i] for i in np.random.default_rng(seed).permutation(len(states))]
    scores: NDArray[np.float64]  # (K,)
    visits = np.array([steps.get(state.key, 0) for state in states], float)
    if order == "visits":
        scores = visits
    elif order == "uncertain":
        found = entropies()
        scores = np.array([found.get(state.key, 0.0) for state in states])
    else:
        known = plans()
        of_plans = _spread if order == "spread" else _entropy
        scores = np.array([of_plans(known.get(state.key, ())) for state in states])
        scores = scores if order == "spread" else visits * scores
    return [states[i] for i in np.argsort(-scores, kind="stable")]


def _spread(plans: Sequence[ValueAndShare]) -> float:
    values = [value for value, _ in plans]
    return max(values) - min(values) if values else 0.0


def _entropy(plans: Sequence[ValueAndShare]) -> float:
    """Nats."""
    p = np.array([share for _, share in plans if share > 0])
    return float(-(p * np.log(p)).sum())
