"""d3rlpy's algorithms learn from a good teacher's steps what distillation learns from them."""

from __future__ import annotations

import numpy as np
import pytest

import llm4teach as lt
from llm4teach.analysis.offline_rl.critics import cloned_policy, conservative_q, greedy_policy
from llm4teach.analysis.offline_rl.off_policy import Logged, logged_episodes
from llm4teach.datasets.trajectories import read_steps
from llm4teach.datasets.workspace import Workspace
from llm4teach.envs.registry import get_task
from llm4teach.student.config import EvaluateConfig
from llm4teach.student.evaluation.evaluate import evaluate_policy
from llm4teach.student.policies import Policy

pytest.importorskip("d3rlpy")
TASK = get_task("SimpleDoorKey")


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Logged:
    """What a teacher has played that opens every door."""
    place = str(tmp_path_factory.mktemp("workspace"))
    follow = {"ask": True, "teacher_fraction": 1.0, "plan_epsilon": 0.0, "action_epsilon": 0.0}
    collect = {"steps": 4_000, "rounds": 1, **follow}
    run = lt.collect(TASK.name, "recorded/vicuna-33b", place, collect=collect)["run_id"]
    steps = read_steps(Workspace(place).trajectories(TASK.name, run), TASK.observation_shape)
    episodes = logged_episodes(steps)
    assert episodes is not None
    return episodes


def success(policy: Policy | None) -> float:
    assert policy is not None
    config = EvaluateConfig(episodes=100, seeds="development")
    played = evaluate_policy(TASK, policy, "greedy", config, 0)
    return float(np.mean([episode["success"] for episode in played]))


@pytest.mark.extended
def test_discrete_bc_opens_the_doors_that_its_teacher_opens(logged: Logged) -> None:
    policy = cloned_policy(logged, 7, steps=600, batch_size=128, reads="cells")
    assert success(policy) > 0.8


@pytest.mark.extended
def test_discrete_cql_opens_them_too(logged: Logged) -> None:
    q = conservative_q(logged, 7, gamma=0.99, steps=1_200, batch_size=128, reads="cells")
    assert success(q and greedy_policy(q)) > 0.6
