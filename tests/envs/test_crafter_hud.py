"""The bar and the map below Crafter's image: what they show, and that nothing else changes."""

from __future__ import annotations

import importlib.util
import math

import numpy as np
import pytest
import torch

from llm4teach.envs.crafter import symbols as s
from llm4teach.envs.crafter.hud import (
    BAR_ROWS,
    DONE_NAME,
    MAP_ROWS,
    MEMORY_NAME,
    hud_shape,
    with_hud,
    without_hud,
)
from llm4teach.envs.custom.check import check_task
from llm4teach.envs.registry import get_task, listed_task_names
from llm4teach.envs.task import describe
from llm4teach.student.model.network import Student

needs_craftax = pytest.mark.skipif(
    importlib.util.find_spec("craftax") is None,
    reason="craftax is not installed: pip install 'llm4teach[crafter]'",
)
minutes = pytest.mark.timeout(1800)  # the first test of a machine compiles the engine
NAMES = (DONE_NAME, MEMORY_NAME)


def records(n: int = 3) -> np.ndarray:  # type: ignore[type-arg]
    made = np.random.default_rng(0).integers(0, 256, (n, s.RECORD), np.uint8)
    view = made[:, s.PIXELS :]
    view[:, s.DONE : s.DONE + len(s.ACHIEVEMENTS)] = 0
    view[:, [s.ROW, s.COLUMN]] = 5
    return made


def drawn(made: np.ndarray, remembers: bool) -> np.ndarray:  # type: ignore[type-arg]
    shape = hud_shape(remembers)
    return with_hud(made, remembers)[:, s.PIXELS :][:, : math.prod(shape)].reshape(-1, *shape)


def test_each_achievement_lights_its_own_columns() -> None:
    made, n = records(len(s.ACHIEVEMENTS) + 1), len(s.ACHIEVEMENTS)
    for k in range(n):
        made[k, s.PIXELS + s.DONE + k] = 1
    bars = drawn(made, remembers=False)
    assert (bars == bars[:, :1, :, :1]).all(), "the same in every row and color"
    lit = bars[:, 0, :, 0] == 255  # (23, 63)
    assert (lit.sum(1) == [2] * n + [0]).all() and (lit.sum(0) <= 1).all()
    assert not lit[:, -7:].any(), "the last tile is the heading's"


def test_the_heading_is_in_the_last_tile() -> None:
    made = records()
    made[:, s.PIXELS + s.HEADING_ROW] = 30
    made[:, s.PIXELS + s.HEADING_COLUMN] = 200
    bar = drawn(made, remembers=True)[0]
    assert bar[0, -7:, 0].tolist() == [30, 30, 30, 200, 200, 200, 0]


def test_the_map_has_what_was_seen_around_the_player() -> None:
    made = records(20)
    view = made[:, s.PIXELS :]
    blocks = np.random.default_rng(1).integers(0, s.RIPE_PLANT + 1, (20, s.ROWS, s.COLUMNS))
    view[:, s.MAP : s.MAP + s.ROWS * s.COLUMNS] = blocks.reshape(20, -1)
    places = np.random.default_rng(2).integers(0, s.ROWS, (20, 2))
    places[:4] = [[0, 0], [0, 63], [63, 0], [63, 63]]
    view[:, s.ROW], view[:, s.COLUMN] = places.T
    maps = drawn(made, remembers=True)[:, BAR_ROWS:]
    colors: dict[int, tuple[int, ...]] = {}
    for i, (row, column) in enumerate(places):
        for r in range(MAP_ROWS):
            for c in range(63):
                pixel = tuple(map(int, maps[i, r, c]))
                y, x = row + r - MAP_ROWS // 2, column + c - 63 // 2
                if (y, x) == (row, column):
                    assert pixel == (255, 255, 255)
                    continue
                inside = 0 <= y < s.ROWS and 0 <= x < s.COLUMNS
                kind = int(blocks[i, y, x]) if inside else s.OUTSIDE
                assert colors.setdefault(kind, pixel) == pixel, (i, r, c)
    assert len(set(colors.values())) == s.RIPE_PLANT + 1, "a color for each kind"
    assert colors[s.UNKNOWN] == (0, 0, 0)


@pytest.mark.parametrize("remembers", [False, True])
def test_nothing_else_changes(remembers: bool) -> None:
    made = records()
    made[:, s.PIXELS + s.DONE] = 1
    shown = with_hud(made, remembers)
    np.testing.assert_array_equal(without_hud(shown, remembers), made)
    task = get_task(NAMES[remembers])
    assert shown.shape[1:] == task.observation_shape
    seen = task.student_observations(shown)
    assert seen.shape[1:] == task.student_shape == (91 if remembers else 70, 63, 3)
    np.testing.assert_array_equal(seen[:, :63].reshape(-1, s.PIXELS), made[:, : s.PIXELS])
    shape = task.observation_shape
    student = Student(task.student_shape, 17, record_shape=shape, reads=task.encoder)
    assert student.encode(torch.from_numpy(shown)).shape == (3, *task.student_shape)


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
        np.testing.assert_array_equal(without_hud(got, name == MEMORY_NAME), expected)
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
