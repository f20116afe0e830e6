"""The four rooms and their shifted variants: what lies where, and that each can be solved."""

from typing import Any

import numpy as np
import pytest
from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX

from llm4teach.envs.door_key.rooms import ROOMS, TRAINING_COLORS, DoorKeyEnv, shifted_rooms
from llm4teach.envs.registry import get_task, task_names
from llm4teach.envs.task import describe, ground_plan
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.factory import make_teacher
from llm4teach.teacher_labeling.labeling.writer import plans_of, to_row

STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))
FORWARD = 2


def rooms(name: str, count: int = 200) -> list[DoorKeyEnv]:
    made = []
    for seed in range(count):
        env: Any = get_task(name).make_env().unwrapped
        env.reset(seed=seed)
        made.append(env)
    return made


def places(env: DoorKeyEnv, kind: str) -> list[tuple[int, int]]:
    return [tuple(c) for c in np.argwhere(env.grid.encode()[..., 0] == OBJECT_TO_IDX[kind])]


def colors(env: DoorKeyEnv, kind: str) -> list[int]:
    return [int(env.grid.encode()[x, y, 1]) for x, y in places(env, kind)]


def before(env: DoorKeyEnv, door: tuple[int, int]) -> tuple[int, int]:
    """The cell inside the room before a door."""
    far = np.argwhere(env.grid.encode()[..., 0] == OBJECT_TO_IDX["wall"]).max(0)
    x, y = (min(max(c, 1), int(limit) - 1) for c, limit in zip(door, far, strict=True))
    return x, y


def test_colored_rooms_have_two_keys_and_one_fits() -> None:
    door_first = set()
    for env in rooms("ColoredDoorKey"):
        (door,), keys = colors(env, "door"), colors(env, "key")
        assert len(set(keys)) == 2 and door in keys
        assert set(keys) <= {COLOR_TO_IDX[c] for c in TRAINING_COLORS}
        assert env.grid.get(*before(env, places(env, "door")[0])) is None
        door_first.add(keys[0] == door)
    assert door_first == {True, False}


def test_lava_is_never_before_the_door_and_kills() -> None:
    for env in rooms("LavaDoorKey"):
        (lava,), (door,) = places(env, "lava"), places(env, "door")
        assert before(env, door) != lava
    heading = next(
        h for h, (dx, dy) in enumerate(STEPS) if env.grid.get(lava[0] - dx, lava[1] - dy) is None
    )
    env.agent_pos = (lava[0] - STEPS[heading][0], lava[1] - STEPS[heading][1])
    env.agent_dir = heading
    _, reward, terminated, truncated, _ = env.step(FORWARD)
    assert (reward, terminated, truncated) == (0, True, False)


def test_option_policies_walk_straight_through_lava() -> None:
    task = get_task("LavaDoorKey")
    obs = np.zeros((10, 10, 4), np.uint8)
    obs[1:9, 1:4, 0], obs[..., 3] = 1, 4
    obs[2, 2, 3] = 0  # the agent faces east; lava and behind it the key
    obs[3, 2, 0], obs[5, 2, :2] = OBJECT_TO_IDX["lava"], (OBJECT_TO_IDX["key"], 1)
    [state] = describe(task, obs[None])
    assert state.text == "Agent sees <key>, holds <nothing>."
    assert state.key == describe(get_task("SimpleDoorKey"), obs[None])[0].key
    assert ground_plan(task, obs[None], state.options[1])[0].argmax() == FORWARD


def test_diverged_rooms() -> None:
    axes = set()
    for env in rooms("DivergedDoorKey", 60):
        (key,), (one, other) = places(env, "key"), places(env, "door")
        assert set(key) <= {9, 10}
        assert {one[0], other[0]} == {0, 19} or {one[1], other[1]} == {0, 19}
        assert len({*colors(env, "door"), *colors(env, "key")}) == 1
        axes.add({one[0], other[0]} == {0, 19})
    assert axes == {True, False}


def test_colors_are_told_by_neutral_names() -> None:
    """Red and blue, or green and grey: the same questions, and the plans find the right things."""
    task = get_task("ColoredDoorKey")
    texts = []
    for first, second in ((0, 2), (1, 5)):  # red, blue; green, grey: in the order of their codes
        obs = np.zeros((10, 10, 4), np.uint8)
        obs[1:9, 1:4, 0], obs[..., 3] = 1, 4
        obs[2, 2, 3] = 0
        obs[2, 1, :2], obs[2, 3, :2] = (OBJECT_TO_IDX["key"], second), (OBJECT_TO_IDX["key"], first)
        obs[9, 2] = (OBJECT_TO_IDX["door"], second, 2, 4)
        [state] = describe(task, obs[None])
        texts.append(state.text)
        plans = {str(plan): ground_plan(task, obs[None], plan)[0] for plan in state.options}
        assert plans["go to color1 key > pick up color1 key"].argmax() == 1  # turn right
        assert plans["go to color2 key > pick up color2 key"].argmax() == 0  # turn left
        assert plans["go to color2 door > open color2 door"].argmax() == FORWARD
    assert texts == ["Agent sees <color1 key>, <color2 key>, <color2 door>, holds <nothing>."] * 2


def test_doors_are_counted_in_the_order_of_their_places() -> None:
    task = get_task("DivergedDoorKey")
    obs = np.zeros((20, 20, 4), np.uint8)
    obs[1:19, 1:19, 0], obs[..., 3] = 1, 4
    obs[9, 9] = (OBJECT_TO_IDX["key"], 1, 0, 0)  # in hand
    obs[0, 9, :3] = obs[19, 9, :3] = (OBJECT_TO_IDX["door"], 1, 2)
    [state] = describe(task, obs[None])
    assert state.text == "Agent sees <door1>, <door2>, holds <key>."
    to_first, to_second = (
        ground_plan(task, obs[None], plan)[0] for plan in state.options if "open" in str(plan)
    )
    assert set(np.flatnonzero(to_first)) == {0, 1}  # behind it: turn, either way
    assert to_second.argmax() == FORWARD


@pytest.mark.parametrize("name", task_names(shifted=True))
def test_every_room_can_be_drawn_and_its_teacher_has_advice(name: str) -> None:
    task = get_task(name)
    env = task.make_env()
    teacher = make_teacher(TeacherConfig(teacher="recorded/vicuna-33b"), task.family)
    advised = 0
    for seed in range(40):
        obs, _ = env.reset(seed=seed)
        assert obs.shape == task.observation_shape
        [state] = describe(task, obs[None])
        [advice] = teacher.advise([state])
        mixture = plans_of(to_row(advice, teacher.info))
        advised += bool(task.ground(obs[None], [mixture], np.array([0])).any())
    assert advised == 40


def test_shifted_rooms_differ_from_the_trained_ones() -> None:
    for name, room in ROOMS.items():
        for shift, shifted in shifted_rooms(name).items():
            assert shifted != room
            assert get_task(f"{name}-{shift}").trained_as == name
        assert not set(shifted_rooms(name)["colours"].colors) & set(room.colors)
