"""The engine against MiniGrid, step by step: every room, random episodes, all that can be seen.

Some 210,000 steps. A third of the actions is uniformly random, the others are the teacher's: random
ones alone hardly ever open a door.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from numpy.typing import NDArray
from slow_door_key import slow_ground, slow_identify

from llm4teach.envs.door_key.engine import DoorKeyVectorEnv
from llm4teach.envs.door_key.rooms import ROOMS
from llm4teach.envs.door_key.task import DoorKeyTask
from llm4teach.envs.registry import task_names
from llm4teach.envs.task import Mixture
from llm4teach.student.policies import sample
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.factory import make_teacher
from llm4teach.teacher_labeling.labeling.writer import plans_of, to_row

NAMES = task_names(shifted=True)
STEPS = {name: 30_000 if name in ROOMS else 5_500 for name in NAMES}
GROUNDED_SLOWLY_EVERY = 6  # rounds; the definition takes longer than the step
N_ENVS = 25


def recorded_mixtures(task: DoorKeyTask) -> list[Mixture]:
    """The recorded advice by state id; where there is none, all admissible plans alike."""
    teacher = make_teacher(TeacherConfig(teacher="recorded/vicuna-33b"), task.family)
    states = [task.state(state_id) for state_id in range(64)]
    advice = [plans_of(to_row(answer, teacher.info)) for answer in teacher.advise(states)]
    return [
        mixture or tuple((plan, 1 / len(state.options)) for plan in state.options)
        for mixture, state in zip(advice, states, strict=True)
    ]


def drawn(probs: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.int64]:
    """A third of the actions uniform, as are those where ``probs`` are zero; the others by them."""
    uniform = (rng.random(len(probs)) < 1 / 3) | (probs.sum(1) == 0)
    return sample(np.where(uniform[:, None], np.float32(1), probs), rng)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_minigrid(name: str) -> None:
    task = DoorKeyTask(name, trained_as=name.partition("-")[0])
    rng = np.random.default_rng(NAMES.index(name))
    fast: Any = task.make_vector_env(N_ENVS)
    assert isinstance(fast, DoorKeyVectorEnv)
    single: list[gym.Env[Any, int]] = [task.make_env() for _ in range(N_ENVS)]
    mixtures, steps, ends = recorded_mixtures(task), 0, {"terminated": 0, "won": 0, "cut": 0}
    begins = np.ones(N_ENVS, np.bool_)
    slow = np.zeros((N_ENVS, *task.observation_shape), np.uint8)
    for round_ in range(STEPS[name] // N_ENVS):
        if begins.any():
            seeds = rng.integers(0, 1 << 31, N_ENVS)
            observations, _ = fast.reset(seed=seeds, options={"reset_mask": begins})
            for i in np.flatnonzero(begins):
                slow[i], _ = single[i].reset(seed=int(seeds[i]))
        np.testing.assert_array_equal(observations, slow)

        ids = task.identify(slow)
        probs = task.ground(slow, mixtures, ids)
        if round_ % GROUNDED_SLOWLY_EVERY == 0:
            np.testing.assert_array_equal(ids, slow_identify(slow, task.naming))
            np.testing.assert_array_equal(probs, slow_ground(slow, mixtures, ids, task.naming))

        actions = drawn(probs, rng)
        observations, rewards, terminated, truncated, _ = fast.step(actions)
        for i, env in enumerate(single):
            slow[i], reward, ended, cut, _ = env.step(int(actions[i]))
            assert (reward, ended, cut) == (rewards[i], terminated[i], truncated[i])
            ends["terminated"] += ended
            ends["won"] += reward > 0
            ends["cut"] += cut
        steps += N_ENVS
        begins = terminated | truncated
    assert steps == STEPS[name]
    assert ends["won"] > 5, "the episodes must reach the door"
    if task.trained_as == "LavaDoorKey":
        assert ends["terminated"] > ends["won"], "and the lava"


def test_over_200000_steps_are_compared() -> None:
    assert sum(STEPS.values()) >= 200_000
    assert sum(STEPS.values()) / GROUNDED_SLOWLY_EVERY >= 20_000


def test_long_random_episodes_end_at_the_limit() -> None:
    """All that uniformly random actions can do to a room, dropped things and all."""
    task = DoorKeyTask("SimpleDoorKey-distractors", trained_as="SimpleDoorKey")
    fast: Any = task.make_vector_env(8)
    seeds = np.arange(100, 108)
    observations, _ = fast.reset(seed=seeds)
    rng, running = np.random.default_rng(0), np.ones(8, np.bool_)
    slow = [task.make_env() for _ in range(8)]
    for env, seed in zip(slow, seeds, strict=True):
        env.reset(seed=int(seed))
    for _ in range(task.max_steps):
        actions = rng.choice(7, 8, p=[0.2, 0.2, 0.2, 0.2, 0.18, 0.01, 0.01])
        before = observations
        observations, rewards, terminated, truncated, _ = fast.step(actions)
        for i in np.flatnonzero(running):
            observation, reward, ended, cut, _ = slow[i].step(int(actions[i]))
            np.testing.assert_array_equal(observations[i], observation)
            assert (reward, ended, cut) == (rewards[i], terminated[i], truncated[i])
        idle = ~running
        np.testing.assert_array_equal(observations[idle], before[idle])
        assert not (rewards[idle].any() or terminated[idle].any() or truncated[idle].any())
        running &= ~(terminated | truncated)
    assert not running.any()
    assert truncated.any()


def test_both_vector_environments_read_seeds_and_masks_alike() -> None:
    fast, slow = (
        DoorKeyTask("SimpleDoorKey", "SimpleDoorKey", engine=engine).make_vector_env(3)
        for engine in (True, False)
    )
    for envs in (fast, slow):
        assert envs.observation_space.shape == (3, 10, 10, 4)
        assert envs.action_space.shape == (3,)
        with pytest.raises(ValueError, match=r"need 3 seeds"):
            envs.reset(seed=[1, 2])  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"0 or more; got -1"):
            envs.reset(seed=[1, -1, 2])  # type: ignore[arg-type]
    first = [envs.reset(seed=7)[0] for envs in (fast, slow)]
    np.testing.assert_array_equal(*first)
    third = [envs.reset(seed=[7, 8, 9])[0] for envs in (fast, slow)]  # type: ignore[arg-type]
    np.testing.assert_array_equal(first[0], third[0], "one seed is the first; the others follow")
    mask = {"reset_mask": np.array([False, True, False])}
    for envs in (fast, slow):
        after, _ = envs.reset(seed=[-1, 50, -1], options=mask)  # type: ignore[arg-type]
        assert [bool((a == b).all()) for a, b in zip(after, first[0], strict=True)] == [1, 0, 1]


def test_wrong_actions_are_refused() -> None:
    envs = DoorKeyVectorEnv(ROOMS["SimpleDoorKey"], 2)
    envs.reset(seed=0)
    for actions in ([0, 7], [-1, 0], [0]):
        with pytest.raises(ValueError, match="2 actions from 0 to 6"):
            envs.step(np.array(actions))
