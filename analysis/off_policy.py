"""What a policy would get, estimated from steps that others have played.

Two estimates that need no environment: weighted importance sampling, which is consistent and needs
luck with long episodes, and fitted Q evaluation, which has less variance and trusts a network.
"""

from __future__ import annotations

import io
import warnings
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm4teach.datasets.trajectories import Trajectories
from llm4teach.envs.task import Observations
from llm4teach.student.policies import Policy

_TARGET_UPDATE = 20  # gradient steps; with d3rlpy's 100 rewards at the end hardly reach the start
_CODES = 16  # values that a channel of an observation can have


@dataclass(frozen=True)
class Logged:
    """Complete episodes; arrays of length N, one episode after the other."""

    observations: Observations  # uint8 (N, *observation_shape)
    actions: NDArray[np.int64]
    rewards: NDArray[np.float64]
    log_behaviour: NDArray[np.float64]  # log-probability of the action, nats
    terminated: NDArray[np.bool_]
    starts: NDArray[np.intp]  # (E,) first step of each episode

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
    episodes: int


def complete_episodes(trajectories: Trajectories) -> Logged | None:
    """Return the episodes that are stored from start to end; None if there are none."""
    t = trajectories.column("t")
    starts = np.flatnonzero(np.append(True, t[1:] != t[:-1] + 1))
    ends = np.append(starts[1:], len(t)) - 1
    over = trajectories.column("terminated") | trajectories.column("truncated")
    whole = (t[starts] == 0) & over[ends]
    keep = np.repeat(whole, ends - starts + 1)
    if not whole.any():
        return None
    lengths = (ends - starts + 1)[whole]
    return Logged(
        trajectories.observations[keep],
        trajectories.column("action")[keep].astype(np.int64),
        trajectories.column("reward")[keep].astype(np.float64),
        trajectories.column("action_logprob")[keep].astype(np.float64),
        trajectories.column("terminated")[keep],
        np.cumsum(lengths) - lengths,
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
    estimate, and its interval, mean little.

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
        ratio = np.log(chosen) - logged.log_behaviour  # (N,)
    log_weights = np.add.reduceat(ratio, logged.starts)  # (E,)
    log_weights[
        np.isnan(log_weights)
    ] = -np.inf  # imported without the probabilities of its actions
    if not np.isfinite(log_weights).any():
        return None
    weights = np.exp(log_weights - log_weights.max())
    returns = discounted_returns(logged.rewards, logged.starts, gamma)
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


def fitted_q_evaluation(
    logged: Logged, policy: Policy, n_actions: int, gamma: float, steps: int, seed: int = 0
) -> float | None:
    """Estimate a policy's discounted return by d3rlpy's DiscreteFQE (Le et al., arXiv 1903.08738).

    It may tell bad policies from good ones; close ones it does not rank, and with few or long
    episodes it can be far off. Targets take an action drawn from the policy in the next
    observation.

    Args:
        logged: what was played.
        policy: to evaluate.
        n_actions: of the task.
        gamma: discount factor of a step.
        steps: gradient steps.
        seed: of the network and the batches.

    Returns:
        The mean value at the episodes' starts; None where d3rlpy is not installed.
    """
    with suppress(ImportError):  # gym, which d3rlpy imports, prints that nobody maintains it
        from gym_notices import notices

        notices.notices.clear()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import d3rlpy
            from d3rlpy.logging import NoopAdapterFactory
    except ImportError:
        return None
    from llm4teach.analysis.fqe_encoder import OneHotFactory

    d3rlpy.seed(seed)
    rng = np.random.default_rng(seed)
    ends = logged.starts + logged.lengths - 1
    over = np.zeros(len(logged.actions), np.bool_)
    over[ends] = True
    with redirect_stdout(io.StringIO()), warnings.catch_warnings():  # its log
        warnings.simplefilter("ignore")
        dataset = d3rlpy.dataset.MDPDataset(
            observations=_channels_first(logged.observations),
            actions=logged.actions[:, None],
            rewards=logged.rewards.astype(np.float32)[:, None],
            terminals=(over & logged.terminated).astype(np.float32),
            timeouts=(over & ~logged.terminated).astype(np.float32),
            action_space=d3rlpy.ActionSpace.DISCRETE,
            action_size=n_actions,
        )
        fqe = d3rlpy.ope.DiscreteFQE(
            algo=SimpleNamespace(impl=_Chooser(policy, rng)),  # type: ignore[arg-type]
            config=d3rlpy.ope.FQEConfig(
                learning_rate=1e-3,
                gamma=gamma,
                target_update_interval=_TARGET_UPDATE,
                encoder_factory=OneHotFactory(codes=_CODES),
            ),
        )
        fqe.fit(
            dataset,
            n_steps=steps,
            n_steps_per_epoch=steps,
            logger_adapter=NoopAdapterFactory(),
            show_progress=False,
            save_interval=steps + 1,
        )
        first = logged.observations[logged.starts]  # (E, *observation_shape)
        inputs = _channels_first(first)
        q = [fqe.predict_value(inputs, np.full(len(first), a)) for a in range(n_actions)]
    return float((policy(first) * np.stack(q, 1)).sum(1).mean())


def _channels_first(observations: Observations) -> Observations:
    """(N, width, height, channels) to (N, channels, width, height), as d3rlpy wants it."""
    return np.ascontiguousarray(observations.transpose(0, 3, 1, 2))


class _Chooser:
    """What DiscreteFQE asks of an algorithm: an action of the policy in each observation."""

    def __init__(self, policy: Policy, rng: np.random.Generator) -> None:
        self._policy, self._rng = policy, rng

    def predict_best_action(self, x: Any) -> Any:
        """Draw actions for observations, float tensor (B, channels, width, height)."""
        import torch

        from llm4teach.student.policies import sample

        observations = x.detach().cpu().numpy().astype(np.uint8).transpose(0, 2, 3, 1)
        probs = self._policy(np.ascontiguousarray(observations))
        return torch.from_numpy(sample(probs, self._rng)).to(x.device)
