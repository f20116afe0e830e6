"""SimpleDoorKey: the environment's contract, its room, its map of what was seen."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from minigrid.core.constants import OBJECT_TO_IDX

from llm4teach.envs.door_key.rooms import env_id
from llm4teach.envs.registry import get_task
from llm4teach.errors import TaskError

LEFT, RIGHT, FORWARD, PICKUP, DROP, TOGGLE, NOOP = range(7)


def play(env: Any, seed: int, actions: list[int]) -> list[Any]:
    history: list[Any] = [env.reset(seed=seed)[0]]
    for action in actions:
        history.append(env.step(action))
        if history[-1][2] or history[-1][3]:
            break
    return history


@pytest.mark.filterwarnings("ignore:.*")
def test_gymnasium_accepts_it() -> None:
    check_env(gym.make(env_id("SimpleDoorKey")).unwrapped, skip_render_check=True)


def test_same_seed_same_episode() -> None:
    actions = np.random.default_rng(0).integers(0, 7, 150).tolist()
    first, second = (play(get_task("SimpleDoorKey").make_env(), 5, actions) for _ in range(2))
    assert len(first) == len(second)
    np.testing.assert_equal(first, second)


def test_rooms_are_as_the_paper_says() -> None:
    env = get_task("SimpleDoorKey").make_env().unwrapped
    sides, walls, headings = set(), set(), set()
    for seed in range(300):
        env.reset(seed=seed)
        codes = env.grid.encode()  # (10, 10, 3)
        kinds = codes[..., 0]
        room = kinds != OBJECT_TO_IDX["empty"]
        width, height = 1 + np.argwhere(room).max(0)
        (door,), (key,) = (np.argwhere(kinds == OBJECT_TO_IDX[k]) for k in ("door", "key"))
        assert codes[tuple(door)][1] == codes[tuple(key)][1]
        assert codes[tuple(door)][2] == 2  # locked
        on_wall = (door[0] in (0, width - 1)) ^ (door[1] in (0, height - 1))
        assert on_wall, "a door in a corner cannot be reached"
        assert 0 < key[0] < width - 1 and 0 < key[1] < height - 1
        assert tuple(key) != tuple(env.agent_pos)
        sides |= {int(width), int(height)}
        walls.add((bool(door[0] == 0), bool(door[1] == 0), bool(door[0] == width - 1)))
        headings.add(env.agent_dir)
    assert sides == set(range(5, 11))
    assert len(walls) == 4
    assert headings == set(range(4))


def test_opening_the_door_is_rewarded_and_terminates() -> None:
    env = get_task("SimpleDoorKey").make_env().unwrapped
    env.reset(seed=1)
    x, y = np.argwhere(env.grid.encode()[..., 0] == OBJECT_TO_IDX["key"])[0]
    env.carrying = env.grid.get(x, y)
    door_x, door_y = np.argwhere(env.grid.encode()[..., 0] == OBJECT_TO_IDX["door"])[0]
    inside = [(1, 0), (0, 1), (-1, 0), (0, -1)]
    heading = next(
        h
        for h, (dx, dy) in enumerate(inside)
        if 0 < door_x - dx < 9
        and 0 < door_y - dy < 9
        and env.grid.get(door_x - dx, door_y - dy) is None
    )
    env.agent_pos = (door_x - inside[heading][0], door_y - inside[heading][1])
    env.agent_dir = heading
    env.step(NOOP)
    _, reward, terminated, truncated, _ = env.step(TOGGLE)
    assert (terminated, truncated) == (True, False)
    assert reward == pytest.approx(1 - 0.9 * 2 / 150)


def test_the_time_limit_truncates() -> None:
    history = play(get_task("SimpleDoorKey").make_env(), 3, [NOOP] * 200)
    assert len(history) == 151
    assert [step[2:4] for step in history[1:]] == [(False, False)] * 149 + [(False, True)]
    assert all(step[1] == 0 for step in history[1:])


def test_the_map_holds_what_minigrid_showed_and_nothing_else() -> None:
    """Against MiniGrid's own full view: seen cells are true, unseen ones are zero."""
    env = get_task("SimpleDoorKey").make_env().unwrapped
    rng = np.random.default_rng(0)
    for seed in range(20):
        obs, _ = env.reset(seed=seed)
        seen = np.zeros((10, 10), bool)
        for _ in range(60):
            _, visible = env.gen_obs_grid()
            truth = env.grid.encode()
            for i in range(3):
                for j in range(3):
                    # MiniGrid's own coordinates of each cell of the world in the agent's view.
                    for x, y in np.ndindex(10, 10):
                        if visible[i, j] and tuple(env.get_view_coords(x, y)) == (i, j):
                            seen[x, y] = True
            x, y = env.agent_pos
            assert (obs[..., 3] == 4).sum() == 99 and obs[x, y, 3] == env.agent_dir
            carried = env.carrying.encode() if env.carrying else (1, 0, 0)
            assert tuple(obs[x, y, :3]) == tuple(carried)
            others = np.ones((10, 10), bool)
            others[x, y] = False
            np.testing.assert_array_equal(obs[others & seen][:, :3], truth[others & seen])
            assert not obs[others & ~seen][:, :3].any()
            obs, _, terminated, truncated, _ = env.step(rng.integers(0, 6))
            if terminated or truncated:
                break


def test_unknown_task() -> None:
    with pytest.raises(TaskError, match=r"unknown task 'Doom'.*SimpleDoorKey"):
        get_task("Doom")
