"""Tasks by name: of modules, of installed packages, of other packages' MiniGrid environments."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llm4teach.envs.custom import loading
from llm4teach.envs.registry import _task_from_elsewhere, get_task, listed_task_names
from llm4teach.envs.task import describe
from llm4teach.errors import TaskError

TASK = """
from counter_task import counter
task = counter()
def make():
    return counter()
class Bare:
    pass
bare = Bare()
"""
MAZE = """
import gymnasium as gym
from minigrid.envs import EmptyEnv
gym.register("MiniGrid-Mine-v0", entry_point=EmptyEnv, kwargs={"size": 6})
gym.register("MiniGrid-CartPole-v0", entry_point="gymnasium.envs.classic_control:CartPoleEnv")
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A current folder with modules of its own, which are forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("own_"):
            del sys.modules[name]
    _task_from_elsewhere.cache_clear()
    loading.entry_points.cache_clear()


@pytest.mark.parametrize("attribute", ["task", "make"])
def test_a_task_of_a_module_in_the_current_folder(here: Path, attribute: str) -> None:
    (here / "own_world.py").write_text(TASK)
    name = f"own_world:{attribute}"
    task = get_task(name)
    assert task.name == task.trained_as == name and get_task(name) is task


def test_a_task_of_an_installed_package(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "own_packaged.py").write_text(TASK)
    info = here / "own_packaged-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-packaged\nVersion: 1.0\n")
    points = "Counting = own_packaged:task\nBroken = own_missing:task\n"
    (info / "entry_points.txt").write_text(f"[llm4teach.tasks]\n{points}")
    monkeypatch.syspath_prepend(here)
    loading.entry_points.cache_clear()
    assert "Counting" in listed_task_names()
    assert get_task("Counting").name == "Counting"
    with pytest.raises(TaskError, match=r"Broken of the package own-packaged: there is no module"):
        get_task("Broken")


def test_a_minigrid_environment_of_another_package(here: Path) -> None:
    (here / "own_maze.py").write_text(MAZE)
    task = get_task("own_maze:MiniGrid-Mine-v0")
    observation, _ = task.make_env().reset(seed=1)
    assert observation.shape == task.observation_shape == (6, 6, 6)
    assert describe(task, observation[None])[0].options
    with pytest.raises(TaskError, match="registers no environment 'MiniGrid-Yours-v0'"):
        get_task("own_maze:MiniGrid-Yours-v0")
    with pytest.raises(TaskError, match="not a MiniGrid environment"):
        get_task("own_maze:MiniGrid-CartPole-v0")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("own_nothing:task", "no module 'own_nothing'"),
        ("own_world.sub:task", "no module 'own_world.sub'"),
        ("own_world:missing", "own_world has no 'missing'; it has .*task"),
        ("own_world:bare", "is no task: Bare has no family, action_names"),
        ("own_needs:task", "needs 'own_absent', which is missing"),
        ("own_fails:task", "importing 'own_fails' failed: ZeroDivisionError"),
        ("SimpleDorKey", "did you mean SimpleDoorKey"),
    ],
)
def test_what_is_no_task_is_refused_in_one_sentence(here: Path, name: str, problem: str) -> None:
    (here / "own_world.py").write_text(TASK)
    (here / "own_needs.py").write_text("import own_absent")
    (here / "own_fails.py").write_text("1 / 0")
    with pytest.raises(TaskError, match=problem):
        get_task(name)


def test_a_process_elsewhere_finds_the_modules_of_the_folder_it_was_started_from(
    here: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (here / "own_world.py").write_text("task = 7")
    environment = dict(os.environ)
    loading.hand_on_path(environment)
    code = "from llm4teach.envs.custom.loading import load_object as l; print(l('own_world:task'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path_factory.mktemp("elsewhere"),
        env=environment,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "7\n"), done.stderr
