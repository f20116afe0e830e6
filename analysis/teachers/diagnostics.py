"""Is a teacher any good? All that can be said of stored advice before any training."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm4teach.analysis.offline_rl.critics import fitted_q_evaluation
from llm4teach.analysis.offline_rl.off_policy import (
    Logged,
    discounted_returns,
    logged_episodes,
    weighted_importance_sampling,
)
from llm4teach.analysis.statistics import bootstrap_mean_interval, wilson_interval
from llm4teach.analysis.teachers import calibration as stats
from llm4teach.analysis.teachers.option_values import (
    OptionValues,
    guided_policy,
    option_values,
    uniform_mixture,
)
from llm4teach.analysis.teachers.stored import StoredTeacher, stored_teachers
from llm4teach.datasets.storage.parquet import part_paths
from llm4teach.datasets.trajectories import read_steps
from llm4teach.datasets.workspace import Workspace
from llm4teach.envs.seeds import episode_seeds
from llm4teach.envs.task import Mixture, Observations, State, Task
from llm4teach.errors import DatasetError
from llm4teach.student.config import EvaluateConfig
from llm4teach.student.evaluation.evaluate import evaluate_policy
from llm4teach.student.evaluation.replay import replay_episodes
from llm4teach.student.policies import Policy
from llm4teach.teacher_labeling.questions import SOFTMAX_TEMPERATURE

UNCERTAIN = 0.5  # share of the greatest entropy possible, from which advice counts as uncertain
GAMMA = 0.99
NOISE = 0.1  # of the policy whose value is estimated: without, hardly a logged episode fits
ROLLOUT_EPISODES = 200
LOGGED_EPISODES = 1000  # of which values are estimated, at most

Facts = dict[str, Any]


def diagnose(
    workspace: Workspace,
    task: Task,
    config: EvaluateConfig,
    *,
    fqe_steps: int = 2000,
    seed: int = 0,
    softmax_temperature: float = SOFTMAX_TEMPERATURE,
    on_step: Callable[[str], None] = lambda what: None,
) -> Facts:
    """Judge every teacher that has stored advice on a task; nobody is asked anything.

    Args:
        workspace: with advice, and with trajectories for the off-policy estimates.
        task: to judge them on.
        config: how many held-out episodes tell the truth about a policy.
        fqe_steps: gradient steps of fitted Q evaluation a teacher; 0 leaves it out.
        seed: of everything drawn.
        softmax_temperature: that composes the advice of teachers with judgments.
        on_step: told what is being done.

    Returns:
        Plain data: ``teachers`` (facts, calibration, values and estimates of each), ``agreement``
        of each two, ``states`` with what each plan is worth and what each teacher says,
        ``baseline`` (options without any teacher), ``logged`` episodes, and the settings.

    Raises:
        DatasetError: there is no advice, or a part is damaged.
    """
    teachers = stored_teachers(workspace, task, softmax_temperature)
    if not teachers:
        raise DatasetError(
            f"no advice on {task.family} in {workspace.root}; ask a teacher first "
            "(llm4teach collect, then llm4teach label)"
        )
    on_step("what each option leads to")
    also = {
        key: list(dict.fromkeys(plan for t in teachers for plan in t.plans(key)))
        for key in {key for teacher in teachers for key in teacher.advice}
    }
    seeds = episode_seeds("development", ROLLOUT_EPISODES)
    values = option_values(task, seeds, also, gamma=GAMMA, seed=seed)
    for teacher in teachers:
        for state_values in values.values():
            teacher.mixture(state_values.state)  # composed before the states are compared
    logged = _logged(workspace, task)
    on_step("options without a teacher")
    baseline = _truth(task, guided_policy(task, uniform_mixture), config, seed)
    judged = []
    for teacher in teachers:
        on_step(teacher.label)
        judged.append(_judge(task, teacher, values, logged, config, fqe_steps, seed))
    return {
        "task": task.name,
        "teachers": judged,
        "agreement": _agreements(teachers),
        "states": _states(values, teachers),
        "baseline": baseline,
        "logged": 0 if logged is None else len(logged.starts),
        "logged_cut": 0 if logged is None else int((~logged.whole).sum()),
        "episodes": config.episodes,
        "uncertain": UNCERTAIN,
        "gamma": GAMMA,
        "noise": NOISE,
        "fqe_steps": fqe_steps,
        "seed": seed,
    }


def _judge(
    task: Task,
    teacher: StoredTeacher,
    values: Mapping[str, OptionValues],
    logged: Logged | None,
    config: EvaluateConfig,
    fqe_steps: int,
    seed: int,
) -> Facts:
    policy = guided_policy(task, teacher.mixture)
    forecasts = [
        stats.judge(teacher.advice[key], state_values.best)
        for key, state_values in values.items()
        if key in teacher.advice and tells(state_values)
    ]
    calibration = stats.calibration(forecasts)
    facts: Facts = {
        **teacher.facts(),
        "calibration": None if calibration is None else asdict(calibration),
        "uncertain_states": sum(
            _is_uncertain(teacher, state_values.state) for state_values in values.values()
        ),
        "unknown_states": sum(key not in teacher.advice for key in values),
        "own": _truth(task, policy, config, seed),
        "cautious": _truth(task, guided_policy(task, _cautious(teacher)), config, seed),
    }
    return facts | _estimates(task, _noisy(policy), logged, config, fqe_steps, seed)


def _estimates(
    task: Task,
    policy: Policy,
    logged: Logged | None,
    config: EvaluateConfig,
    fqe_steps: int,
    seed: int,
) -> Facts:
    """The truth about a policy, and what the logged episodes say of it."""
    estimates: Facts = dict.fromkeys(("noisy", "importance_sampling", "fitted_q"))
    if logged is None:
        return estimates
    estimates["noisy"] = _truth(task, policy, config, seed)
    weighted = weighted_importance_sampling(logged, policy(logged.observations), GAMMA, seed)
    estimates["importance_sampling"] = None if weighted is None else asdict(weighted)
    if fqe_steps:
        n_actions = len(task.action_names)
        estimates["fitted_q"] = fitted_q_evaluation(
            logged, policy, n_actions, GAMMA, fqe_steps, seed
        )
    return estimates


def _noisy(policy: Policy) -> Policy:
    """Return the policy with a share of uniformly random actions, as trajectories are collected."""

    def act(observations: Observations) -> NDArray[np.float32]:
        probs = policy(observations)  # (N, n_actions)
        return (1 - NOISE) * probs + np.float32(NOISE / probs.shape[1])

    return act


def tells(state_values: OptionValues) -> bool:
    """Whether a choice in this state can be right or wrong: some plan is clearly worse."""
    return len(state_values.best) < len(state_values.plans)


def _is_uncertain(teacher: StoredTeacher, state: State) -> bool:
    advice = {str(plan): p for plan, p in teacher.mixture(state)}
    if not advice or len(state.options) < 2:
        return False
    return stats.entropy(advice) > UNCERTAIN * math.log(len(state.options))


def _cautious(teacher: StoredTeacher) -> Callable[[State], Mixture]:
    """The advice, and any admissible plan where it is uncertain."""

    def mixture(state: State) -> Mixture:
        unsure = _is_uncertain(teacher, state)
        return uniform_mixture(state) if unsure else teacher.mixture(state)

    return mixture


def _truth(task: Task, policy: Policy, config: EvaluateConfig, seed: int) -> Facts:
    """What a policy really gets on the held-out episodes."""
    episodes = evaluate_policy(task, policy, "sampled", config, seed)
    _, rewards, episode = replay_episodes(task, episodes)
    starts = np.searchsorted(episode, np.arange(len(episodes)))
    returns = discounted_returns(rewards, starts, GAMMA)
    wins = sum(e["success"] for e in episodes)
    success, value = wilson_interval(wins, len(episodes)), bootstrap_mean_interval(returns)
    return {
        "success": wins / len(episodes),
        "success_low": success.low,
        "success_high": success.high,
        "value": float(returns.mean()),
        "value_low": value.low,
        "value_high": value.high,
        "length": float(np.mean([e["length"] for e in episodes])),
    }


def _logged(workspace: Workspace, task: Task) -> Logged | None:
    folder = workspace.trajectories(task.name)
    if not part_paths(folder):
        return None
    logged = logged_episodes(read_steps(folder, task.observation_shape))
    if logged is None or len(logged.starts) <= LOGGED_EPISODES:
        return logged
    end = int(logged.starts[LOGGED_EPISODES])
    return Logged(
        logged.observations[:end],
        logged.actions[:end],
        logged.rewards[:end],
        logged.log_behavior[:end],
        logged.terminated[:end],
        logged.starts[:LOGGED_EPISODES],
        logged.whole[:LOGGED_EPISODES],
    )


def _agreements(teachers: Sequence[StoredTeacher]) -> list[Facts]:
    rows = []
    for a, b in combinations(teachers, 2):
        if agreement := stats.agreement(a.advice, b.advice):
            rows.append({"a": a.label, "b": b.label, **agreement._asdict()})
    return rows


def _states(values: Mapping[str, OptionValues], teachers: Sequence[StoredTeacher]) -> list[Facts]:
    """Each state with its plans, best first, and each teacher's share for them."""
    rows = []
    for key, state_values in values.items():
        order = np.argsort(-state_values.means, kind="stable").tolist()
        plans = [
            {
                "plan": str(state_values.plans[i]),
                "value": float(state_values.means[i]),
                "best": str(state_values.plans[i]) in state_values.best,
                "shares": [t.advice.get(key, {}).get(str(state_values.plans[i])) for t in teachers],
            }
            for i in order
        ]
        rows.append(
            {
                "state_key": key,
                "state_text": state_values.state.text,
                "visits": len(state_values.returns),
                "tells": tells(state_values),
                "plans": plans,
                "advised": [key in t.advice for t in teachers],
            }
        )
    return sorted(rows, key=lambda row: (-row["visits"], row["state_text"]))
