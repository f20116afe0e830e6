"""Off-policy estimates: by hand, and against the truth of a small world."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from busy_workspace import SHAPE, STEPS, TASK, write_one_episode
from numpy.typing import NDArray

from llm4teach.analysis.offline_rl.critics import fitted_q_evaluation
from llm4teach.analysis.offline_rl.off_policy import (
    Logged,
    discounted_returns,
    logged_episodes,
    weighted_importance_sampling,
)
from llm4teach.datasets.trajectories import Trajectories, read_steps
from llm4teach.datasets.workspace import Workspace

GAMMA = 0.9
LENGTH = 3


def test_discounted_returns_by_hand() -> None:
    rewards, starts = np.array([1.0, 2.0, 4.0, 8.0]), np.array([0, 3])
    np.testing.assert_allclose(discounted_returns(rewards, starts, 0.5), [1 + 1 + 1, 8])


def hand_made(
    actions: list[int], rewards: list[float], b: list[float], starts: list[int]
) -> Logged:
    return Logged(
        np.zeros((len(actions), 2, 2, 4), np.uint8),
        np.array(actions),
        np.array(rewards),
        np.log(b),
        np.zeros(len(actions), bool),
        np.array(starts),
        np.ones(len(starts), bool),
    )


def test_importance_sampling_by_hand() -> None:
    logged = hand_made([0, 1, 1], [0, 1, 3], [0.5, 0.25, 0.5], [0, 2])
    probs = np.array([[0.5, 0.5], [0.5, 0.5], [0.75, 0.25]])
    w = np.array([0.5 / 0.5 * 0.5 / 0.25, 0.25 / 0.5])  # 2 and 1/2
    found = weighted_importance_sampling(logged, probs, GAMMA)
    assert found is not None
    assert found.value == pytest.approx((w[0] * GAMMA * 1 + w[1] * 3) / w.sum())
    assert found.effective == pytest.approx(2.5**2 / (4 + 0.25)) and found.episodes == 2
    impossible = np.array([[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]])
    assert weighted_importance_sampling(logged, impossible, GAMMA) is None


def world(n_episodes: int, seed: int) -> Logged:
    """Three steps; action 1 pays its step's number, unless the episode began with action 0."""
    rng = np.random.default_rng(seed)
    actions = rng.integers(0, 2, (n_episodes, LENGTH))
    spoilt = actions[:, :1] == 0
    rewards = np.where(spoilt, 0.0, actions * np.arange(1, LENGTH + 1))
    observations = np.zeros((n_episodes, LENGTH, 2, 2, 4), np.uint8)
    observations[:, :, 0, 0, 0] = np.arange(LENGTH)
    observations[:, 1:, 1, 1, 0] = spoilt
    last = np.zeros((n_episodes, LENGTH), bool)
    last[:, -1] = True
    return Logged(
        observations.reshape(-1, 2, 2, 4),
        actions.ravel(),
        rewards.ravel(),
        np.full(actions.size, np.log(0.5)),
        last.ravel(),
        np.arange(n_episodes) * LENGTH,
        np.ones(n_episodes, bool),
    )


def constant(p_one: float):  # type: ignore[no-untyped-def]
    def act(observations: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.tile(np.array([1 - p_one, p_one], np.float32), (len(observations), 1))

    return act


def truth(p: float) -> float:
    return p * (1 + p * (2 * GAMMA + 3 * GAMMA**2))


@pytest.mark.parametrize("p_one", [0.1, 0.5, 0.9])
def test_importance_sampling_finds_the_truth(p_one: float) -> None:
    logged = world(20_000, 0)
    found = weighted_importance_sampling(logged, constant(p_one)(logged.observations), GAMMA)
    assert found is not None and found.value == pytest.approx(truth(p_one), abs=0.06)
    assert found.low < found.value < found.high
    assert (found.effective < 19_000) == (p_one != 0.5)


def test_episodes_of_unknown_behavior_do_not_count() -> None:
    logged = world(2_000, 0)
    policy = constant(0.9)(logged.observations)
    half = logged.starts[1_000]
    known = replace(
        logged,
        observations=logged.observations[:half],
        actions=logged.actions[:half],
        rewards=logged.rewards[:half],
        log_behavior=logged.log_behavior[:half],
        terminated=logged.terminated[:half],
        starts=logged.starts[:1_000],
        whole=logged.whole[:1_000],
    )
    behavior = logged.log_behavior.copy()
    behavior[half:] = np.nan
    mixed = weighted_importance_sampling(replace(logged, log_behavior=behavior), policy, GAMMA)
    alone = weighted_importance_sampling(known, policy[:half], GAMMA)
    assert mixed is not None and alone is not None
    assert mixed.value == pytest.approx(alone.value)


@pytest.mark.extended
def test_fitted_q_evaluation_tells_bad_from_good() -> None:
    pytest.importorskip("d3rlpy")
    logged = world(600, 1)
    good, bad = (fitted_q_evaluation(logged, constant(p), 2, GAMMA, steps=1500) for p in (0.9, 0.1))
    assert good == pytest.approx(truth(0.9), rel=0.1)
    assert bad == pytest.approx(truth(0.1), abs=0.1)


def with_cuts(logged: Logged, lengths: list[int]) -> Logged:
    """The same with the first episodes cut off after so many steps."""
    keep = np.ones(len(logged.actions), bool)
    for episode, length in enumerate(lengths):
        keep[episode * LENGTH + length : (episode + 1) * LENGTH] = False
    whole = logged.whole.copy()
    whole[: len(lengths)] = False
    all_lengths = np.array(lengths + [LENGTH] * (len(whole) - len(lengths)))
    return Logged(
        logged.observations[keep],
        logged.actions[keep],
        logged.rewards[keep],
        logged.log_behavior[keep],
        logged.terminated[keep],
        np.cumsum(all_lengths) - all_lengths,
        whole,
    )


@pytest.mark.extended
def test_cut_episodes_teach_the_critic_and_have_no_weight() -> None:
    pytest.importorskip("d3rlpy")
    logged = world(600, 1)
    cut = with_cuts(logged, [1] * 100 + [2] * 100)
    probs = constant(0.9)
    found = weighted_importance_sampling(cut, probs(cut.observations), GAMMA)
    rest = world(600, 1)
    begin = 200 * LENGTH
    alone = Logged(
        *(part[begin:] for part in (rest.observations, rest.actions, rest.rewards)),
        *(part[begin:] for part in (rest.log_behavior, rest.terminated)),
        rest.starts[:400],
        rest.whole[:400],
    )
    right = weighted_importance_sampling(alone, probs(alone.observations), GAMMA)
    assert found is not None and right is not None
    assert found.value == pytest.approx(right.value) and found.episodes == 400
    estimate = fitted_q_evaluation(cut, probs, 2, GAMMA, steps=1500)
    assert estimate == pytest.approx(truth(0.9), rel=0.1)


def test_episodes_count_from_their_start(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    for episode in range(3):
        write_one_episode(workspace, episode)
    whole = read_steps(workspace.trajectories(TASK), SHAPE)

    def cut(keep: NDArray[np.bool_]) -> Logged | None:
        table = whole.table.filter(keep)
        return logged_episodes(Trajectories(table, whole.observations[keep]))

    rows = np.arange(3 * STEPS)
    headless = cut(rows != STEPS)  # the second lacks its first step
    assert headless is not None and headless.lengths.tolist() == [STEPS, STEPS]
    assert headless.observations[headless.starts, 0, 0, 0].tolist() == [0, 2]
    assert headless.whole.all() and headless.rewards.sum() == 2
    tailless = cut(rows != 2 * STEPS - 1)  # … its last step
    assert tailless is not None and tailless.lengths.tolist() == [STEPS, STEPS - 1, STEPS]
    assert tailless.whole.tolist() == [True, False, True] and tailless.rewards.sum() == 2
    assert cut(rows % STEPS != 0) is None, "no starts"
    assert cut(rows % STEPS != STEPS - 1) is None, "no ends"
