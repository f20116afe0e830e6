"""Generic tasks: the Task contract, states from stored observations alone, names that help."""

import pickle

import numpy as np
import pytest

from llm4teach.envs.minigrid.task import MiniGridTask, minigrid_ids
from llm4teach.envs.registry import get_task
from llm4teach.envs.task import Observations, Task, describe, ground_plan, state_key
from llm4teach.errors import TaskError

SOME = (
    "MiniGrid-MultiRoom-N4-S5-v0",
    "MiniGrid-BlockedUnlockPickup-v0",
    "MiniGrid-Dynamic-Obstacles-6x6-v0",  # three actions only
    "BabyAI-GoToSeqS5R2-v0",
    "BabyAI-PutNextLocal-v0",
    "MiniGrid-Playground-v0",  # no mission at all
)


def observed(task: Task, steps: int) -> Observations:
    """Observations of random admissible plans with some random actions among them."""
    env, rng, n_actions = task.make_env(), np.random.default_rng(0), len(task.action_names)
    observation, _ = env.reset(seed=0)
    rows = []
    for _ in range(steps):
        rows.append(observation)
        (state,) = describe(task, observation[None])
        plans = tuple((plan, 1 / len(state.options)) for plan in state.options)
        (probs,) = task.ground(observation[None], [plans], np.zeros(1, int))
        idle = not probs.any() or rng.random() < 0.2
        weights = np.ones(n_actions) if idle else probs.astype(float)
        action = int(rng.choice(n_actions, p=weights / weights.sum()))
        observation, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            observation, _ = env.reset()
    return np.stack(rows)


BOTH = (*SOME, *(f"{name}-parsed" for name in SOME))


@pytest.mark.parametrize("name", BOTH)
def test_the_contract_of_a_task(name: str) -> None:
    task = get_task(name)
    observations = observed(task, 150)
    assert observations.shape[1:] == task.observation_shape and observations.dtype == np.uint8
    ids = task.identify(observations)
    assert ids.dtype == np.int64
    states = describe(task, observations)
    assert len({s.text for s in states}) == len(set(ids.tolist())) == len({s.key for s in states})
    assert all(s.key == state_key(task.family, s.text) and s.options for s in states)
    for plan in {plan for s in states for plan in s.options}:
        probs = ground_plan(task, observations, plan)
        assert probs.shape == (len(observations), len(task.action_names))
        assert probs.dtype == np.float32
        total = probs.sum(1)
        assert np.all(np.isclose(total, 1) | (total == 0))


@pytest.mark.parametrize("name", BOTH)
def test_a_stored_observation_tells_its_state_to_another_task_object(name: str) -> None:
    """Nothing is remembered beside the array: written, read back, and described elsewhere."""
    task, other = get_task(name), MiniGridTask(name)
    observations = observed(task, 60)
    stored = np.frombuffer(pickle.loads(pickle.dumps(observations.tobytes())), np.uint8)
    again = stored.reshape(observations.shape)[::-1]
    expected = [(s.key, s.text, s.options) for s in describe(task, observations)][::-1]
    assert [(s.key, s.text, s.options) for s in describe(other, again)] == expected


def test_some_advice_acts_wherever_the_robot_can_do_anything() -> None:
    """All admissible plans alike: they leave few steps without an action."""
    for name in (*SOME[:2], *(f"{name}-parsed" for name in SOME[:2])):
        task = get_task(name)
        observations = observed(task, 200)
        states = describe(task, observations)
        advice = [tuple((plan, 1 / len(s.options)) for plan in s.options) for s in states]
        probs = task.ground(observations, advice, np.arange(len(observations)))
        assert (probs.sum(1) > 0).mean() > 0.97


def test_unknown_names_get_close_ones() -> None:
    with pytest.raises(TaskError, match=r"did you mean MiniGrid-DoorKey-8x8-v0"):
        get_task("minigrid-doorkey-8x8")
    with pytest.raises(
        TaskError, match=r"unknown task 'SimpelDoorKey'; did you mean SimpleDoorKey"
    ):
        get_task("SimpelDoorKey")
    with pytest.raises(TaskError, match="by its gymnasium id") as error:
        get_task("qqqqqqqq")
    assert "did you mean" not in str(error.value)


def test_an_environment_that_cannot_be_made_says_why() -> None:
    pytest.importorskip("minigrid")
    try:
        import imageio  # noqa: F401
    except ImportError:
        with pytest.raises(TaskError, match="imageio"):
            get_task("MiniGrid-WFC-MazeSimple-v0")


@pytest.mark.parametrize("name", [i for i in minigrid_ids() if "WFC" not in i][::6])
def test_any_registered_environment_is_a_task(name: str) -> None:
    """A sample of them here; missions of all are read in test_missions.py."""
    task = get_task(name)
    states = describe(task, observed(task, 12))
    assert all(state.options for state in states)


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("MiniGrid-FourRooms-v0", 100),
        ("BabyAI-GoToObj-v0", 64),
        ("BabyAI-PutNextLocal-v0", 128),
        ("BabyAI-GoToSeqS5R2-v0", 400),
        ("BabyAI-MiniBossLevel-v0", 800),
        ("BabyAI-SynthS5R2-v0", 300),
        ("BabyAI-OpenTwoDoors-v0", None),
    ],
)
def test_no_episode_is_longer_than_the_task_says(name: str, limit: int | None) -> None:
    task = get_task(name)
    assert limit in (None, task.max_steps)
    env = task.make_env()
    for seed in range(40):
        env.reset(seed=seed)
        assert env.unwrapped.max_steps <= task.max_steps  # type: ignore[attr-defined]
