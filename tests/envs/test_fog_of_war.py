"""The map of what was seen against MiniGrid's own view, in environments of many kinds."""

from typing import Any

import gymnasium as gym
import minigrid  # noqa: F401  # registers its environments
import numpy as np
import pytest

from llm4teach.envs.grid.fog_of_war import FogOfWar

ACTIONS = [0.15, 0.15, 0.35, 0.1, 0.05, 0.2, 0.0]  # left, right, forward, pick up, drop, toggle


@pytest.mark.parametrize("through_walls", [False, True])
@pytest.mark.parametrize("view_size", [3, 5, 7, 9])
@pytest.mark.parametrize(
    "name",
    [
        "MiniGrid-DoorKey-8x8-v0",
        "MiniGrid-MultiRoom-N4-S5-v1",
        "MiniGrid-KeyCorridorS3R2-v0",
        "MiniGrid-LavaCrossingS9N2-v0",
        "MiniGrid-Playground-v0",
    ],
)
def test_the_map_is_what_minigrid_showed(name: str, view_size: int, through_walls: bool) -> None:
    env: Any = gym.make(name, disable_env_checker=True).unwrapped
    env.agent_view_size, env.see_through_walls = view_size, through_walls
    fog, rng = FogOfWar(env), np.random.default_rng(view_size)
    for seed in range(4):
        env.reset(seed=seed)
        fog.forget()
        seen = np.zeros((env.width, env.height, 3), np.uint8)
        for _ in range(40):
            observation = fog.observe()
            _, visible = env.gen_obs_grid()  # in the agent's frame
            truth = env.grid.encode()
            for x, y in np.ndindex(env.width, env.height):
                i, j = env.get_view_coords(x, y)
                if 0 <= i < view_size and 0 <= j < view_size and visible[i, j]:
                    seen[x, y] = truth[x, y]
            expected = seen.copy()
            expected[tuple(env.agent_pos)] = env.carrying.encode() if env.carrying else (1, 0, 0)
            np.testing.assert_array_equal(observation[..., :3], expected)
            assert np.argwhere(observation[..., 3] < 4).tolist() == [list(env.agent_pos)]
            assert observation[(*env.agent_pos, 3)] == env.agent_dir
            if any(env.step(int(rng.choice(7, p=ACTIONS)))[2:4]):
                break
