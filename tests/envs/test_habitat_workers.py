"""Workers that play, die, hang and talk nonsense: real processes, without habitat-lab."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_habitat import LENGTH, write_interpreter

from llm4teach.envs.habitat import client, start
from llm4teach.envs.habitat.client import PYTHON, HabitatWorker
from llm4teach.envs.habitat.task import habitat_task
from llm4teach.envs.habitat.vector import HabitatEnv, HabitatVectorEnv
from llm4teach.envs.habitat.worker import protocol
from llm4teach.errors import TaskError

TOY = {"simulator": "toy"}


@pytest.fixture(autouse=True)
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(PYTHON, str(write_interpreter(tmp_path)))
    monkeypatch.delenv(client.SIM_PYTHON, raising=False)
    yield
    client.close_idle()


def test_many_environments_over_workers_play_their_seeds_episodes() -> None:
    n = 5
    envs = HabitatVectorEnv(TOY, n, workers=2)
    observations, _ = envs.reset(seed=10)
    np.testing.assert_array_equal(observations[:, 0], np.arange(10, 15))
    for t in range(1, LENGTH + 1):
        observations, rewards, ended, cut, info = envs.step(np.zeros(n, int))
        np.testing.assert_array_equal(observations[:, 1], t)
    np.testing.assert_array_equal(ended, [True, False, True, False, True])
    np.testing.assert_array_equal(cut, ~ended)
    np.testing.assert_array_equal(rewards, ended.astype(float))
    np.testing.assert_array_equal(info["measures"]["spl"], np.full(n, LENGTH))

    before = observations
    observations, rewards, ended, cut, _ = envs.step(np.zeros(n, int))  # nobody plays any more
    np.testing.assert_array_equal(observations, before)
    assert not (rewards.any() or ended.any() or cut.any())
    mask = np.array([False, True, False, True, False])
    observations, _ = envs.reset(seed=np.arange(50, 55), options={"reset_mask": mask})
    np.testing.assert_array_equal(observations[:, 0], [10, 51, 12, 53, 14])
    observations, *_ = envs.step(np.zeros(n, int))
    np.testing.assert_array_equal(observations[:, 1], [7, 1, 7, 1, 7])
    envs.close()


@pytest.mark.parametrize("fault", ["die", "garbage", "hang"])
def test_a_worker_that_fails_is_replaced_and_its_episodes_are_truncated(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM4TEACH_TOY_FAULT", fault)
    envs = HabitatVectorEnv(TOY, 4, workers=2)
    envs.reset(seed=0)
    envs.step(np.zeros(4, int))
    envs._workers[0].answer_s = 1.0  # it will hang; the other one has all the time it needs
    observations, rewards, ended, cut, _ = envs.step(np.array([3, 0, 0, 0]))
    np.testing.assert_array_equal(cut, [True, True, False, False])  # those of the first worker
    np.testing.assert_array_equal(observations[:, 1], [1, 1, 2, 2])
    assert not ended.any() and not rewards.any() and envs.restarts == 1

    mask = np.array([True, False, False, False])
    envs.reset(seed=np.full(4, 30), options={"reset_mask": mask})
    observations, _, _, cut, _ = envs.step(np.zeros(4, int))
    np.testing.assert_array_equal(observations[:, 0], [30, 1, 2, 3])
    np.testing.assert_array_equal(observations[:, 1], [1, 1, 3, 3])
    assert not cut.any(), "told once"
    envs.close()


def test_one_that_is_killed_during_a_reset_loses_the_running_episodes() -> None:
    envs = HabitatVectorEnv(TOY, 3)
    envs.reset(seed=0)
    os.kill(envs._workers[0].pid, signal.SIGKILL)
    mask = np.array([True, False, False])
    observations, _ = envs.reset(seed=np.full(3, 9), options={"reset_mask": mask})
    np.testing.assert_array_equal(observations[:, 0], [9, 1, 2])
    observations, _, _, cut, _ = envs.step(np.zeros(3, int))
    np.testing.assert_array_equal(cut, [False, True, True])
    np.testing.assert_array_equal(observations[:, 1], [1, 0, 0])
    envs.close()


def test_one_that_dies_again_and_again_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM4TEACH_TOY_FAULT", "die")
    monkeypatch.setattr("llm4teach.envs.habitat.vector._MOST_RESTARTS", 1)
    envs = HabitatVectorEnv(TOY, 1)
    envs.reset(seed=0)
    envs.step(np.array([3]))
    assert envs.restarts == 1
    os.kill(envs._workers[0].pid, signal.SIGKILL)  # before it has answered anything
    with pytest.raises(TaskError, match=r"failed 2 times in a row: .*exit code -9"):
        envs.reset(seed=0)
    envs.close()


def test_what_a_worker_cannot_do_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM4TEACH_TOY_FAULT", "error")
    envs = HabitatVectorEnv(TOY, 1)
    envs.reset(seed=0)
    with pytest.raises(TaskError, match="ValueError: the toy was told to fail"):
        envs.step(np.array([3]))
    with pytest.raises(TaskError, match=r"actions \[17\]"):
        envs.step(np.array([17]))
    envs.close()


@pytest.mark.parametrize(
    ("fault", "message"),
    [("version", "version 99"), ("mute", "exit code 3"), ("silent", "no answer in 1 s")],
)
def test_one_that_does_not_start_says_why(
    fault: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM4TEACH_TOY_FAULT", fault)
    monkeypatch.setattr(client, "START_S", 1.0 if fault == "silent" else 60.0)
    with pytest.raises(TaskError, match=message):
        HabitatWorker(TOY)


def test_without_an_interpreter_it_says_how_to_make_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PYTHON, "/nowhere/python")
    with pytest.raises(TaskError, match=r"/nowhere/python is no file; make one \(make habitat-env"):
        HabitatVectorEnv(TOY, 1)


def test_workers_start_side_by_side_and_report_their_progress(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(start, "REPORT_EVERY_S", 0.01)
    envs = HabitatVectorEnv({"simulator": "apartments"}, 3, workers=3)
    assert "of 3 run after" in caplog.text
    observations, _ = envs.reset(seed=20)
    np.testing.assert_array_equal(observations[:, 0], [20, 21, 22])
    envs.close()
    monkeypatch.setenv("LLM4TEACH_TOY_FAULT", "mute")
    client.close_idle()
    with pytest.raises(TaskError, match="does not start"):
        HabitatVectorEnv({"simulator": "apartments"}, 3, workers=3)


def test_simulators_on_habitat_sim_have_a_worker_each_an_interpreter_and_time_for_scenes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    python = write_interpreter(other)
    monkeypatch.setenv(client.SIM_PYTHON, str(python))
    assert client.habitat_python(habitat_sim=True) == python
    assert client.habitat_python() == tmp_path / "python"
    envs: Any = habitat_task("HabitatSimNavPick").make_vector_env(3)
    assert len(envs._workers) == 3
    worker = envs._workers[0]
    assert worker._process.args[0] == str(python)
    assert worker.reset_s == client.SCENE_S > worker.answer_s
    envs.close()
    monkeypatch.setenv(client.SIM_PYTHON, "/nowhere/python")
    with pytest.raises(TaskError, match=r"SIM_PYTHON=/nowhere/python is no file"):
        HabitatWorker({"simulator": "rearrange"})


def test_workers_are_used_again_and_never_with_an_answer_on_the_way() -> None:
    first = HabitatEnv(TOY)
    pid = first._envs._workers[0].pid
    first.reset(seed=1)
    first.close()
    second = HabitatEnv(TOY, "rgb_array")
    assert second._envs._workers[0].pid == pid
    assert second.reset(seed=2)[0][0] == 2
    assert second.render().shape == (2, 3, 3)  # type: ignore[union-attr]
    for _ in range(LENGTH):
        *_, info = second.step(0)
    assert info["collisions"] == LENGTH
    worker = second._envs._workers[0]
    request = protocol.pack_request(np.array([0]), np.array([5]))
    worker.send(protocol.Message(protocol.RESET, payload=request))
    second.close()
    assert not worker.alive


def test_a_worker_ends_with_its_core() -> None:
    worker = HabitatWorker(TOY)
    worker.prepare(1)
    assert worker._process.stdin is not None
    worker._process.stdin.close()  # as when the core is killed
    assert worker._process.wait(120) == 0
    worker.close()
