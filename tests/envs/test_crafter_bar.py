"""The bar below Crafter's image: what it shows, and that nothing else changes."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from llm4teach.envs.crafter import symbols as s
from llm4teach.envs.crafter.status_bar import BAR, BAR_SHAPE, with_bar, without_bar
from llm4teach.envs.custom.check import check_task
from llm4teach.envs.registry import get_task, listed_task_names
from llm4teach.envs.task import describe
from llm4teach.student.model.network import Student

needs_craftax = pytest.mark.skipif(
    importlib.util.find_spec("craftax") is None,
    reason="craftax is not installed: pip install 'llm4teach[crafter]'",
)
minutes = pytest.mark.timeout(1800)  # the first test of a machine compiles the engine
NAMES = ("Crafter-done", "Crafter-memory")


def records(n: int = 3) -> np.ndarray:  # type: ignore[type-arg]
    made = np.random.default_rng(0).integers(0, 256, (n, s.RECORD), np.uint8)
    view = made[:, s.PIXELS :]
    view[:, s.DONE : s.DONE + len(s.ACHIEVEMENTS)] = 0
    return made


def test_each_achievement_lights_its_own_columns() -> None:
    made, n = records(len(s.ACHIEVEMENTS) + 1), len(s.ACHIEVEMENTS)
    for k in range(n):
        made[k, s.PIXELS + s.DONE + k] = 1
    bars = with_bar(made, heading=False)[:, s.PIXELS : s.PIXELS + BAR].reshape(-1, *BAR_SHAPE)
    assert (bars == bars[:, :1, :, :1]).all(), "the same in every row and color"
    lit = bars[:, 0, :, 0] == 255  # (23, 63)
    assert (lit.sum(1) == [2] * n + [0]).all() and (lit.sum(0) <= 1).all()
    assert not lit[:, -7:].any(), "the last tile is the heading's"


def test_the_heading_is_in_the_last_tile() -> None:
    made = records()
    made[:, s.PIXELS + s.HEADING_ROW] = 30
    made[:, s.PIXELS + s.HEADING_COLUMN] = 200
    bar = with_bar(made, heading=True)[0, s.PIXELS : s.PIXELS + BAR].reshape(BAR_SHAPE)
    assert bar[0, -7:, 0].tolist() == [30, 30, 30, 200, 200, 200, 0]


@pytest.mark.parametrize("heading", [False, True])
def test_nothing_else_changes(heading: bool) -> None:
    made = records()
    made[:, s.PIXELS + s.DONE] = 1
    shown = with_bar(made, heading)
    np.testing.assert_array_equal(without_bar(shown), made)
    task = get_task(NAMES[heading])
    seen = task.student_observations(shown)
    assert seen.shape[1:] == task.student_shape == (70, 63, 3)
    np.testing.assert_array_equal(seen[:, :63].reshape(-1, s.PIXELS), made[:, : s.PIXELS])
    student = Student(task.student_shape, 17, record_shape=(s.RECORD + BAR,), reads=task.encoder)
    assert student.encode(_tensor(shown)).shape == (3, 70, 63, 3)


def _tensor(array: np.ndarray):  # type: ignore[type-arg, no-untyped-def]
    import torch

    return torch.from_numpy(array)


@needs_craftax
@minutes
@pytest.mark.extended
@pytest.mark.parametrize("name", NAMES)
def test_it_is_the_same_game_with_the_same_texts(name: str) -> None:
    assert name in listed_task_names()
    plain, task = get_task("Crafter"), get_task(name)
    envs, others = plain.make_vector_env(4), task.make_vector_env(4)
    seeds, rng = np.arange(4), np.random.default_rng(0)
    expected, _ = envs.reset(seed=seeds)
    got, _ = others.reset(seed=seeds)
    for _ in range(30):
        np.testing.assert_array_equal(without_bar(got), expected)
        actions = rng.integers(0, 17, 4)
        expected, rewards, *_ = envs.step(actions)
        got, others_rewards, *_ = others.step(actions)
        np.testing.assert_array_equal(rewards, others_rewards)
    states = describe(task, got)
    assert [state.key for state in states] == [state.key for state in describe(plain, expected)]
    mixtures = [tuple((plan, 1 / len(one.options)) for plan in one.options) for one in states]
    which = np.arange(4)
    np.testing.assert_array_equal(
        task.ground(got, mixtures, which), plain.ground(expected, mixtures, which)
    )
    single, _ = task.make_env().reset(seed=0)
    assert single.shape == task.observation_shape


@needs_craftax
@minutes
@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_they_keep_the_contract(name: str) -> None:
    assert check_task(get_task(name)) == []
