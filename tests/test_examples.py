"""The trainers in examples/: each runs as a user runs it, and its loss is what it says."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.wrappers import ReshapeObservation
from torch.nn import functional as F

import llm4teach as lt
from llm4teach.student.policies import uniform_policy

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
TASK, TEACHER = "SimpleDoorKey", "recorded/vicuna-33b"
MOST_LINES = {
    **{"sb3_trainer": 60, "cleanrl_trainer": 120},
    **{"taxi": 50, "crafter": 60, "rules_teacher": 40, "none_teacher": 15},
}


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def sb3() -> ModuleType:
    return example("sb3_trainer")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[lt.TeacherPolicy]:
    policy = lt.TeacherPolicy(str(tmp_path_factory.mktemp("ws")), TASK, TEACHER, ask=True)
    yield policy
    policy.close()


def observations(n: int = 64) -> Any:
    """What the first steps of random play lead to, uint8 (n, *observation_shape)."""
    env, seen = lt.make_env(TASK), []
    env.action_space.seed(0)
    env.reset(seed=0)
    while len(seen) < n:
        observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
        seen.append(observation)
        if terminated or truncated:
            env.reset()
    return np.stack(seen)


def kl_from(teacher: lt.TeacherPolicy, probabilities: Callable[[Any], Any]) -> float:
    """Mean KL(teacher || student) in nats where there is advice; computed by torch, not by us."""
    seen = observations()
    student = torch.from_numpy(probabilities(seen)).log()
    advice = torch.from_numpy(teacher.teacher_probs(seen))
    return float(F.kl_div(student, advice, reduction="batchmean"))


def test_none_is_longer_than_promised() -> None:
    lengths = {path.stem: len(path.read_text().splitlines()) for path in EXAMPLES.glob("*.py")}
    assert all(length <= MOST_LINES[name] for name, length in lengths.items()), lengths


def test_without_the_kl_term_it_is_stable_baselines3s_ppo(
    sb3: ModuleType, teacher: lt.TeacherPolicy
) -> None:
    from stable_baselines3 import PPO
    from stable_baselines3.common import env_util, policies

    maps = (1, *teacher.task.observation_shape)
    small = {**sb3.SETTINGS, "n_steps": 8, "batch_size": 32, "learning_rate": 1e-3, "seed": 3}
    plain = PPO(
        policies.ActorCriticPolicy,
        env_util.make_vec_env(lambda: ReshapeObservation(lt.make_env(TASK), maps), 16),
        policy_kwargs={"features_extractor_class": sb3.Cells},
        device="cpu",
        **small,
    ).learn(256)
    weights = plain.policy.state_dict()
    untaught, taught = (
        sb3.learner(teacher, kl_coef=kl_coef, **small).learn(256).policy.state_dict()
        for kl_coef in (0.0, 1.0)
    )
    assert weights.keys() == untaught.keys()
    assert all(torch.equal(weights[name], untaught[name]) for name in weights)
    assert not all(torch.equal(weights[name], taught[name]) for name in weights)


def test_the_loss_of_stable_baselines3_has_the_kl_term(
    sb3: ModuleType, teacher: lt.TeacherPolicy
) -> None:
    """PPO's -ent_coef * entropy gains kl_coef * KL, with its gradient."""
    policy = sb3.learner(teacher).policy
    seen, kl_coef, ent_coef = observations(), 0.7, sb3.SETTINGS["ent_coef"]
    obs, actions = torch.from_numpy(seen[:, None]), torch.zeros(len(seen), dtype=torch.int64)
    parameters = [*policy.features_extractor.parameters(), *policy.action_net.parameters()]

    def loss_and_gradient(loss: torch.Tensor) -> tuple[float, torch.Tensor]:
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        return loss.item(), torch.cat([g.flatten() for g in gradients if g is not None])

    def entropy_loss(kl_weight: float) -> torch.Tensor:
        policy.kl_weight = kl_weight
        return -ent_coef * policy.evaluate_actions(obs, actions)[2].mean()

    log_probs = policy.get_distribution(obs).distribution.probs.log()
    advice = torch.from_numpy(teacher.teacher_probs(seen))
    kl, kl_gradient = loss_and_gradient(F.kl_div(log_probs, advice, reduction="batchmean"))
    without, gradient_without = loss_and_gradient(entropy_loss(0.0))
    with_it, gradient = loss_and_gradient(entropy_loss(kl_coef / ent_coef))
    assert kl > 0.5
    assert with_it - without == pytest.approx(kl_coef * kl, rel=1e-4)
    torch.testing.assert_close(gradient - gradient_without, kl_coef * kl_gradient)


def test_the_kl_term_decays_to_nothing(
    sb3: ModuleType, teacher: lt.TeacherPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    coefs = []
    train = sb3.PPO.train

    def watched(model: Any) -> None:
        coefs.append(model.policy.kl_weight * model.ent_coef)
        train(model)

    monkeypatch.setattr(sb3.PPO, "train", watched)
    sb3.learner(teacher, n_steps=1, batch_size=16, n_epochs=1).learn(16 * 5)
    assert coefs == pytest.approx([0.75, 0.5, 0.25, 0, 0])


@pytest.mark.slow
def test_stable_baselines3_learns_from_the_teacher_what_it_does_not_alone(
    sb3: ModuleType, teacher: lt.TeacherPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sb3, "KL_OFF", 10)  # so short a training needs the teacher to its end
    taught, alone = (
        sb3.learner(teacher, kl_coef=kl_coef).learn(24_576).policy.probabilities
        for kl_coef in (1.0, 0.0)
    )
    assert kl_from(teacher, taught) < kl_from(teacher, alone) / 2
    _assert_much_better(taught, alone)


@pytest.mark.slow
def test_cleanrls_ppo_learns_from_the_teacher_what_it_does_not_alone(
    teacher: lt.TeacherPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleanrl = example("cleanrl_trainer")
    monkeypatch.setattr(cleanrl, "KL_OFF", 10)
    taught, alone = (
        cleanrl.train(teacher, 24_576, seed=1, kl_coef=kl_coef).probabilities
        for kl_coef in (1.0, 0.0)
    )
    assert kl_from(teacher, taught) < kl_from(teacher, alone) / 2
    _assert_much_better(taught, alone)


def _assert_much_better(taught: Any, alone: Any) -> None:
    much, little = (
        lt.evaluate(TASK, policy, 100, seeds="development")["success_rate"]
        for policy in (taught, alone)
    )
    assert much > 0.6 and little < 0.3, (much, little)


@pytest.mark.extended
@pytest.mark.parametrize("name", ["sb3_trainer", "cleanrl_trainer"])
def test_it_runs_as_a_script(name: str, tmp_path: Path) -> None:
    script, words = EXAMPLES / f"{name}.py", ["--teacher", TEACHER, "--steps", "2048"]
    if name == "sb3_trainer":  # its settings are constants
        source = script.read_text()
        assert "65_536" in source
        script, words = tmp_path / script.name, []
        script.write_text(source.replace("65_536", "2_048"))
    done = subprocess.run(
        [sys.executable, str(script), *words], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    result = ast.literal_eval(done.stdout.splitlines()[-1])
    assert 0 <= result["success_low"] <= result["success_rate"] <= result["success_high"] <= 1
    random = lt.evaluate(TASK, uniform_policy(7), 20)
    assert result.keys() == random.keys()
    assert lt.advice(str(tmp_path / "workspace")).aggregate("count(*)").fetchall()[0][0] > 0
