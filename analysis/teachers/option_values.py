"""What each option is worth in each state, by playing on from there with every one of them.

The truth that advice is judged by: it comes from the environment and not from any teacher. From
real visits of a state each plan is followed until the state changes, and then the best plans known
so far; these are found in rounds, beginning with any admissible plan (policy iteration on the
states that the teacher can tell apart).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm4teach.envs.plan import Plan
from llm4teach.envs.task import Mixture, Observations, State, Task
from llm4teach.envs.vector.episodes import EpisodeVector
from llm4teach.student.policies import Policy, sample

_AT_ONCE = 4096  # environments
_SMALL = 1e-9


@dataclass(frozen=True)
class Visit:
    """A moment of an episode: its seed and the actions that lead there."""

    seed: int
    actions: tuple[int, ...]


@dataclass(frozen=True)
class OptionValues:
    """Returns of following each plan from the same visits of one state."""

    state: State
    plans: tuple[Plan, ...]
    returns: NDArray[np.float64]  # (n_visits, n_plans), discounted to the visit

    @property
    def means(self) -> NDArray[np.float64]:
        """Mean return of each plan, (n_plans,)."""
        means: NDArray[np.float64] = self.returns.mean(0)
        return means

    @property
    def best(self) -> set[str]:
        """The plan with the highest mean, and all that are not clearly worse.

        Clearly is by more than two standard errors of the difference, paired by visit.
        """
        top = int(self.means.argmax())
        lead = self.returns[:, top, None] - self.returns  # (n_visits, n_plans)
        error = (
            lead.std(0, ddof=1) / np.sqrt(len(lead))
            if len(lead) > 1
            else np.full(len(self.plans), np.inf)
        )
        close = lead.mean(0) <= 2 * error + _SMALL
        return {str(plan) for plan, fits in zip(self.plans, close, strict=True) if fits}


def guided_policy(task: Task, mixture: Callable[[State], Mixture]) -> Policy:
    """Return the policy of the options that ``mixture`` gives; any action where none can act."""
    index_of: dict[int, int] = {}
    mixtures: tuple[Mixture, ...] = ()  # one tuple as long as it does: grounding looks at it once

    def act(observations: Observations) -> NDArray[np.float32]:
        nonlocal mixtures
        ids = task.identify(observations)  # (N,)
        for state_id in set(ids.tolist()) - index_of.keys():
            index_of[state_id] = len(mixtures)
            mixtures += (mixture(task.state(state_id)),)
        which = np.array([index_of[i] for i in ids.tolist()], np.int64)
        probs = task.ground(observations, mixtures, which)  # (N, n_actions)
        probs[probs.sum(1) == 0] = 1 / probs.shape[1]
        return probs

    return act


def uniform_mixture(state: State) -> Mixture:
    """Return every admissible plan alike: options without any teacher."""
    return tuple((plan, 1 / len(state.options)) for plan in state.options)


def option_values(
    task: Task,
    seeds: Sequence[int],
    also: Mapping[str, Sequence[Plan]] | None = None,
    *,
    rounds: int = 3,
    visits: int = 40,
    gamma: float = 0.99,
    seed: int = 0,
    on_round: Callable[[int], None] = lambda done: None,
) -> dict[str, OptionValues]:
    """Find what each plan is worth in each state that play leads to, by state key.

    Args:
        task: to play.
        seeds: of the episodes whose moments are played on from.
        also: plans to try beside the admissible ones, by state key.
        rounds: of following the best plans of the round before.
        visits: moments of each state, at most; no two of one episode.
        gamma: discount factor of a step.
        seed: of the drawn actions.
        on_round: told how many rounds are done.
    """
    rng = np.random.default_rng(seed)
    values: dict[str, OptionValues] = {}

    def best_plans(state: State) -> Mixture:
        state_values = values.get(state.key)
        if state_values is None:
            return uniform_mixture(state)
        best = [plan for plan in state_values.plans if str(plan) in state_values.best]
        return tuple((plan, 1 / len(best)) for plan in best)

    def explore(state: State) -> Mixture:
        shares: dict[Plan, float] = {}
        for share, mixture in ((0.7, best_plans(state)), (0.3, uniform_mixture(state))):
            for plan, p in mixture:
                shares[plan] = shares.get(plan, 0.0) + share * p
        return tuple(shares.items())

    for done in range(rounds):
        visited = find_visits(task, guided_policy(task, explore), seeds, visits, rng)
        plans = {
            state: tuple(dict.fromkeys([*state.options, *(also or {}).get(state.key, ())]))
            for state in visited
        }
        jobs = [
            (v, p) for s, state_visits in visited.items() for v in state_visits for p in plans[s]
        ]
        policy = guided_policy(task, best_plans)
        returns = np.concatenate(
            [
                follow(task, jobs[i : i + _AT_ONCE], policy, gamma, rng)
                for i in range(0, len(jobs), _AT_ONCE)
            ]
        )
        update, at = {}, 0
        for state, state_visits in visited.items():
            n = len(state_visits) * len(plans[state])
            block = returns[at : at + n].reshape(len(state_visits), -1)  # (n_visits, n_plans)
            update[state.key] = OptionValues(state, plans[state], block)
            at += n
        values.update(update)
        on_round(done + 1)
    return values


def find_visits(
    task: Task, policy: Policy, seeds: Sequence[int], at_most: int, rng: np.random.Generator
) -> dict[State, list[Visit]]:
    """Play episodes; return the moments in which they came into each state first."""
    envs = EpisodeVector(task, len(seeds), iter(seeds))
    own_seeds = envs.seeds.copy()
    played: list[list[int]] = [[] for _ in seeds]
    met: dict[int, dict[int, Visit]] = {}
    while envs.active.any():
        running = np.flatnonzero(envs.active)
        observations = envs.observations[running]
        for i, state_id in zip(running.tolist(), task.identify(observations).tolist(), strict=True):
            state_visits = met.setdefault(state_id, {})
            if len(state_visits) < at_most and i not in state_visits:
                state_visits[i] = Visit(int(own_seeds[i]), tuple(played[i]))
        actions = np.zeros(len(seeds), np.int64)
        actions[running] = sample(policy(observations), rng)
        for i in running.tolist():
            played[i].append(int(actions[i]))
        envs.step(actions)
    return {task.state(i): list(state_visits.values()) for i, state_visits in sorted(met.items())}


def follow(
    task: Task,
    jobs: Sequence[tuple[Visit, Plan]],
    policy: Policy,
    gamma: float,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Play on from visits: a plan until its state changes or it is done, then the policy.

    Returns:
        The discounted return of each job, (n,).
    """
    envs = EpisodeVector(task, len(jobs), iter(()))
    state = [{"seed": v.seed, "active": True, "actions": list(v.actions)} for v, _ in jobs]
    envs.restore(state, iter(()), 0)
    plans = list(dict.fromkeys(plan for _, plan in jobs))
    mixtures = tuple(((plan, 1.0),) for plan in plans)
    which = np.array([plans.index(plan) for _, plan in jobs])
    first = task.identify(envs.observations)
    holding = np.ones(len(jobs), np.bool_)
    returns, discount = np.zeros(len(jobs)), 1.0
    while envs.active.any():
        running = np.flatnonzero(envs.active)
        observations = envs.observations[running]
        holding[running] &= task.identify(observations) == first[running]
        probs = policy(observations)  # (n_running, n_actions)
        held = np.flatnonzero(holding[running])
        policy_probs = task.ground(observations[held], mixtures, which[running[held]])
        acts = policy_probs.sum(1) > 0
        probs[held[acts]] = policy_probs[acts]
        holding[running[held[~acts]]] = False
        actions = np.zeros(len(jobs), np.int64)
        actions[running] = sample(probs, rng)
        returns[running] += discount * envs.step(actions).rewards[running]
        discount *= gamma
    return returns
