"""Evaluation: whole episodes on held-out seeds, for any policy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from llm4teach.envs.seeds import episode_seeds
from llm4teach.envs.task import Task
from llm4teach.envs.vector.episodes import EpisodeVector
from llm4teach.student.config import EvaluateConfig, Mode
from llm4teach.student.policies import BehaviorPolicy, GreedyPlay, Policy, StudentPolicy, sample


def evaluate_policy(
    task: Task,
    policy: Policy | BehaviorPolicy,
    mode: Mode,
    config: EvaluateConfig,
    seed: int,
    on_episodes: Callable[[int], None] = lambda ended: None,
    seeds: Sequence[int] | None = None,
) -> list[dict[str, Any]]:
    """Play the held-out or other episodes; return one dict each, in the order of their seeds.

    Args:
        task: to play.
        policy: gives action probabilities; one with a memory learns which episodes start.
        mode: draw from them (sampled), take the likeliest action always (argmax), or unless it has
            led back to the same observation (greedy; see `GreedyPlay`).
        config: which episodes and how many, and how many run side by side.
        seed: of the drawn actions; the episodes' own seeds are fixed.
        on_episodes: told how many episodes just ended.
        seeds: of other episodes than the ``config.episodes`` held-out ones.

    Returns:
        ``seed``, ``success`` (as the task defines it), ``return``, ``length`` (env steps),
        ``actions`` and ``measures`` (what else the environment says, by name) of each.
    """
    with policy.fixed() if isinstance(policy, StudentPolicy) else nullcontext():
        return _evaluate(task, policy, mode, config, seed, on_episodes, seeds)


def _evaluate(
    task: Task,
    policy: Policy | BehaviorPolicy,
    mode: Mode,
    config: EvaluateConfig,
    seed: int,
    on_episodes: Callable[[int], None],
    seeds: Sequence[int] | None,
) -> list[dict[str, Any]]:
    rng, greedy = np.random.default_rng(seed), GreedyPlay()
    if seeds is None:
        seeds = episode_seeds(config.seeds, config.episodes)
    n_envs = min(config.n_envs, len(seeds))
    envs = EpisodeVector(task, n_envs, iter(seeds))
    played: list[list[int]] = [[] for _ in range(n_envs)]
    returns = np.zeros(n_envs)
    episodes = []
    while envs.active.any():
        running = np.flatnonzero(envs.active)
        seen = envs.observations[running]
        if callable(policy):
            probs = policy(seen)  # (n_running, n_actions)
        else:
            started = envs.steps_in_episode[running] == 0
            probs, _ = policy.act(seen, running, started)
        actions = np.zeros(n_envs, np.int64)
        if mode == "sampled":
            actions[running] = sample(probs, rng)
        elif mode == "greedy":
            seen = task.student_observations(seen)
            actions[running] = greedy.choose(probs, seen, running)
        else:
            actions[running] = probs.argmax(1)
        playing = envs.seeds.copy()
        step = envs.step(actions)
        returns[running] += step.rewards[running]
        for i in running:
            played[i].append(int(actions[i]))
        ended = np.flatnonzero(step.terminated | step.truncated)
        succeeded = task.is_success(step.terminated, returns)  # (n_envs,)
        for i in ended:
            episodes.append(
                {
                    "seed": int(playing[i]),
                    "success": bool(succeeded[i]),
                    "return": float(returns[i]),
                    "length": len(played[i]),
                    "actions": played[i],
                    "measures": {name: float(all_[i]) for name, all_ in envs.measures.items()},
                }
            )
            returns[i], played[i] = 0.0, []
            greedy.forget(int(i))
        if len(ended):
            on_episodes(len(ended))
    return sorted(episodes, key=lambda episode: episode["seed"])
