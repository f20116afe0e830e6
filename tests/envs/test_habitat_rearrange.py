"""`HabitatRearrange`: its pieces, and what it answers where something is missing.

ReplicaCAD cannot be had where this is developed, so that the last test is skipped there.
"""

import json
import math
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llm4teach.envs.habitat import client
from llm4teach.envs.habitat.client import HabitatWorker, habitat_python
from llm4teach.envs.habitat.task import habitat_task
from llm4teach.envs.habitat.worker.rearrange.data import NEEDED
from llm4teach.envs.habitat.worker.rearrange.versions import PAIRS, check_versions
from llm4teach.errors import TaskError

SUPPORT = Path(__file__).resolve().parents[1] / "support"


@pytest.fixture(scope="module")
def facts() -> dict[str, Any]:
    try:
        python = habitat_python()
    except TaskError as missing:
        pytest.skip(f"no interpreter with habitat-lab: {missing}")
    command = [str(python), str(SUPPORT / "rearrange_facts.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_the_robot_slides_the_camera_is_small_and_little_else_is_computed(
    facts: dict[str, Any],
) -> None:
    config = facts["config"]
    assert config["allow_sliding"] is True
    assert config["camera"] == [24, 48, False], "meters, not a share of 10 m"
    assert config["measures"] == ["articulated_agent_force", "force_terminate"]
    assert config["lab_sensors"] == []
    assert config["habitat_step"] == pytest.approx([0.25, math.radians(30)])
    assert config["split"] == "val" and config["urdf"].startswith("/somewhere/data/")


def test_an_action_is_one_step_of_habitat(facts: dict[str, Any]) -> None:
    assert [arguments for _, arguments in facts["drive"]] == [[1, 0], [0, 1], [0, -1]]


def test_what_is_drawn_at_the_start_is_seeded_after_the_scene_was_loaded(
    facts: dict[str, Any],
) -> None:
    assert facts["config"]["type"] == "SeededRearrangePddlTask-v0"
    assert facts["seeding"]["registered"] == "SeededPddlTask"
    assert facts["seeding"]["same"]
    assert facts["seeding"]["seeded"] == [["sim", 11], ["pathfinder", 11]]


def test_an_episode_that_habitat_ends_is_over(facts: dict[str, Any]) -> None:
    *steps, actions = facts["forced_end"]
    assert steps == [[False, False], [True, False], [True, False]]
    assert actions == 2, "habitat takes no action after the end"


def test_depth_is_in_meters(facts: dict[str, Any]) -> None:
    assert facts["depth"][:2] == [3.5, 5.0]


def test_the_arm_takes_nothing_from_two_meters_or_through_a_wall(facts: dict[str, Any]) -> None:
    assert facts["arm"] == {
        "near": True,
        "it is hit itself": True,
        "own arm": True,
        "table top under it": True,
        "wall": False,
        "two meters": False,
        "at the side": False,
    }


@pytest.mark.parametrize(
    ("lab", "sim", "next_step"),
    [
        ("0.3.320260507", "0.3.3", "habitat-lab==0.3.320250127"),
        ("0.3.320260507", "0.2.2", "habitat-lab==0.3.320250127"),
        ("0.3.320250127", "0.3.4", "habitat-lab==0.3.320260507"),
    ],
)
def test_versions_that_do_not_go_together_are_rejected_by_name(
    lab: str, sim: str, next_step: str
) -> None:
    with pytest.raises(ImportError, match="needs a habitat-sim") as caught:
        check_versions(lab, sim)
    assert lab in str(caught.value) and sim in str(caught.value)
    assert next_step in str(caught.value) and PAIRS in str(caught.value)


@pytest.mark.parametrize(
    ("lab", "sim"),
    [("0.3.320260507", "0.3.4"), ("0.3.320250127", "0.3.3"), ("0.3.320260507", "0.4.0"), ("", "")],
)
def test_versions_that_go_together_pass(lab: str, sim: str) -> None:
    check_versions(lab, sim)


def test_data_is_looked_for_before_habitat_sim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        worker = HabitatWorker({"simulator": "rearrange"})
    except TaskError as error:
        pytest.skip(f"no interpreter with habitat-lab: {error}")
    real = worker.facts["habitat_sim"]
    worker.close()
    monkeypatch.setenv("LLM4TEACH_HABITAT_DATA", str(tmp_path))
    with pytest.raises(TaskError, match=r"lacks replica_cad.*datasets_download --uids") as caught:
        habitat_task("HabitatRearrange").make_env()
    assert str(tmp_path) in str(caught.value)
    for name in NEEDED:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    if not real:
        with pytest.raises(TaskError, match=r"needs habitat-sim, and .*_SIM_PYTHON="):
            habitat_task("HabitatRearrange").make_env()
    client.close_idle()


def test_it_plays() -> None:
    """Only where habitat-sim and ReplicaCAD are."""
    task = habitat_task("HabitatRearrange")
    try:
        env = task.make_env()
    except TaskError as error:
        pytest.skip(f"no habitat-sim with ReplicaCAD's data: {error}")
    first, _ = env.reset(seed=0)
    env.reset(seed=1)
    again, _ = env.reset(seed=0)
    np.testing.assert_array_equal(first, again)
    for _ in range(20):
        observation, reward, ended, cut, _ = env.step(0)
        assert observation.shape == task.observation_shape and np.isfinite(reward)
        if ended or cut:
            break
    env.close()
    client.close_idle()
