"""The upper bound: MiniGrid's own BabyAIBot, which reads the mission's code and is never wrong.

It plans in the environment itself, so it says what the level allows, not what the options do. It
plays BabyAI's levels alone; on a few of them it gives up, which counts as a failure.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence

import gymnasium as gym
import minigrid  # noqa: F401  registers its environments
from minigrid.envs.babyai.core.roomgrid_level import RoomGridLevel
from minigrid.utils.baby_ai_bot import BabyAIBot


def has_bot(env_id: str) -> bool:
    """Whether the bot can play this environment: it is one of BabyAI's levels."""
    return isinstance(_make(env_id).unwrapped, RoomGridLevel)


def play_bot(env_id: str, seeds: Sequence[int]) -> Iterator[tuple[bool, int]]:
    """Yield success and length in env steps of an episode per seed."""
    env = _make(env_id)
    for seed in seeds:
        with contextlib.redirect_stdout(io.StringIO()):  # BabyAI prints what it throws away
            env.reset(seed=seed)
        yield _episode(env)


def _episode(env: gym.Env[object, int]) -> tuple[bool, int]:
    bot, action, length = BabyAIBot(env.unwrapped), None, 0
    while True:
        try:
            action = bot.replan(action)
        except Exception:  # it asserts in many places what it expects of a level
            return False, length
        _, reward, terminated, truncated, _ = env.step(action)
        length += 1
        if terminated or truncated:
            return bool(terminated and float(reward) > 0), length


def _make(env_id: str) -> gym.Env[object, int]:
    return gym.make(env_id, disable_env_checker=True)
