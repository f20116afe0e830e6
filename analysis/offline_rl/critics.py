"""Critics fitted to logged steps by d3rlpy: fitted Q evaluation, and a conservative Q function."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm4teach.analysis.offline_rl.off_policy import Logged
from llm4teach.envs.encoding import EncoderName
from llm4teach.envs.task import Observations
from llm4teach.student.policies import Policy, sample

QFunction = Callable[[Observations], NDArray[np.float32]]  # (N, *shape) to (N, n_actions)

_LEARNING_RATE = 1e-3
_TARGET_UPDATE = 20  # gradient steps; with d3rlpy's 100 rewards at the end hardly reach the start


def fitted_q(
    logged: Logged, policy: Policy, n_actions: int, gamma: float, steps: int, seed: int = 0
) -> QFunction | None:
    """Fit a policy's Q function by d3rlpy's DiscreteFQE (Le et al., arXiv 1903.08738).

    The value of actions that nobody has tried is invented by the network. Targets take an action
    drawn from the policy in the next observation.

    Args:
        logged: what was played.
        policy: to evaluate.
        n_actions: of the task.
        gamma: discount factor of a step.
        steps: gradient steps.
        seed: of the network and the batches.

    Returns:
        None where d3rlpy is not installed.
    """
    d3rlpy = _d3rlpy()
    if d3rlpy is None:
        return None
    d3rlpy.seed(seed)
    chooser = _Chooser(policy, np.random.default_rng(seed), logged.observations.shape[1:])
    with _quiet():
        config = d3rlpy.ope.FQEConfig(
            learning_rate=_LEARNING_RATE,
            gamma=gamma,
            target_update_interval=_TARGET_UPDATE,
            encoder_factory=_encoder(logged),
        )
        fqe = d3rlpy.ope.DiscreteFQE(algo=SimpleNamespace(impl=chooser), config=config)
        _fit(fqe, logged, n_actions, steps)
    return partial(_values, fqe, n_actions=n_actions)


def fitted_q_evaluation(
    logged: Logged, policy: Policy, n_actions: int, gamma: float, steps: int, seed: int = 0
) -> float | None:
    """Estimate a policy's discounted return by `fitted_q`: the mean value at the episodes' starts.

    It ranks useless policies below good ones; no threshold holds on every task
    (docs/results/gate). None where d3rlpy is not installed.
    """
    q = fitted_q(logged, policy, n_actions, gamma, steps, seed)
    if q is None:
        return None
    first = logged.observations[logged.starts]  # (E, *observation_shape)
    return float((policy(first) * q(first)).sum(1).mean())


def conservative_q(
    logged: Logged,
    n_actions: int,
    gamma: float,
    steps: int,
    seed: int = 0,
    batch_size: int = 64,
    reads: EncoderName | None = None,
) -> QFunction | None:
    """Fit the Q function of the best policy by d3rlpy's DiscreteCQL.

    Conservative Q-learning (Kumar et al., arXiv 2006.04779) holds the values of actions that were
    not tried below those that were. The scale of the values means little, their order does.

    Args:
        logged: what was played; all of it is learned from.
        n_actions: of the task.
        gamma: discount factor of a step.
        steps: gradient steps.
        seed: of the network and the batches.
        batch_size: steps per gradient step.
        reads: the student's encoder that reads the observations; by default their shape decides.

    Returns:
        None where d3rlpy is not installed.
    """
    cql = _fitted(
        "DiscreteCQL",
        logged,
        n_actions,
        steps,
        seed,
        reads,
        batch_size=batch_size,
        gamma=gamma,
        target_update_interval=_TARGET_UPDATE,
    )
    if cql is None:
        return None
    return partial(_values, cql, n_actions=n_actions)


def greedy_policy(q: QFunction) -> Policy:
    """Return the policy that takes the action of the highest value."""

    def act(observations: Observations) -> NDArray[np.float32]:
        values = q(observations)  # (N, n_actions)
        chosen: NDArray[np.float32] = np.eye(values.shape[1], dtype=np.float32)[values.argmax(1)]
        return chosen

    return act


def cloned_policy(
    logged: Logged,
    n_actions: int,
    steps: int,
    seed: int = 0,
    batch_size: int = 64,
    reads: EncoderName | None = None,
) -> Policy | None:
    """Fit a policy to the logged actions by d3rlpy's DiscreteBC (behavior cloning).

    Args:
        logged: what was played; all of it is learned from.
        n_actions: of the task.
        steps: gradient steps.
        seed: of the network and the batches.
        batch_size: steps per gradient step.
        reads: the student's encoder that reads the observations; by default their shape decides.

    Returns:
        None where d3rlpy is not installed.
    """
    # Plain maximum likelihood: d3rlpy's penalty of logits (beta 0.5) leaves probabilities that are
    # nearly uniform, which makes a sampled policy useless.
    cloning = _fitted(
        "DiscreteBC", logged, n_actions, steps, seed, reads, batch_size=batch_size, beta=0.0
    )
    if cloning is None:
        return None
    import torch

    @torch.no_grad()
    def act(observations: Observations) -> NDArray[np.float32]:
        logits = cloning.impl.modules.imitator(torch.from_numpy(_flat(observations))).logits
        probs: NDArray[np.float32] = torch.softmax(logits, -1).numpy()
        return probs

    return act


def _fitted(
    algorithm: str,
    logged: Logged,
    n_actions: int,
    steps: int,
    seed: int,
    reads: EncoderName | None,
    **settings: Any,
) -> Any:
    """Return one of d3rlpy's algorithms, by name, after its gradient steps; None without d3rlpy."""
    d3rlpy = _d3rlpy()
    if d3rlpy is None:
        return None
    d3rlpy.seed(seed)
    with _quiet():
        config = getattr(d3rlpy.algos, f"{algorithm}Config")(
            learning_rate=_LEARNING_RATE, encoder_factory=_encoder(logged, reads), **settings
        )
        learner = config.create(device="cpu:0")
        _fit(learner, logged, n_actions, steps)
    return learner


def _d3rlpy() -> ModuleType | None:
    with suppress(ImportError):  # gym, which d3rlpy imports, prints that nobody maintains it
        from gym_notices import notices

        notices.notices.clear()
    try:
        with _quiet():
            import d3rlpy
    except ImportError:
        return None
    return d3rlpy


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep d3rlpy's log and its warnings to itself."""
    with redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _encoder(logged: Logged, reads: EncoderName | None = None) -> Any:
    from llm4teach.analysis.offline_rl.critic_encoder import CriticEncoderFactory

    return CriticEncoderFactory(shape=list(logged.observations.shape[1:]), reads=reads or "")


def _fit(learner: Any, logged: Logged, n_actions: int, steps: int) -> None:
    import d3rlpy
    from d3rlpy.logging import NoopAdapterFactory

    over = np.zeros(len(logged.actions), np.bool_)
    over[logged.starts + logged.lengths - 1] = True
    dataset = d3rlpy.dataset.MDPDataset(
        observations=_flat(logged.observations),
        actions=logged.actions[:, None],
        rewards=logged.rewards.astype(np.float32)[:, None],
        terminals=(over & logged.terminated).astype(np.float32),
        timeouts=(over & ~logged.terminated).astype(np.float32),
        action_space=d3rlpy.ActionSpace.DISCRETE,
        action_size=n_actions,
    )
    learner.fit(
        dataset,
        n_steps=steps,
        n_steps_per_epoch=steps,
        logger_adapter=NoopAdapterFactory(),
        show_progress=False,
        save_interval=steps + 1,
    )


def _values(learner: Any, observations: Observations, n_actions: int) -> NDArray[np.float32]:
    inputs = _flat(observations)
    with _quiet():
        each = [learner.predict_value(inputs, np.full(len(inputs), a)) for a in range(n_actions)]
    return np.stack(each, 1)  # (N, n_actions)


def _flat(observations: Observations) -> Observations:
    """(N, *observation_shape) to (N, size): d3rlpy knows vectors and images, and these are maps."""
    return np.ascontiguousarray(observations.reshape(len(observations), -1))


class _Chooser:
    """What DiscreteFQE asks of an algorithm: an action of the policy in each observation."""

    def __init__(
        self, policy: Policy, rng: np.random.Generator, observation_shape: tuple[int, ...]
    ) -> None:
        self._policy, self._rng, self._shape = policy, rng, observation_shape

    def predict_best_action(self, x: Any) -> Any:
        """Draw actions for observations, float tensor (B, size)."""
        import torch

        observations = x.detach().cpu().numpy().astype(np.uint8).reshape(-1, *self._shape)
        return torch.from_numpy(sample(self._policy(observations), self._rng)).to(x.device)
