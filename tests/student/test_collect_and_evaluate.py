"""Collection, distillation and evaluation: what is counted, stored and measured."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from llm4teach.datasets.trajectories import read_steps
from llm4teach.envs.registry import get_task
from llm4teach.envs.seeds import HELD_OUT_START, episode_seeds, training_seeds
from llm4teach.envs.task import State, describe
from llm4teach.envs.vector.episodes import EpisodeVector
from llm4teach.flows.stages.warm_up import warm_up
from llm4teach.student.collection.behavior import OptionBehavior, PolicyBehavior
from llm4teach.student.collection.collect import Collector
from llm4teach.student.collection.reweighting import reweight_trajectories
from llm4teach.student.config import EvaluateConfig, FinetuneConfig, PretrainConfig
from llm4teach.student.evaluation.evaluate import evaluate_policy
from llm4teach.student.model.network import Student
from llm4teach.student.policies import StudentPolicy, teacher_policy, uniform_policy
from llm4teach.student.training.distill import Steps, distill
from llm4teach.student.training.rollout import RolloutBuffer, collect_rollout

from .toy import SHAPE, RightTeacher, ToyTask

DOOR_KEY = get_task("SimpleDoorKey")


def collector(folder: Path, noise: float = 0.0, first: int = 0) -> Collector:
    return Collector(
        DOOR_KEY,
        folder,
        "run",
        n_envs=4,
        action_epsilon=noise,
        first_episode=first,
        seeds=training_seeds(0, "collect", start=first),
        rng=np.random.default_rng(first),
    )


def options() -> OptionBehavior:
    """Admissible plans, each as likely, held on to."""
    return OptionBehavior(
        DOOR_KEY, lambda states: [()] * len(states), 1.0, np.random.default_rng(0)
    )


def test_steps_are_counted_exactly_and_stored_in_whole_episodes(tmp_path: Path) -> None:
    leaders = [(options(), 0.5), (PolicyBehavior("random", uniform_policy(7)), 0.5)]
    report = collector(tmp_path, noise=0.25).collect(1_603, leaders)
    stored = read_steps(tmp_path, DOOR_KEY.observation_shape)
    assert report.steps == len(stored) == 1_600
    ends = stored.column("terminated") | stored.column("truncated")
    assert report.episodes_ended == ends.sum() > 0
    assert not (stored.column("terminated") & stored.column("truncated")).any()
    assert (stored.column("seed") < HELD_OUT_START).all()
    for episode in np.unique(stored.column("episode_id")):
        rows = np.flatnonzero(stored.column("episode_id") == episode)
        assert stored.column("t")[rows].tolist() == list(range(len(rows)))
        assert not ends[rows[:-1]].any()
        # Played again from its seed, the episode is what was stored.
        env = DOOR_KEY.make_env()
        observation, _ = env.reset(seed=int(stored.column("seed")[rows[0]]))
        for row in rows:
            np.testing.assert_array_equal(stored.observations[row], observation)
            observation, reward, *_ = env.step(int(stored.column("action")[row]))
            assert stored.column("reward")[row] == np.float32(reward)
    states = describe(DOOR_KEY, stored.observations)
    assert [s.key for s in states] == stored.column("state_key").tolist()
    noisy = (stored.column("behavior") == "noise").mean()
    assert 0.2 < noisy < 0.3
    logprobs = stored.column("action_logprob")
    assert (logprobs <= 0).all() and logprobs.min() >= np.log(0.25 / 7) - 1e-5


def test_every_action_of_a_uniform_policy_has_its_probability(tmp_path: Path) -> None:
    collector(tmp_path).collect(80, [(PolicyBehavior("random", uniform_policy(7)), 1.0)])
    stored = read_steps(tmp_path, DOOR_KEY.observation_shape)
    np.testing.assert_allclose(stored.column("action_logprob"), -np.log(7), rtol=1e-5)


def toy_steps(n: int = 600, wrong: int | None = None) -> Steps:
    env, rng = ToyTask().make_env(), np.random.default_rng(0)
    rows, rewards, ends = [], [], []
    observation, _ = env.reset(seed=0)
    while len(rows) < n:
        rows.append(observation)
        observation, reward, ended, *_ = env.step(int(rng.integers(3)))
        rewards.append(reward)
        ends.append(ended)
        if ended:
            observation, _ = env.reset()
    observations, terminated = np.stack(rows), np.array(ends)
    return Steps(
        observations,
        RightTeacher(wrong).teacher_probs(observations),
        np.array(rewards, np.float32),
        terminated,
        np.append(terminated[:-1], True),
    )


def distilled(steps: Steps, seed: int = 0) -> tuple[Student, dict[str, float]]:
    torch.manual_seed(seed)
    student, last = Student(SHAPE, 3, width=16, hidden=16), {}
    config = PretrainConfig(epochs=30, batch_size=32, learning_rate=1e-2)
    distill(student, steps, config, seed, lambda step, values: last.update(values))
    return student, last


def test_distilling_reproduces_the_advice() -> None:
    steps = toy_steps()
    student, last = distilled(steps)
    assert last["agreement"] > 0.99 and last["loss"] < 0.05
    probs = StudentPolicy(student)(steps.observations)
    assert (probs.argmax(1) == steps.teacher_probs.argmax(1)).mean() > 0.99


def test_distilling_is_seeded() -> None:
    steps = toy_steps(200)
    first, second = distilled(steps)[0], distilled(steps)[0]
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_steps_without_advice_teach_the_critic_only() -> None:
    steps = toy_steps(200)
    steps.teacher_probs[steps.observations[:, 3, 2, 0] == 1] = 0
    student, last = distilled(steps)
    assert last["agreement"] > 0.99
    assert not np.isnan(StudentPolicy(student)(steps.observations)).any()
    steps.teacher_probs[:] = 0
    with pytest.raises(ValueError, match="has advice"):
        distilled(steps)


def test_the_critic_learns_the_collected_returns() -> None:
    """Random play earns 1/3 a step; with gamma 0.99 the mean return to go of 8 steps is 1.48."""
    steps = toy_steps()
    student, _ = distilled(steps)
    with torch.no_grad():
        values = student(torch.tensor(steps.observations)).values
    assert values.mean().item() == pytest.approx(1.48, abs=0.2)


def test_evaluation_plays_each_held_out_seed_once() -> None:
    config = EvaluateConfig(episodes=30, n_envs=7)
    policy = uniform_policy(7)
    episodes = evaluate_policy(DOOR_KEY, policy, "sampled", config, seed=0)
    assert [episode["seed"] for episode in episodes] == episode_seeds("test-2", 30)
    env = DOOR_KEY.make_env()
    for episode in episodes:
        env.reset(seed=episode["seed"])
        total = 0.0
        for action in episode["actions"]:
            _, reward, terminated, truncated, _ = env.step(action)
            total += float(reward)
        assert terminated or truncated
        assert episode["length"] == len(episode["actions"])
        assert episode["return"] == pytest.approx(total, abs=1e-6)
        assert episode["success"] == (terminated and total > 0)


def test_argmax_takes_the_likeliest_and_does_not_depend_on_the_seed() -> None:
    task, teacher = ToyTask(), teacher_policy(RightTeacher())
    config = EvaluateConfig(episodes=9, n_envs=4)
    runs = [evaluate_policy(task, teacher, "argmax", config, seed) for seed in (0, 1)]
    assert runs[0] == runs[1]
    assert all(episode["return"] == 8 and episode["success"] for episode in runs[0])


class NoOptionsTask(ToyTask):
    """In one of its three states there is nothing to choose."""

    def state(self, state_id: int) -> State:
        state = super().state(state_id)
        return state if state_id != 2 else replace(state, options=())


def test_a_state_without_options_is_explored_at_random(tmp_path: Path) -> None:
    task, rng = NoOptionsTask(), np.random.default_rng(0)
    behavior = OptionBehavior(task, lambda states: [()] * len(states), 1.0, rng)
    seeds = training_seeds(0, "x")
    toy = Collector(task, tmp_path, "run", n_envs=4, action_epsilon=0.0, seeds=seeds, rng=rng)
    toy.collect(200, [(behavior, 1.0)])
    stored = read_steps(tmp_path, task.observation_shape)
    states = describe(task, stored.observations)
    labels = stored.column("behavior")
    for state, label in zip(states, labels, strict=True):
        assert label.startswith("option: ") == bool(state.options)
    distinct = list({s.key: s for s in states}.values())
    plans = reweight_trajectories(
        stored,
        distinct,
        lambda states: [()] * len(states),
        PretrainConfig(),
    )
    assert all(len(plans[state]) == len(state.options) for state in distinct)
    warm_up(task)


class PatientTask(ToyTask):
    """Success is a return of at least 4, whatever the last reward is."""

    def is_success(
        self, terminated: NDArray[np.bool_], returns: NDArray[np.floating[Any]]
    ) -> NDArray[np.bool_]:
        return terminated & (returns >= 4)


def test_the_task_defines_success(tmp_path: Path) -> None:
    """The same policy and the same definition in collection, rollouts and evaluation."""
    task, rng = PatientTask(), np.random.default_rng(0)
    behavior = PolicyBehavior("random", uniform_policy(3))
    seeds = training_seeds(0, "x")
    toy = Collector(task, tmp_path, "run", n_envs=4, action_epsilon=0.0, seeds=seeds, rng=rng)
    report = toy.collect(320, [(behavior, 1.0)])
    stored = read_steps(tmp_path, task.observation_shape)
    returns = stored.column("reward").reshape(-1, 8).sum(1)  # whole episodes of 8 steps
    last = stored.column("reward").reshape(-1, 8)[:, -1]
    assert report.episodes_ended == 40
    assert report.successes == (returns >= 4).sum() != (last > 0).sum()

    config = EvaluateConfig(episodes=40, n_envs=8)
    for episode in evaluate_policy(task, uniform_policy(3), "sampled", config, 0):
        assert episode["success"] == (episode["return"] >= 4)

    envs = EpisodeVector(task, 4, training_seeds(0, "y"))
    generator = torch.Generator().manual_seed(0)
    rollout = FinetuneConfig(steps=320, n_envs=4, rollout_length=80)
    student = Student(SHAPE, 3, width=16, hidden=16)
    buffer = RolloutBuffer(student, envs, rollout.rollout_length)
    _, stats = collect_rollout(student, None, envs, buffer, rollout, generator, torch.zeros(4))
    assert stats.successes == sum(value >= 4 for value in stats.returns) < len(stats.returns)
