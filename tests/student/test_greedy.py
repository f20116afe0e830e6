"""Greedy play: the likeliest action, and never the same circle twice."""

import numpy as np

from llm4teach.student.policies import GreedyPlay

ENVS = np.array([3, 5])
PROBS = np.array([[0.6, 0.3, 0.1], [0.1, 0.1, 0.8]], np.float32)


def looks(*values: int) -> np.ndarray:
    return np.array(values, np.uint8).reshape(-1, 1)


def test_new_observations_get_the_likeliest_action() -> None:
    play = GreedyPlay()
    for t in range(5):
        assert play.choose(PROBS, looks(t, t), ENVS).tolist() == [0, 2]


def test_where_an_observation_returns_actions_take_turns() -> None:
    play = GreedyPlay()
    taken = [play.choose(PROBS, looks(7, t), ENVS).tolist() for t in range(10)]
    assert [a for a, _ in taken] == [0, 0, 1, 0, 0, 1, 0, 0, 1, 2]  # 0.6 : 0.3 : 0.1
    assert [b for _, b in taken] == [2] * 10, "the other environment is another episode"


def test_a_new_episode_starts_afresh() -> None:
    play = GreedyPlay()
    equal = np.array([[0.5, 0.5, 0], [0.5, 0.5, 0]], np.float32)
    assert play.choose(equal, looks(7, 7), ENVS).tolist() == [0, 0]
    play.forget(3)
    assert play.choose(equal, looks(7, 7), ENVS).tolist() == [0, 1]
