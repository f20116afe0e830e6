"""Hierarchical RL: advantages by hand, plans that are followed, and training that repeats."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from llm4teach.envs.plan import Plan
from llm4teach.envs.registry import get_task
from llm4teach.envs.seeds import episode_seeds
from llm4teach.envs.vector.episodes import EpisodeVector
from llm4teach.errors import TaskError
from llm4teach.student.config import FinetuneConfig
from llm4teach.student.model.network import Student
from llm4teach.student.training import option_player
from llm4teach.student.training.option_player import MOST_PLANS, Decision, OptionPlayer, masks
from llm4teach.student.training.option_ppo import OptionTrainer, Transition, option_advantages
from llm4teach.student.training.ppo import generalized_advantages

TASK = get_task("SimpleDoorKey")


def network() -> Student:
    torch.manual_seed(0)
    return Student(TASK.student_shape, MOST_PLANS)


def transition(
    reward: float, steps: int, value: float, next_value: float, last: bool
) -> Transition:
    decision = Decision(0, np.zeros(1, np.uint8), 0, 0.0, value, [0])
    return Transition(decision, reward, 0.9**steps, next_value, last)


def test_advantages_of_plans_by_hand() -> None:
    first = transition(1.0, 2, 0.5, 2.0, False)  # delta = 1 + 0.81 * 2 - 0.5 = 2.12
    second = transition(0.0, 3, 2.0, 0.0, True)  # delta = -2
    other_episode = transition(0.5, 1, 0.0, 1.0, True)  # truncated: delta = 0.5 + 0.9
    found = option_advantages([first, second, other_episode], lam=0.5)
    assert found == pytest.approx([2.12 + 0.81 * 0.5 * -2, -2.0, 1.4])


def test_plans_of_one_step_have_ppos_advantages() -> None:
    rng = np.random.default_rng(0)
    rewards, values = rng.normal(size=(2, 8))
    following = np.append(values[1:], 0.7)
    ends = np.array([0, 0, 1, 0, 0, 0, 0, 0], bool)
    ours = option_advantages(
        [
            transition(rewards[t], 1, values[t], 0.0 if ends[t] else following[t], bool(ends[t]))
            for t in range(8)
        ],
        lam=0.95,
    )
    columns = (rewards, values, following, ends, np.zeros(8, bool))
    tensors = [torch.from_numpy(column)[:, None] for column in columns]
    theirs = generalized_advantages(*tensors, 0.9, 0.95)  # type: ignore[arg-type]
    assert ours == pytest.approx(theirs[:, 0].tolist(), abs=1e-6)


def test_a_plan_is_followed_until_the_state_changes() -> None:
    numbers: dict[Plan, int] = {}
    player = OptionPlayer(TASK, network(), numbers, np.random.default_rng(0))
    envs = EpisodeVector(TASK, 4, iter(episode_seeds("development", 4)))
    rng, chosen, n_steps = np.random.default_rng(1), [0] * 4, 0
    before = [-1] * 4  # state of each
    while envs.active.all():
        state_ids = TASK.identify(envs.observations)
        probs, _ = player.act(envs.observations, np.arange(4), envs.steps_in_episode == 0)
        np.testing.assert_allclose(probs.sum(1), 1, rtol=1e-5)
        deciding = {decision.env for decision in player.decisions}
        for decision in player.decisions:
            plan = list(numbers)[decision.plan]
            assert plan in TASK.state(int(state_ids[decision.env])).options
            assert decision.logprob <= 0
            chosen[decision.env] += 1
        changed = {i for i in range(4) if before[i] != state_ids[i]}
        assert changed <= deciding, "a new state is a new choice"
        before = state_ids.tolist()
        envs.step(np.array([rng.choice(7, p=row / row.sum()) for row in probs.astype(float)]))
        n_steps += 1
    assert sum(chosen) < 4 * n_steps, "plans last for more than a step"


def test_only_admissible_plans_have_probability() -> None:
    assert masks([[0, 2], [1]])[:, :3].tolist() == [[True, False, True], [False, True, False]]


def test_too_many_plans_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(option_player, "MOST_PLANS", 1)
    numbers = {Plan(()): 0}
    player = OptionPlayer(TASK, network(), numbers, np.random.default_rng(0))
    envs = EpisodeVector(TASK, 1, iter(episode_seeds("development", 1)))
    with pytest.raises(TaskError, match="more than 1 plans"):
        player.act(envs.observations, np.arange(1), np.ones(1, bool))


def test_training_repeats_and_changes_the_policy() -> None:
    config = FinetuneConfig(
        steps=300, n_envs=4, rollout_length=32, minibatches=2, epochs=1, learning_rate=1e-2
    )

    def trained() -> tuple[Student, list[int]]:
        trainer, steps = OptionTrainer(TASK, network(), config, seed=3), list[int]()
        assert trainer.run(lambda step, losses: steps.append(step)) == 256
        trainer.close()
        return trainer.student, steps

    (one, steps), (two, _) = trained(), trained()
    assert steps == [128, 256], "env steps, not choices"
    weights = [dict(student.state_dict()) for student in (one, two, network())]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not torch.equal(weights[0]["policy.weight"], weights[2]["policy.weight"])
