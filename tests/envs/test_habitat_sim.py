"""Nav & Pick on a real habitat-sim; skipped where no interpreter has one (docs/HABITAT.md)."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from habitat_teacher import written_table

from llm4teach.envs.habitat import client
from llm4teach.envs.habitat.client import HabitatWorker, habitat_python
from llm4teach.envs.habitat.task import habitat_task
from llm4teach.envs.habitat.vector import HabitatVectorEnv
from llm4teach.envs.habitat.worker import layout
from llm4teach.envs.seeds import HELD_OUT_START
from llm4teach.envs.task import describe
from llm4teach.errors import TaskError
from llm4teach.student.config import EvaluateConfig
from llm4teach.student.evaluation.evaluate import evaluate_policy


def why_not() -> str:
    """Why no interpreter has habitat-sim; empty if one has it."""
    try:
        worker = HabitatWorker({"simulator": "apartments", "depth": False})
    except TaskError as error:
        return f"no interpreter with habitat-lab: {error}"
    found = worker.facts["habitat_sim"]
    worker.close()
    python = habitat_python(habitat_sim=True)
    return "" if found else f"{python} has no habitat-sim; name one that has: {client.SIM_PYTHON}"


if why := why_not():
    pytest.skip(why, allow_module_level=True)

TASK = habitat_task("HabitatSimNavPick")
FACTS = Path(__file__).resolve().parents[1] / "support" / "habitat_sim_facts.py"


@pytest.fixture(scope="module", autouse=True)
def _end_the_workers() -> Iterator[None]:
    yield
    client.close_idle()


@pytest.fixture(scope="module")
def facts() -> dict[str, Any]:
    command = [str(habitat_python(habitat_sim=True)), str(FACTS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_it_is_habitat_labs_env_on_our_simulator(facts: dict[str, Any]) -> None:
    assert facts["classes"] == ["habitat.core.env", "ApartmentsSim"]


def test_both_simulators_agree_about_free_space_ranges_images_and_ways(
    facts: dict[str, Any],
) -> None:
    for name, same in facts["apartments"].items():
        assert same["same_free"] > 0.93, name  # of all places, walls included
        assert same["same_free_off_edges"] > 0.995, name  # 6 cm or more from where it changes
        assert same["ranges_mm"] < 0.1, name  # of 99% of the rays
        assert same["ranges_within_1_mm"] > 0.995, name  # the others graze a corner
        assert same["start_mm"] < 60, name  # the navmesh keeps away from what it cannot pass
        assert same["depth_median_m"] < 0.03, name
        assert same["depth_within_15_cm"] > 0.9, name  # the others are in the lower corners
        # The kinematic ways have 16 directions and go from cell to cell.
        assert same["way_ratio_least"] > 0.95 and same["way_ratio_most"] < 1.6, name


def test_collisions_of_random_actions_agree(facts: dict[str, Any]) -> None:
    pairs = [(s["collisions"], s["kinematic_collisions"]) for s in facts["apartments"].values()]
    for real, kinematic in pairs:
        assert real > 50 and abs(real - kinematic) <= 0.1 * kinematic
    assert all(s["headings_apart"] < 1e-4 for s in facts["apartments"].values())


def test_a_picked_object_moves_with_the_robot_and_goes_back(facts: dict[str, Any]) -> None:
    found = facts["object"]
    lying = [*found["goal"][:2], found["goal"][2] + 0.04]  # its middle
    assert found["lying"] == pytest.approx(lying, abs=1e-3)
    assert found["holds"] == 0
    for away, bearing, height in found["offsets"]:
        assert (away, bearing, height) == pytest.approx((0.3, 0.0, 0.9), abs=1e-3)
    assert np.hypot(*np.subtract(found["walked"], found["lying"][:2])) > 0.3
    assert found["after"][0] == -1 and found["after"][1:] == pytest.approx(lying, abs=1e-3)


def test_the_arm_takes_what_is_in_reach_and_nothing_through_walls(facts: dict[str, Any]) -> None:
    walls = facts["walls"]
    assert walls["open"] == walls["taken"] > 100
    assert walls["behind_boxes"] > 0 and walls["taken_through_boxes"] == 0


def test_the_seed_determines_the_episode_after_any_other_scene(facts: dict[str, Any]) -> None:
    assert facts["episodes"] == {"same": [True, True], "other": False}


def test_environments_have_a_worker_each_and_play_as_one_alone() -> None:
    seeds = [3, HELD_OUT_START + 3]
    rng = np.random.default_rng(2)
    actions = rng.choice(5, (40, 2), p=[0.6, 0.15, 0.15, 0.05, 0.05])
    envs: Any = TASK.make_vector_env(2)
    assert len({worker.pid for worker in envs._workers}) == 2
    together = [envs.reset(seed=seeds)[0], *(envs.step(row)[0] for row in actions)]
    envs.close()
    alone = TASK.make_env()
    for i, seed in enumerate(seeds):
        np.testing.assert_array_equal(alone.reset(seed=seed)[0], together[0][i])
        for t, row in enumerate(actions):
            observation, _, ended, cut, _ = alone.step(int(row[i]))
            np.testing.assert_array_equal(observation, together[t + 1][i])
            if ended or cut:
                break
    alone.close()


def test_a_second_simulator_in_a_worker_is_refused() -> None:
    with pytest.raises(TaskError, match="one simulator in a process"):
        HabitatVectorEnv(TASK.settings, 2, workers=1)


def test_keys_and_advice_are_those_of_the_kinematic_task() -> None:
    kinematic = habitat_task("HabitatNavPick")
    assert TASK.family == kinematic.family and TASK.action_names == kinematic.action_names
    env = TASK.make_env()
    observations = np.stack([env.reset(seed=seed)[0] for seed in range(4)])
    env.close()
    keys = {state.key for state in describe(TASK, observations)}
    assert keys == {state.key for state in describe(kinematic, observations)}


def test_depth_is_rendered_above_the_same_state() -> None:
    task = habitat_task("HabitatSimNavPickDepth")
    env, plain = task.make_env(), TASK.make_env()
    image, state = env.reset(seed=4)[0], plain.reset(seed=4)[0]
    np.testing.assert_array_equal(image[-1, : layout.STATE_BYTES], state)
    floor = image[-2] / 255 * layout.MAX_DEPTH_M  # the lowest row looks at the floor
    assert floor.max() < 2.5 and image[0].mean() / 255 * layout.MAX_DEPTH_M > floor.mean()
    turned = env.step(1)[0]
    assert (turned[:-1] != image[:-1]).mean() > 0.3
    env.close()
    plain.close()


def test_the_written_table_solves_it() -> None:
    config = EvaluateConfig(episodes=16, n_envs=2)
    with written_table(TASK) as policy:
        played = evaluate_policy(TASK, policy, "sampled", config, seed=0)
    won = [episode for episode in played if episode["success"]]
    assert len(won) >= 14
    for episode in won:
        measures = episode["measures"]
        assert (measures["success"], measures["pick_held"]) == (1, 0)
        assert 0 < measures["spl"] <= 1 and measures["distance_to_goal"] < 20
    assert np.median([episode["measures"]["distance_to_goal"] for episode in won]) < 0.5
