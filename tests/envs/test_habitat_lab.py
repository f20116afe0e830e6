"""Nav & Pick on the real habitat-lab, in its own interpreter; skipped where there is none."""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from habitat_teacher import written_table

from llm4teach.envs.habitat import client
from llm4teach.envs.habitat.client import habitat_python
from llm4teach.envs.habitat.task import habitat_task
from llm4teach.envs.habitat.worker import layout
from llm4teach.envs.seeds import HELD_OUT_START
from llm4teach.envs.task import describe, ground_plan, state_key
from llm4teach.envs.vector.episodes import EpisodeVector
from llm4teach.errors import TaskError
from llm4teach.student.config import EvaluateConfig
from llm4teach.student.evaluation.evaluate import evaluate_policy
from llm4teach.student.policies import uniform_policy

try:
    PYTHON = habitat_python()
except TaskError as missing:
    pytest.skip(f"no interpreter with habitat-lab: {missing}", allow_module_level=True)

TASK = habitat_task("HabitatNavPick")
SUPPORT = Path(__file__).resolve().parents[1] / "support"
# What episodes came to before the simulator was made quick: SHA-256 of observations, rewards and
# measures, see support/habitat_digests.py. They are to change only with the task itself: those of
# depth did when the camera began to show the tops of furniture.
DIGESTS = {
    "vector 0": "87ba14a01974da96",
    "vector 1": "9ed792e309490990",
    "vector 2": "4deb77ed5e515c38",
    "vector 3": "7eb4dd292318824d",
    "vector 4": "0c9a295eb5086f10",
    "vector 5": "55dd33e8110e899c",
    "vector 6": "e5697e5e6be40d2b",
    "vector 7": "9172c664616cd44f",
    "vector 1073741824": "82efbf1677ec5f0a",
    "vector 1073741901": "573b865c06e9d1d4",
    "depth 3": "b9820845f51fff03",
    "depth 1073741829": "e41e1e03d8000d13",
}


@pytest.fixture(scope="module", autouse=True)
def _end_the_workers() -> Any:
    yield
    client.close_idle()


@pytest.fixture(scope="module")
def facts() -> dict[str, Any]:
    command = [str(PYTHON), str(SUPPORT / "habitat_facts.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_it_is_habitat_labs_own_env_task_measures_sensors_dataset_and_config(
    facts: dict[str, Any],
) -> None:
    assert facts["env"] == ["habitat.core.env", "Env"]
    assert facts["bases"] == [True] * 6
    assert facts["registered"] == ["KinematicSim", "NavPickEmbodiedTask"]
    assert facts["actions"] == list(layout.ACTIONS)
    assert facts["observation_space"] == ["flags", "ranges", "targets"]
    assert facts["dataset"] == [1, "0"]
    assert facts["time_limit"] == 4


def test_its_measures_are_what_happened(facts: dict[str, Any]) -> None:
    distance, asked, success, spl = facts["start"]
    assert distance == asked and distance >= 2.9 and (success, spl) == (0, 0)
    assert facts["collisions"][0] == facts["collisions"][1] > 0
    assert facts["path_length"][0] == pytest.approx(facts["path_length"][1])
    assert facts["state_rotation"] == pytest.approx(1)


def test_episodes_are_bit_by_bit_what_they_were_and_spl_is_habitats_own() -> None:
    command = [str(PYTHON), str(SUPPORT / "habitat_digests.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["digests"] == DIGESTS
    assert found["successes"] == len(DIGESTS) and found["same_spl"]


def test_what_stands_in_for_habitat_sim_says_what_is_missing(facts: dict[str, Any]) -> None:
    if facts["habitat_sim"]:
        pytest.skip("habitat-sim is installed: nothing stands in for it")
    assert "habitat_sim.Simulator is part of habitat-sim, which is not installed" in facts["stub"]


def test_nothing_stands_in_for_a_habitat_sim_that_is_there(tmp_path: Path) -> None:
    for name in ("habitat_sim", "magnum", "corrade", "habitat"):
        (tmp_path / f"{name}.py").write_text(f"WHO = 'the real {name}'\n")
    code = (
        "import sys, types\n"
        f"sys.path[:0] = [{str(tmp_path)!r}, {str(Path(layout.__file__).parent)!r}]\n"
        "import import_stub\n"
        "before = list(sys.meta_path)\n"
        "habitat, real = import_stub.import_habitat()\n"
        "import habitat_sim, magnum\n"
        "assert real and sys.meta_path == before\n"
        "assert habitat_sim.WHO == 'the real habitat_sim' and magnum.WHO == 'the real magnum'\n"
    )
    subprocess.run([str(PYTHON), "-c", code], check=True, timeout=300)


@pytest.mark.parametrize("name", ["HabitatNavPick", "HabitatNavPickDepth", "HabitatNavPickCamera"])
def test_the_tasks_keep_their_protocol(name: str) -> None:
    """As in test_grid_task: shapes, dtypes, keys and grounded rows."""
    task, rng = habitat_task(name), np.random.default_rng(0)
    env = task.make_env()
    rows = [env.reset(seed=0)[0]]
    for _ in range(150):
        obs, _, terminated, truncated, _ = env.step(
            int(rng.choice(5, p=[0.5, 0.2, 0.2, 0.05, 0.05]))
        )
        rows.append(env.reset()[0] if terminated or truncated else obs)
    env.close()
    observations = np.stack(rows)
    assert observations.shape[1:] == task.observation_shape
    assert observations.dtype == np.uint8
    assert len(np.unique(observations, axis=0)) > 60
    states = describe(task, observations)
    texts = {state.key: (state.text, state.options) for state in states}
    assert all(texts[s.key] == (s.text, s.options) for s in states)
    assert all(state.key == state_key(task.family, state.text) for state in states)
    for plan in {plan for state in states for plan in state.options}:
        probs = ground_plan(task, observations, plan)
        assert probs.shape == (len(observations), 5) and probs.dtype == np.float32
        total = probs.sum(1)
        assert np.all(np.isclose(total, 1) | (total == 0))
        one_by_one = np.concatenate([ground_plan(task, o[None], plan) for o in observations])
        np.testing.assert_array_equal(probs, one_by_one)


def test_seeds_determine_episodes_alone_or_in_company() -> None:
    n, rng = 3, np.random.default_rng(1)
    seeds = [5, HELD_OUT_START + 5, 77]
    actions = rng.choice(5, size=(40, n), p=[0.6, 0.15, 0.15, 0.05, 0.05])
    envs = TASK.make_vector_env(n)
    together = [envs.reset(seed=seeds)[0]]
    rewards = []
    for row in actions:
        observations, reward, *_ = envs.step(row)
        together.append(observations)
        rewards.append(reward)
    envs.close()
    single = TASK.make_env()
    for i, seed in enumerate(seeds):
        np.testing.assert_array_equal(single.reset(seed=seed)[0], together[0][i])
        for t, row in enumerate(actions):
            observation, reward, ended, cut, _ = single.step(int(row[i]))
            np.testing.assert_array_equal(observation, together[t + 1][i])
            assert reward == rewards[t][i]
            if ended or cut:
                break
    single.close()
    assert not np.array_equal(together[0][0], together[0][1]), "held-out apartments are others"


def test_the_written_table_solves_it_and_its_measures_are_told() -> None:
    config = EvaluateConfig(episodes=24, n_envs=12)
    with written_table(TASK) as policy:
        played = evaluate_policy(TASK, policy, "sampled", config, seed=0)
    won = [episode for episode in played if episode["success"]]
    assert len(won) >= 22
    for episode in won:
        told = episode["measures"]
        assert set(told) == set(layout.MEASURES)
        assert (told["success"], told["pick_held"]) == (1, 0)
        assert 0 <= told["distance_to_goal"] < 20
        assert 0 < told["spl"] <= 1 and told["path_length"] > 2
        cost = min(0.05 * told["collisions"], 0.5)
        assert episode["return"] == pytest.approx(1 - 0.4 * episode["length"] / 200 - cost)
    # Where the robot fits and no cell's middle does, the way round is told: not for most.
    assert np.median([episode["measures"]["distance_to_goal"] for episode in won]) < 0.7
    random = evaluate_policy(TASK, uniform_policy(5), "sampled", EvaluateConfig(episodes=4), seed=0)
    assert all(e["length"] == layout.MAX_STEPS for e in random if not e["success"])


def test_a_killed_worker_costs_its_episodes_and_nothing_else() -> None:
    envs = EpisodeVector(TASK, 4, iter(range(100)))
    inner: Any = envs._envs
    envs.step(np.zeros(4, int))
    os.kill(inner._workers[0].pid, signal.SIGKILL)
    step = envs.step(np.zeros(4, int))
    assert step.truncated.all() and not step.terminated.any() and not step.rewards.any()
    np.testing.assert_array_equal(envs.seeds, [4, 5, 6, 7])
    after = envs.step(np.ones(4, int))
    assert not after.truncated.any() and inner.restarts == 1
    inner.close()


def test_films_have_frames() -> None:
    env = TASK.make_env(render_mode="rgb_array")
    env.reset(seed=1)
    first = np.asarray(env.render())
    for _ in range(3):
        env.step(0)
    second = np.asarray(env.render())
    assert first.shape == second.shape and first.dtype == np.uint8 and (first != second).any()
    env.close()
