"""Advice reweighting: the returns of following each plan correct the teacher's advice.

Collected episodes in which plans were followed form a small semi-Markov decision process over the
states that the teacher can tell apart. Soft policy iteration solves it, with the teacher's advice
as the prior: ``P'(k | c) ~ P(k | c) exp((Q(c, k) - V(c)) / temperature)``, the policy that trades
return against KL to the prior (Todorov 2006; Levine, arXiv 1805.00909, section 2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from llm4teach.datasets import schema
from llm4teach.datasets.runs import EARLIER_REWEIGHTING, REWEIGHTING, reweighting_path
from llm4teach.datasets.storage.parquet import read_parquet, write_parquet
from llm4teach.datasets.storage.paths import StoragePath
from llm4teach.datasets.trajectories import Trajectories
from llm4teach.envs.plan import Plan, named_plan
from llm4teach.envs.task import Mixture, State
from llm4teach.student.collection.behavior import plans_followed
from llm4teach.student.config import PretrainConfig

SWEEPS = 300
_SMALL = 1e-9


@dataclass(frozen=True)
class Segments:
    """Runs of steps that follow one plan in one state; arrays of length S."""

    states: NDArray[np.str_]  # state keys
    plans: NDArray[np.str_]
    rewards: NDArray[np.float64]  # discounted to the segment's first step
    discounts: NDArray[np.float64]  # gamma ** steps; 0 where the episode terminated
    next_states: NDArray[np.str_]  # key after the segment; its own if the episode was truncated


@dataclass(frozen=True)
class ReweightedPlan:
    """One plan in one state, with its probabilities and its value."""

    plan: Plan
    advised: float  # the teacher's probability
    reweighted: float  # the probability after reweighting by returns
    value: float  # expected discounted return of following it, Q(c, k)
    n: int  # segments in which it was followed


def cut_segments(
    states: NDArray[np.str_],
    plans: NDArray[np.str_],
    rewards: NDArray[np.float32],
    terminated: NDArray[np.bool_],
    episode_ends: NDArray[np.bool_],
    gamma: float,
) -> Segments:
    """Cut steps, one episode after the other, into segments.

    Args:
        states: state key of each step, (N,).
        plans: the plan that each step follows, "" for none, (N,).
        rewards: (N,).
        terminated: (N,).
        episode_ends: the last stored step of each episode, (N,).
        gamma: discount factor of a step.
    """
    if not len(states):
        empty = np.zeros(0)
        return Segments(states, plans, empty, empty, states)
    changes = (states[1:] != states[:-1]) | (plans[1:] != plans[:-1]) | episode_ends[:-1]
    starts = np.flatnonzero(np.append(True, changes))  # (S,)
    ends = np.append(starts[1:], len(states)) - 1
    position = np.arange(len(states)) - np.repeat(starts, ends - starts + 1)
    discounted = np.add.reduceat(rewards * gamma**position, starts)
    follows = np.where(episode_ends[ends], ends, np.minimum(ends + 1, len(states) - 1))
    discounts = np.where(terminated[ends], 0.0, gamma ** (ends - starts + 1.0))
    planned = plans[starts] != ""  # (S,)
    return Segments(
        states[starts][planned],
        plans[starts][planned],
        discounted[planned],
        discounts[planned],
        states[follows][planned],
    )


def reweight_advice(
    segments: Segments,
    advice: Mapping[str, Mixture],
    states: Sequence[State],
    *,
    temperature: float,
    error_prior: float,
    evidence: float = 3.0,
) -> dict[State, list[ReweightedPlan]]:
    """Reweight each state's advice by the returns of following its plans.

    Args:
        segments: what was collected under plans.
        advice: the teacher's distribution by state key.
        states: to reweight the advice of, with their admissible plans.
        temperature: return, in units of reward, that makes a plan e times likelier.
        error_prior: prior probability that the teacher is wrong in a state. It is spread over the
            plans whose value exceeds the state's. Without evidence the advice is unchanged.
        evidence: weight, in segments, of the prior assumption that a plan's value is its state's.

    Returns:
        For each state every advised or admissible plan, with its reweighted probability.
    """
    keys = {state.key: i for i, state in enumerate(states)}
    plans = [
        list(dict.fromkeys([*(p for p, _ in advice.get(s.key, ())), *s.options])) for s in states
    ]
    pairs = {(s.key, str(p)): j for j, (s, p) in enumerate(_pairs(states, plans))}
    owner = np.repeat(np.arange(len(states)), [len(p) for p in plans])  # (P,) state of each pair
    advised = np.array([dict(advice.get(s.key, ())).get(p, 0.0) for s, p in _pairs(states, plans)])
    allowed = np.array([p in s.options for s, p in _pairs(states, plans)], float)
    advised_share = _normalized(advised + _SMALL * allowed, owner)
    open_share = error_prior / (1 - error_prior) * _normalized(allowed, owner)

    pair = np.array(
        [pairs.get(sp, -1) for sp in zip(segments.states, segments.plans, strict=True)], int
    )
    following = np.array([keys.get(key, -1) for key in segments.next_states], int)
    used = (pair >= 0) & (following >= 0)
    pair, following = pair[used], following[used]
    rewards, discounts = segments.rewards[used], segments.discounts[used]
    count = np.bincount(pair, minlength=len(owner))  # (P,)

    policy, values = advised_share, np.zeros(len(states))
    for _ in range(SWEEPS):
        targets = rewards + discounts * values[following]
        total = np.bincount(pair, targets, minlength=len(owner))
        q = (total + evidence * values[owner]) / (count + evidence)  # (P,)
        values = np.bincount(owner, policy * q, minlength=len(states)).astype(float)
        better = q > values[owner] + _SMALL
        prior = advised_share + open_share * better
        scores = np.log(prior + _SMALL) + (q - values[owner]) / temperature
        best = np.full(len(states), -np.inf)
        np.maximum.at(best, owner, scores)
        improved = _normalized(np.exp(scores - best[owner]), owner)
        policy = 0.8 * policy + 0.2 * improved  # damped: values follow the policy slowly

    result: dict[State, list[ReweightedPlan]] = {state: [] for state in states}
    for j, (state, plan) in enumerate(_pairs(states, plans)):
        result[state].append(
            ReweightedPlan(plan, float(advised[j]), float(policy[j]), float(q[j]), int(count[j]))
        )
    return result


def reweight_trajectories(
    trajectories: Trajectories,
    states: Sequence[State],
    advice: Callable[[Sequence[State]], Sequence[Mixture]],
    config: PretrainConfig,
    return_scale: float = 1.0,
) -> dict[State, list[ReweightedPlan]]:
    """Reweight the advice by the returns of collected steps; see `reweight_advice`.

    The temperature of the settings is for returns of about 1, and is multiplied by the scale.
    """
    keys, episode_ends = trajectories.column("state_key").astype(str), trajectories.episode_ends
    behaviors = trajectories.column("behavior").astype(str)
    segments = cut_segments(
        keys,
        plans_followed(behaviors, keys, episode_ends),
        trajectories.column("reward"),
        trajectories.column("terminated"),
        episode_ends,
        config.gamma,
    )
    return reweight_advice(
        segments,
        {s.key: mixture for s, mixture in zip(states, advice(states), strict=True)},
        states,
        temperature=config.reweight_temperature * return_scale,
        error_prior=config.advice_error_prior,
    )


def _pairs(states: Sequence[State], plans: list[list[Plan]]) -> list[tuple[State, Plan]]:
    return [(state, plan) for i, state in enumerate(states) for plan in plans[i]]


def _normalized(weights: NDArray[np.float64], owner: NDArray[np.intp]) -> NDArray[np.float64]:
    total = np.bincount(owner, weights)[owner].astype(float)
    shares: NDArray[np.float64] = np.zeros_like(weights)
    np.divide(weights, total, out=shares, where=total > 0)
    return shares


def write_reweighting(
    folder: StoragePath, run_id: str, reweighted: Mapping[State, Sequence[ReweightedPlan]]
) -> None:
    """Store reweighted advice in a run's folder, rows of schema.REWEIGHTING."""
    rows = [
        {
            "run_id": run_id,
            "state_key": state.key,
            "state_text": state.text,
            "plan": str(p.plan),
            "advised": p.advised,
            "reweighted": p.reweighted,
            "value": p.value,
            "segments": p.n,
        }
        for state, plans in reweighted.items()
        for p in plans
    ]
    write_parquet(folder / REWEIGHTING, pa.Table.from_pylist(rows, schema=schema.REWEIGHTING))
    (folder / EARLIER_REWEIGHTING).unlink(missing_ok=True)  # of a run that an earlier version began


def read_reweighted(folder: StoragePath) -> dict[str, Mixture]:
    """Read a run's reweighted advice by state key; empty if the run has none.

    Raises:
        DatasetError: the file is damaged.
    """
    path = reweighting_path(folder)
    if path is None:
        return {}
    plans: dict[str, list[tuple[Plan, float]]] = {}
    for row in read_parquet(path, schema.REWEIGHTING).to_pylist():
        plans.setdefault(row["state_key"], []).append((named_plan(row["plan"]), row["reweighted"]))
    return {key: tuple(mixture) for key, mixture in plans.items()}
