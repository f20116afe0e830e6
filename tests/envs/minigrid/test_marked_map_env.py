"""The map of any MiniGrid environment: MiniGrid's own visibility, nothing of the unseen, marks."""

from typing import Any

import numpy as np
import pytest
from minigrid.core.grid import Grid
from minigrid.core.world_object import Ball, Door, Key, Wall
from numpy.typing import NDArray

from llm4teach.envs.minigrid.map_env import NOTES, WORDS, visible
from llm4teach.envs.minigrid.parsed.missions import decode_mission
from llm4teach.envs.minigrid.parsed.progress import LATER, NOW
from llm4teach.envs.registry import get_task

LEVELS = (
    "MiniGrid-DoorKey-8x8-v0",
    "MiniGrid-Dynamic-Obstacles-6x6-v0",  # sees through walls, and things move by themselves
    "MiniGrid-LockedRoom-v0",
    "MiniGrid-ObstructedMaze-2Dlh-v0",
    "MiniGrid-LavaCrossingS9N2-v0",
    "BabyAI-GoToSeq-v0",
    "BabyAI-PickupLoc-v0",
)


def made(env_id: str, seed: int) -> tuple[Any, NDArray[np.uint8]]:
    env = get_task(f"{env_id}-parsed").make_env()
    return env, env.reset(seed=seed)[0]


def test_visibility_is_minigrids() -> None:
    rng = np.random.default_rng(0)
    for _ in range(400):
        size = int(rng.choice([3, 5, 7, 9]))
        opaque = rng.random((size, size)) < rng.choice([0.1, 0.3, 0.5])
        grid = Grid(size, size)
        for i, j in np.argwhere(opaque):
            grid.set(int(i), int(j), Wall())
        expected = grid.process_vis((size // 2, size - 1))  # [i, j]; the agent's row is the last
        rows = [sum(1 << i for i in range(size) if not opaque[i, j]) for j in reversed(range(size))]
        mask = np.zeros((size, size), bool)
        for ahead, row in enumerate(visible(rows.__getitem__, size)):
            mask[:, size - 1 - ahead] = [row >> i & 1 for i in range(size)]
        np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize("env_id", LEVELS)
def test_the_map_is_what_minigrid_would_have_shown(env_id: str) -> None:
    """Against the slow way: MiniGrid's own mask and encoding, cell by cell."""
    rng = np.random.default_rng(1)
    for seed in range(3):
        env, observation = made(env_id, seed)
        raw = env.unwrapped
        memory = np.zeros((raw.width, raw.height, 3), np.uint8)
        for _ in range(60):
            _, mask = raw.gen_obs_grid()
            for x in range(raw.width):
                for y in range(raw.height):
                    i, j = raw.get_view_coords(x, y)
                    inside = 0 <= i < raw.agent_view_size and 0 <= j < raw.agent_view_size
                    if inside and mask[i, j]:
                        cell = raw.grid.get(x, y)
                        memory[x, y] = (1, 0, 0) if cell is None else cell.encode()
            expected = memory.copy()
            carried = raw.carrying
            expected[tuple(raw.agent_pos)] = carried.encode() if carried else (1, 0, 0)
            np.testing.assert_array_equal(observation[..., :3], expected)
            headings = np.full((raw.width, raw.height), 4)
            headings[tuple(raw.agent_pos)] = raw.agent_dir
            np.testing.assert_array_equal(observation[..., 3], headings)
            for cell in raw.grid.grid:  # changed in place, and not by the agent
                if isinstance(cell, Door) and rng.random() < 0.1:
                    cell.is_open = not cell.is_open
            observation, _, terminated, truncated, _ = env.step(rng.integers(env.action_space.n))
            assert not (terminated and truncated)
            if terminated or truncated:
                break


@pytest.mark.parametrize("env_id", LEVELS)
def test_nothing_unseen_is_told(env_id: str) -> None:
    """Other things in unseen cells, of any kind and color, and the observation is the same."""
    rng = np.random.default_rng(2)
    for seed in range(3):
        env, observation = made(env_id, seed)
        for _ in range(int(rng.integers(8))):
            observation, _, terminated, truncated, _ = env.step(int(rng.integers(3)))
            if terminated or truncated:
                return
        raw = env.unwrapped
        unseen = np.argwhere(observation[..., 0] == 0)
        for x, y in unseen:
            thing = rng.choice([None, Wall(), Key("red"), Ball("blue"), Door("red"), Ball("red")])
            raw.grid.set(int(x), int(y), thing)
        np.testing.assert_array_equal(env._observe(), observation)
        assert not observation[unseen[:, 0], unseen[:, 1], NOTES].any()


def play(env_id: str, seeds: int, check: Any) -> int:
    """Episodes of the table that people wrote; ``check(env, observation)`` after each step."""
    from llm4teach.envs.task import describe
    from llm4teach.teacher_labeling.config import TeacherConfig
    from llm4teach.teacher_labeling.factory import make_teacher

    task = get_task(f"{env_id}-parsed")
    teacher = make_teacher(TeacherConfig(teacher="recorded/handwritten"), task.family)
    rng, won = np.random.default_rng(3), 0
    for seed in range(seeds):
        env, observation = made(env_id, seed)
        ended = False
        while not ended:
            (advice,) = teacher.advise(describe(task, observation[None]))
            probs = task.ground(observation[None], [advice.plans], np.zeros(1, int))[0]
            action = rng.choice(len(probs), p=probs / probs.sum())
            observation, reward, terminated, truncated, _ = env.step(action)
            check(env, observation)
            ended = terminated or truncated
        if terminated and reward > 0:
            won += 1
            if env_id.startswith("BabyAI"):  # whose own account says so at the end
                left = decode_mission(observation[..., WORDS].tobytes())
                assert len([clause for step in left.steps for clause in step]) <= 1
    return won


def test_marks_are_babyais_own_objects() -> None:
    """Marked is what a clause that is left may be about, where it was seen, and nothing else."""
    checked = []

    def check(env: Any, observation: NDArray[np.uint8]) -> None:
        raw = env.unwrapped
        left = decode_mission(observation[..., WORDS].tobytes())
        clauses = [clause for step in left.steps for clause in step]
        now = {str(clause) for clause in (left.steps[0] if left.steps else ())}
        for x, y in np.argwhere(observation[..., 0] > 2):
            cell = raw.carrying if (x, y) == tuple(raw.agent_pos) else raw.grid.get(int(x), int(y))
            fitting = [
                clause
                for clause in clauses
                if clause.thing.kind in ("object", cell.type)
                and clause.thing.color in ("", cell.color)
            ]
            mark = observation[x, y, NOTES]
            assert (mark == NOW) == any(str(clause) in now for clause in fitting)
            assert (mark != 0) == bool(fitting)
            checked.append(mark)

    assert play("BabyAI-GoToSeqS5R2-v0", 8, check) == 8
    assert {0, NOW, LATER} <= set(checked)


def test_places_are_those_of_the_start() -> None:
    """ "On your left" is left of where the episode began, however the agent turns."""
    marked = 0
    for seed in range(40):
        env, observation = made("BabyAI-PickupLoc-v0", seed)
        raw = env.unwrapped
        (thing,) = (
            clause.thing
            for step in decode_mission(observation[..., WORDS].tobytes()).steps
            for clause in step
        )
        start, ahead = np.array(raw.agent_pos), np.array(raw.dir_vec)
        side = {
            "on your left": (ahead[1], -ahead[0]),
            "on your right": (-ahead[1], ahead[0]),
            "in front of you": tuple(ahead),
            "behind you": tuple(-ahead),
        }
        for _ in range(4):
            observation, *_ = env.step(1)
            for x, y in np.argwhere(observation[..., 0] > 2):
                cell = raw.grid.get(int(x), int(y))
                fits = thing.kind in ("object", cell.type) and thing.color in ("", cell.color)
                if fits and thing.place:
                    fits = np.dot(np.array([x, y]) - start, side[thing.place]) > 0
                assert observation[x, y, NOTES] == (NOW if fits else 0)
                marked += bool(fits)
    assert marked > 40


def test_what_was_done_is_taken_off_the_mission() -> None:
    """LockedRoom: the key, then the door; each once, and the marks move on with it."""
    missions: list[str] = []

    def check(env: Any, observation: NDArray[np.uint8]) -> None:
        text = str(decode_mission(observation[..., WORDS].tobytes()))
        if not missions or missions[-1] != text:
            missions.append(text)

    assert play("MiniGrid-LockedRoom-v0", 1, check) == 1
    first, second, third = missions
    assert first.startswith("pick up the") and first.endswith(", then go to the goal")
    assert second == first.split(", then ", 1)[1]
    assert third == "go to the goal"


def test_a_mission_that_is_not_understood_is_refused() -> None:
    from llm4teach.errors import TaskError

    env, _ = made("MiniGrid-Empty-5x5-v0", 0)
    raw = env.unwrapped
    original = raw._gen_grid

    def strange(width: int, height: int) -> None:
        original(width, height)
        raw.mission = "fly to the moon"

    raw._gen_grid = strange
    with pytest.raises(TaskError, match="fly to the moon"):
        env.reset(seed=0)
