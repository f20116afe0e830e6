"""The offline report: what it measures on a task that a table could solve."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from llm4teach.analysis.offline_rl.gate import Gate, offline_gate
from llm4teach.analysis.offline_rl.off_policy import Logged
from llm4teach.envs.task import Observations

pytest.importorskip("d3rlpy")
EPISODES, LENGTH, ACTIONS = 150, 4, 3


def logged_episodes(noise: float, seed: int = 0) -> Logged:
    """In state s the action s mod 3 is right; an episode pays if all of its actions were."""
    rng = np.random.default_rng(seed)
    states = np.tile(np.arange(LENGTH), EPISODES)
    right = states % ACTIONS
    actions = np.where(
        rng.random(len(states)) < noise, rng.integers(ACTIONS, size=len(states)), right
    )
    paid = (actions == right).reshape(EPISODES, LENGTH).all(1)
    rewards = np.zeros((EPISODES, LENGTH))
    rewards[:, -1] = paid
    ends = np.zeros((EPISODES, LENGTH), bool)
    ends[:, -1] = True
    observations = np.zeros((len(states), 2, 2, 4), np.uint8)
    observations[:, 1, 0, 2] = states
    return Logged(
        observations,
        actions,
        rewards.ravel(),
        np.full(len(states), np.nan),
        ends.ravel(),
        np.arange(EPISODES) * LENGTH,
        np.ones(EPISODES, bool),
    )


class Shifted:
    """Takes the right action, moved on by ``shift``, with most of its probability."""

    def __init__(self, shift: int, share: float) -> None:
        self.shift, self.share = shift, share

    def __call__(self, observations: Observations) -> NDArray[np.float32]:
        chosen = (observations[:, 1, 0, 2] + self.shift) % ACTIONS
        probs = np.full((len(chosen), ACTIONS), (1 - self.share) / (ACTIONS - 1), np.float32)
        probs[np.arange(len(chosen)), chosen] = self.share
        return probs


def judged(noise: float, shift: int, share: float) -> Gate:
    logged = logged_episodes(noise)
    found = offline_gate(logged, Shifted(shift, share), ACTIONS, gamma=0.99, steps=300, seed=1)
    assert found is not None
    return found


def test_where_one_action_pays_the_lead_tells_it_from_the_others() -> None:
    """Real tasks are not like that: docs/results/gate."""
    good, bad = judged(0.3, 0, 0.95), judged(0.3, 1, 0.95)
    assert good.lead is not None and good.lead > 0.8
    assert bad.lead is not None and bad.lead < 0.2
    assert "lead over random" in bad.reason and bad.as_json()["lead"] == bad.lead
    returns = logged_episodes(0.3).rewards.reshape(EPISODES, LENGTH)[:, -1] * 0.99 ** (LENGTH - 1)
    assert good.behavior_return == pytest.approx(returns.mean())


def test_chance_has_no_lead() -> None:
    found = judged(0.3, 0, 1 / ACTIONS)
    assert found.lead == pytest.approx(0.0, abs=1e-3)


def test_with_nothing_to_compare_with_it_says_so() -> None:
    assert "nothing to compare" in Gate(None, None, 0.0, 600).reason
