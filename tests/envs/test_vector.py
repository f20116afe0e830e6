"""Episodes side by side: the same as one by one, restorable in mid-episode."""

import itertools

import numpy as np

from llm4teach.envs.registry import get_task
from llm4teach.envs.seeds import training_seeds
from llm4teach.envs.vector.episodes import EpisodeVector

TASK = get_task("SimpleDoorKey")


def test_it_plays_what_single_environments_play() -> None:
    rng = np.random.default_rng(0)
    envs = EpisodeVector(TASK, 3, iter([11, 12, 13, 14]))
    single = {seed: TASK.make_env() for seed in (11, 12, 13, 14)}
    current = {seed: single[seed].reset(seed=seed)[0] for seed in single}
    finished = set()
    while envs.active.any():
        seeds, active = envs.seeds.copy(), envs.active.copy()
        for row, seed in enumerate(seeds):
            np.testing.assert_array_equal(envs.observations[row], current[int(seed)])
        actions = rng.integers(0, 7, 3)
        step = envs.step(actions)
        for row in np.flatnonzero(active):
            seed = int(seeds[row])
            obs, reward, terminated, truncated, _ = single[seed].step(int(actions[row]))
            current[seed] = obs
            np.testing.assert_array_equal(step.final_observations[row], obs)
            assert step.rewards[row] == np.float32(reward)
            assert (step.terminated[row], step.truncated[row]) == (terminated, truncated)
            if terminated or truncated:
                finished.add(seed)
        assert not step.rewards[~active].any()
    assert finished == {11, 12, 13, 14}
    assert envs.episodes_started == 4


def test_restored_in_mid_episode_it_goes_on_alike() -> None:
    rng = np.random.default_rng(1)
    envs = EpisodeVector(TASK, 4, training_seeds(0, "x"))
    for _ in range(170):  # past the first episodes' ends
        envs.step(rng.integers(0, 7, 4))
    saved, started = envs.state(), envs.episodes_started
    assert started > 4
    other = EpisodeVector(TASK, 4, itertools.repeat(0))
    other.restore(saved, training_seeds(0, "x", start=started), started)
    for _ in range(200):
        actions = rng.integers(0, 7, 4)
        np.testing.assert_equal(tuple(envs.step(actions)), tuple(other.step(actions)))
    assert envs.state() == other.state()


def test_workers_play_the_same() -> None:
    task = get_task("MiniGrid-MultiRoom-N2-S4-v0")
    alone = EpisodeVector(task, 5, training_seeds(0, "x"))
    shared = EpisodeVector(task, 5, training_seeds(0, "x"), workers=2)
    rng = np.random.default_rng(0)
    try:
        for t in range(120):
            np.testing.assert_array_equal(alone.observations, shared.observations)
            actions = rng.integers(0, len(task.action_names), 5)
            for mine, theirs in zip(alone.step(actions), shared.step(actions), strict=True):
                np.testing.assert_array_equal(mine, theirs)
            if t == 60:  # a restored one starts workers of its own
                shared.restore(alone.state(), training_seeds(0, "x", 5), alone.episodes_started)
                alone.restore(alone.state(), training_seeds(0, "x", 5), alone.episodes_started)
    finally:
        shared.close()
