"""Tasks made of gymnasium environments: what is recorded, described, grounded and refused."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from counter_task import Memory, counter, describe_memory, up
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from llm4teach.envs.custom.check import check_task
from llm4teach.envs.custom.spaces import pack, packed_size, student_bytes, unpack
from llm4teach.envs.plan import named_plan
from llm4teach.envs.task import describe, ground_plan
from llm4teach.errors import TaskError

leaves = st.sampled_from(
    [
        spaces.Discrete(7),
        spaces.Discrete(3, start=-1),
        spaces.MultiDiscrete([2, 5]),
        spaces.MultiBinary(4),
        spaces.Box(0, 255, (2, 3), np.uint8),
        spaces.Box(-1, 1, (3,), np.float32),
        spaces.Text(5),
    ]
)


def containers(parts: Any) -> Any:
    named = st.dictionaries(st.sampled_from("abc"), parts, min_size=1).map(spaces.Dict)
    return named | st.lists(parts, min_size=1, max_size=3).map(lambda p: spaces.Tuple(tuple(p)))


@given(st.recursive(leaves, containers, max_leaves=5), st.integers(0, 1 << 20))
def test_every_observation_is_restored_from_its_bytes(space: gym.Space[Any], seed: int) -> None:
    space.seed(seed)
    element = space.sample()
    packed = pack(space, element)
    assert packed.dtype == np.uint8 and packed.shape == (packed_size(space),)
    assert equal(unpack(space, packed), element)


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[k], other[k]) for k in one)
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(np.array_equal(one, other))


def test_what_a_student_reads_by_default() -> None:
    assert student_bytes(spaces.Discrete(3, start=2), 3).tolist() == [0, 255, 0]
    assert student_bytes(spaces.MultiDiscrete([2, 3]), [1, 0]).tolist() == [0, 255, 255, 0, 0]
    assert student_bytes(spaces.MultiBinary(2), [1, 0]).tolist() == [255, 0]
    box = spaces.Box(np.array([-1, 0], np.float32), np.array([1, 10], np.float32))
    assert student_bytes(box, [0.0, 20.0]).tolist() == [128, 255]
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert student_bytes(spaces.Box(0, 255, (2, 2, 3), np.uint8), image) is image
    both = spaces.Dict({"a": spaces.Discrete(2), "b": spaces.Box(0, 255, (2,), np.uint8)})
    assert student_bytes(both, {"a": 1, "b": [7, 8]}).tolist() == [0, 255, 7, 8]
    with pytest.raises(TaskError, match="encode is missing"):
        student_bytes(spaces.Box(-np.inf, np.inf, (1,)), [0.0])


def test_a_task_of_an_environment_keeps_the_contract() -> None:
    assert check_task(counter()) == []
    assert check_task(counter(view=Memory, describe=describe_memory)) == []


def test_it_is_described_and_grounded_from_what_the_teacher_sees() -> None:
    task = counter(view=Memory, describe=describe_memory, success="terminated")
    assert task.student_shape == (4,) and task.observation_shape == (4 + 16,)
    env = task.make_env()
    first, _ = env.reset(seed=1)
    second = env.step(1)[0]
    seen = task.student_observations(np.stack([first, second]))
    count = int(seen[0].argmax())
    assert seen.tolist() == np.eye(4, dtype=int)[[count, count + 1]].__mul__(255).tolist()
    texts = [state.text for state in describe(task, np.stack([first, second]))]
    assert texts == [f"the count is {count + i} after {i} actions" for i in range(2)]
    both = np.stack([first, second])
    assert ground_plan(task, both, named_plan("count up")).tolist() == [[0, 1], [0, 1]]
    assert ground_plan(task, both, named_plan("wait or count up")).tolist() == [[0.5, 0.5]] * 2
    assert not ground_plan(task, both, named_plan("fly")).any()
    half = ((named_plan("count up"), 0.5), (named_plan("fly"), 0.5))
    assert task.ground(first[None], [half], np.zeros(1, int)).tolist() == [[0, 1]]


def test_success_is_what_the_task_says() -> None:
    ends, returns = np.array([True, True, False]), np.array([1.0, -5.0, 1.0])
    assert counter().is_success(ends, returns).tolist() == [True, False, False]
    terminated = counter(success="terminated").is_success(ends, returns)
    assert terminated.tolist() == [True, True, False]
    own = counter(success=lambda terminated, returns: returns > -6).is_success(ends, returns)
    assert own.tolist() == [True, True, True]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"options": {}}, "options is empty"),
        ({"options": {"Fly!": up}}, "options: 'Fly!'"),
        ({"action_names": ("up",)}, "action_names has 1 names, but env 2 actions"),
        ({"max_steps": None}, "max_steps is missing"),
        ({"encode": lambda observation: [1.5]}, "encode must return a uint8 array"),
    ],
)
def test_members_that_do_not_fit_are_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(TaskError, match=problem):
        counter(**changes)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"describe": lambda count: ""}, "describe of Counter returned ''"),
        ({"admissible": lambda count: ["swim"]}, "admissible of Counter returned 'swim'"),
        (
            {"describe": lambda count: "same", "admissible": lambda count: ["fly"][: count % 2]},
            "options must follow from the text alone",
        ),
    ],
)
def test_states_that_contradict_themselves_are_refused(
    changes: dict[str, Any], problem: str
) -> None:
    task = counter(**changes)
    env = task.make_env()
    first = env.reset(seed=1)[0]
    with pytest.raises(TaskError, match=problem):
        task.identify(np.stack([first, env.step(1)[0]]))


@pytest.mark.parametrize("choice", [2, -1, [0.5, 0.6], [1.0], "up", [-0.5, 1.5]])
def test_what_is_no_action_is_refused(choice: Any) -> None:
    task = counter(options={"bad": lambda view: choice})
    first = task.make_env().reset(seed=1)[0]
    with pytest.raises(TaskError, match="the option policy bad of Counter returned"):
        ground_plan(task, first[None], named_plan("bad"))
