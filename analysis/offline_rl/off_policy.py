"""What a policy would get, estimated from steps that others have played.

Weighted importance sampling is consistent and needs luck with long episodes; the estimates of
`fitted_q` have less variance and trust a network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm4teach.datasets.trajectories import Trajectories
from llm4teach.envs.task import Observations


@dataclass(frozen=True)
class Logged:
    """Episodes from their start; arrays of length N, one episode after the other.

    Those that were cut off when their collection ended are among them, as they are longer than
    others: who left them out would learn of short episodes alone, which are the solved ones.
    """

    observations: Observations  # uint8 (N, *observation_shape)
    actions: NDArray[np.int64]
    rewards: NDArray[np.float64]
    log_behavior: NDArray[np.float64]  # log-probability of the action, nats
    terminated: NDArray[np.bool_]
    starts: NDArray[np.intp]  # (E,) first step of each episode
    whole: NDArray[np.bool_]  # (E,) whether it is stored to its end

    @property
    def lengths(self) -> NDArray[np.intp]:
        """Steps of each episode, (E,)."""
        return np.diff(np.append(self.starts, len(self.actions)))


@dataclass(frozen=True)
class Weighted:
    """An estimate by importance sampling."""

    value: float
    low: float  # 95% percentile bootstrap over episodes
    high: float
    effective: float  # episodes that it rests on, effectively
    episodes: int  # whole ones


def logged_episodes(trajectories: Trajectories) -> Logged | None:
    """Return the episodes that are stored from their start; None if none of them is whole."""
    t = trajectories.column("t")
    starts = np.flatnonzero(np.append(True, t[1:] != t[:-1] + 1))
    lengths = np.diff(np.append(starts, len(t)))
    over = trajectories.column("terminated") | trajectories.column("truncated")
    begun, whole = t[starts] == 0, over[starts + lengths - 1]
    if not (begun & whole).any():
        return None
    keep = np.repeat(begun, lengths)
    lengths = lengths[begun]
    return Logged(
        trajectories.observations[keep],
        trajectories.column("action")[keep].astype(np.int64),
        trajectories.column("reward")[keep].astype(np.float64),
        trajectories.column("action_logprob")[keep].astype(np.float64),
        trajectories.column("terminated")[keep],
        np.cumsum(lengths) - lengths,
        whole[begun],
    )


def discounted_returns(
    rewards: NDArray[np.float64], starts: NDArray[np.intp], gamma: float
) -> NDArray[np.float64]:
    """Return each episode's discounted return from its start, (E,)."""
    lengths = np.diff(np.append(starts, len(rewards)))
    t = np.arange(len(rewards)) - np.repeat(starts, lengths)
    returns: NDArray[np.float64] = np.add.reduceat(rewards * gamma**t, starts)
    return returns


def weighted_importance_sampling(
    logged: Logged, probs: NDArray[np.floating[Any]], gamma: float, seed: int = 0
) -> Weighted | None:
    """Estimate a policy's discounted return: ``sum_i w_i G_i / sum_i w_i``.

    With ``w_i = prod_t pi(a_t | s_t) / b(a_t | s_t)`` over the whole episode (Precup, Sutton and
    Singh 2000). ``effective`` is Kish's ``(sum w)^2 / sum w^2``: under about ten episodes the
    estimate, and its interval, mean little. Episodes that were cut off have no return and are left
    out, which leans the estimate towards short ones.

    Args:
        logged: what was played.
        probs: the policy's action probabilities at every step, (N, n_actions).
        gamma: discount factor of a step.
        seed: of the bootstrap.

    Returns:
        None where no episode could have been the policy's.
    """
    chosen = probs[np.arange(len(logged.actions)), logged.actions].astype(np.float64)
    with np.errstate(divide="ignore"):
        ratio = np.log(chosen) - logged.log_behavior  # (N,)
    log_weights = np.add.reduceat(ratio, logged.starts)[logged.whole]  # (E',) of the whole ones
    log_weights[
        np.isnan(log_weights)
    ] = -np.inf  # imported without the probabilities of its actions
    if not np.isfinite(log_weights).any():
        return None
    weights = np.exp(log_weights - log_weights.max())
    returns = discounted_returns(logged.rewards, logged.starts, gamma)[logged.whole]
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(weights), size=(1000, len(weights)))
    totals = weights[drawn].sum(1)
    means = (weights * returns)[drawn].sum(1)[totals > 0] / totals[totals > 0]
    low, high = np.quantile(means, [0.025, 0.975])
    return Weighted(
        float((weights * returns).sum() / weights.sum()),
        float(low),
        float(high),
        float(weights.sum() ** 2 / (weights**2).sum()),
        len(weights),
    )
