"""Student beside teacher by state: against a plain loop over the same episodes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from llm4teach.envs.registry import get_task
from llm4teach.envs.task import Observations, describe
from llm4teach.student.config import EvaluateConfig
from llm4teach.student.evaluation.evaluate import evaluate_policy
from llm4teach.student.evaluation.replay import agreement_rows
from llm4teach.student.policies import uniform_policy

TASK = get_task("SimpleDoorKey")


class Teacher:
    """Advises by what stands in the first cells; silent wherever the agent faces west."""

    def teacher_probs(self, observations: Observations) -> NDArray[np.float32]:
        rng = np.random.default_rng(3)
        table = rng.dirichlet(np.ones(len(TASK.action_names)), size=4).astype(np.float32)
        heading = observations[..., 3].min(axis=(1, 2))
        table[2] = 0
        return table[heading]


def student(observations: Observations) -> NDArray[np.float32]:
    rng = np.random.default_rng(4)
    table = rng.dirichlet(np.ones(len(TASK.action_names)), size=5).astype(np.float32)
    return table[observations.sum(axis=(1, 2, 3)) % 5]


@pytest.fixture(scope="module")
def episodes() -> list[dict[str, Any]]:
    policy = uniform_policy(len(TASK.action_names))
    return evaluate_policy(TASK, policy, "sampled", EvaluateConfig(n_envs=4), 0, seeds=range(5, 17))


def test_rows_are_those_of_a_plain_loop(episodes: list[dict[str, Any]]) -> None:
    steps: dict[str, list[dict[str, Any]]] = {}
    for number, episode in enumerate(episodes):
        env = TASK.make_env()
        observation, _ = env.reset(seed=episode["seed"])
        mine, rewards = [], []
        for action in episode["actions"]:
            [state] = describe(TASK, observation[None])
            pi_t, pi_s = (
                Teacher().teacher_probs(observation[None])[0],
                student(observation[None])[0],
            )
            kl = differs = None
            if pi_t.sum():
                kl = sum(t * np.log(t / s) for t, s in zip(pi_t, pi_s, strict=True) if t > 0)
                differs = bool(pi_s.argmax() != pi_t.argmax())
            mine.append({"key": state.key, "kl": kl, "differs": differs, "s": pi_s, "t": pi_t})
            observation, reward, *_ = env.step(action)
            rewards.append(reward)
        for i, step in enumerate(mine):
            rest = {"after": sum(rewards[i:]), "left": len(rewards) - i, "episode": number}
            steps.setdefault(step["key"], []).append(step | rest)

    rows = agreement_rows(TASK, episodes, student, Teacher())
    assert {row["state_key"] for row in rows} == steps.keys() and len(rows) > 2
    assert [row["steps"] for row in rows] == sorted((len(s) for s in steps.values()), reverse=True)
    for row in rows:
        here = steps[row["state_key"]]
        advised = [s for s in here if s["kl"] is not None]
        assert row["episodes"] == len({s["episode"] for s in here})
        assert row["return_after"] == pytest.approx(np.mean([s["after"] for s in here]))
        assert row["steps_after"] == pytest.approx(np.mean([s["left"] for s in here]))
        assert row["kl"] == pytest.approx(np.mean([s["kl"] for s in advised]), rel=1e-5)
        assert row["differs"] == pytest.approx(np.mean([s["differs"] for s in advised]))
        np.testing.assert_allclose(row["student_probs"], np.mean([s["s"] for s in here], 0), 1e-5)
        np.testing.assert_allclose(row["teacher_probs"], np.mean([s["t"] for s in here], 0), 1e-5)


def test_no_episodes_no_rows() -> None:
    assert agreement_rows(TASK, [], student, Teacher()) == []
