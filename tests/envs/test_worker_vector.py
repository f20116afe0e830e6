"""Environments over worker processes: the same play as in one, and clear words when one is gone."""

import os
import signal
from functools import partial

import numpy as np
import pytest
from failing_env import make_failing

from llm4teach.envs.minigrid.task import MiniGridTask, make_minigrid_env
from llm4teach.envs.vector.workers import WorkerError, WorkerVectorEnv

ENV_ID = "BabyAI-GoToObjS4-v0"  # 16 steps at most: many episodes end


def test_workers_play_what_single_environments_play() -> None:
    n, rng = 5, np.random.default_rng(0)
    task = MiniGridTask(ENV_ID)
    envs, single = task.make_worker_env(n, workers=2), [task.make_env() for _ in range(n)]
    try:
        seeds = np.arange(10, 10 + n)
        observations, _ = envs.reset(seed=seeds)
        for i in range(n):
            np.testing.assert_array_equal(observations[i], single[i].reset(seed=int(seeds[i]))[0])
        running, ends = np.ones(n, bool), 0
        for t in range(120):
            actions = rng.integers(0, 7, n)
            before = observations
            observations, rewards, terminated, truncated, _ = envs.step(actions)
            for i in range(n):
                if not running[i]:
                    assert (rewards[i], terminated[i], truncated[i]) == (0, False, False)
                    np.testing.assert_array_equal(observations[i], before[i])
                    continue
                expected = single[i].step(int(actions[i]))
                np.testing.assert_array_equal(observations[i], expected[0])
                assert (rewards[i], terminated[i], truncated[i]) == expected[1:4]
            running &= ~(terminated | truncated)
            if t % 7 == 6:  # some episodes wait; the others are not touched by the reset
                seeds = seeds + n
                ends += (~running).sum()
                observations, _ = envs.reset(seed=seeds, options={"reset_mask": ~running})
                for i in np.flatnonzero(~running):
                    fresh, _ = single[i].reset(seed=int(seeds[i]))
                    np.testing.assert_array_equal(observations[i], fresh)
                running[:] = True
        assert ends > 20
    finally:
        envs.close()


def test_a_worker_that_is_gone_is_named() -> None:
    envs = WorkerVectorEnv(partial(make_minigrid_env, ENV_ID), 3, workers=2)
    envs.reset(seed=0)
    pids = [process.pid for process in envs._processes]
    os.kill(pids[1], signal.SIGKILL)
    with pytest.raises(WorkerError, match=r"worker 2 of 2.*environments 2 to 2.*exit code -9"):
        for _ in range(3):
            envs.step(np.zeros(3, int))
    assert not any(process.is_alive() for process in envs._processes), "the others are ended"


def test_an_error_in_a_worker_comes_with_its_traceback() -> None:
    envs = WorkerVectorEnv(partial(make_failing, ENV_ID), 2, workers=1)
    envs.reset(seed=0)
    with pytest.raises(WorkerError, match=r"(?s)worker 1 of 1.*ArithmeticError: the third step"):
        for _ in range(3):
            envs.step(np.zeros(2, int))
