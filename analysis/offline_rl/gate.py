"""The offline gate: what logged steps say about a student. It reports, and decides nothing.

How far the student's actions are above random ones under d3rlpy's conservative critic (DiscreteCQL)
in the logged states, compared with the logged actions; and DiscreteFQE's estimate of its return.
The latter ranks students that solve nothing below those that solve the task, but no threshold holds
on every task. ``benchmarks/offline_gate/scores.py`` measures it; docs/results/gate has the figures.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from llm4teach.analysis.offline_rl.critics import conservative_q, fitted_q_evaluation
from llm4teach.analysis.offline_rl.off_policy import Logged, discounted_returns
from llm4teach.student.policies import Policy

_MOST_STEPS = 20_000  # judged; all are learned from
_SPREAD = 1e-3  # of a standard deviation of the values: below, behavior looks like chance


@dataclass(frozen=True)
class Gate:
    """What the gate found.

    ``lead`` is ``(V(student) - V(random)) / (V(behavior) - V(random))`` under the conservative
    critic, means over the logged steps; None where the behavior is no better than chance.
    """

    lead: float | None
    fitted_q: float | None  # estimated discounted return of the student
    behavior_return: float  # mean discounted return of the logged whole episodes
    steps: int  # logged

    @property
    def reason(self) -> str:
        """The figures, in words for people."""
        if self.lead is None:
            return "the logged actions are no better than random ones: nothing to compare with"
        kept = f"its actions keep {self.lead:.0%} of the logged ones' lead over random actions"
        return f"{kept} ({self.steps:,} logged steps)"

    def as_json(self) -> dict[str, Any]:
        """The figures."""
        return asdict(self)


def offline_gate(
    logged: Logged,
    policy: Policy,
    n_actions: int,
    *,
    gamma: float,
    steps: int,
    seed: int = 0,
) -> Gate | None:
    """Judge a policy by what others have played.

    Args:
        logged: what was played.
        policy: to judge.
        n_actions: of the task.
        gamma: discount factor of a step.
        steps: gradient steps of each critic.
        seed: of networks and batches.

    Returns:
        None where d3rlpy is not installed.
    """
    n = len(logged.actions)
    rows = np.random.default_rng(seed).permutation(n)[:_MOST_STEPS]  # (M,)
    q = conservative_q(logged, n_actions, gamma, steps, seed)
    if q is None:
        return None
    values = q(logged.observations[rows])  # (M, n_actions)
    behavior = float(values[np.arange(len(rows)), logged.actions[rows]].mean())
    chance = float(values.mean())
    student = float((policy(logged.observations[rows]) * values).sum(1).mean())
    tells = behavior - chance > _SPREAD * float(values.std())
    return Gate(
        (student - chance) / (behavior - chance) if tells else None,
        fitted_q_evaluation(logged, policy, n_actions, gamma, steps, seed),
        float(discounted_returns(logged.rewards, logged.starts, gamma)[logged.whole].mean()),
        n,
    )
