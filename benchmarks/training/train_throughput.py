"""Fine-tuning steps per CPU-second, beside Stable-Baselines3's PPO, and where the time goes.

    python benchmarks/training/train_throughput.py
    python benchmarks/training/train_throughput.py --task DivergedDoorKey --n-envs 16 128 --rounds 5
    python benchmarks/training/train_throughput.py --split --variants

Every learner has the same task, through the same gymnasium environment or its vector form, and the
same hyperparameters: 4 epochs of 8 minibatches, 64 steps per environment, one thread. They take
turns, round by round, so that a busy machine slows all alike. Stable-Baselines3 runs with each of
this project's networks and with its own default (the extra `trainers`; without it, its rows are
left out).

--split says what share of the time each part of fine-tuning takes, with a teacher whose states are
all known. --variants times one gradient step of the network as it is and in other ways to run it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import nn

PARTS = ("environment", "grounding", "forward", "update")
LENGTH, EPOCHS, MINIBATCHES = 64, 4, 8
Learner = Callable[[int], float]  # trains for some updates, returns steps per CPU-second


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", nargs="+", default=["SimpleDoorKey"])
    parser.add_argument("--teacher", default="recorded/vicuna-33b")
    parser.add_argument("--n-envs", type=int, nargs="+", default=[32])
    parser.add_argument("--updates", type=int, default=6, help="of each learner in each round")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each learner")
    parser.add_argument("--split", action="store_true", help="the parts of fine-tuning instead")
    parser.add_argument("--variants", action="store_true", help="ways to run the network instead")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if not (arguments.split or arguments.variants):
        for task in arguments.task:
            for n_envs in arguments.n_envs:
                _compare(task, arguments.teacher, n_envs, arguments.updates, arguments.rounds)
    if arguments.split:
        header = ["task", "environments", "steps per CPU-second", *PARTS, "rest"]
        print("| " + " | ".join(header) + " |\n|" + " --- |" * len(header))
        for task in arguments.task:
            for n_envs in arguments.n_envs:
                print(_split(task, arguments.teacher, n_envs, 2 * arguments.updates), flush=True)
    if arguments.variants:
        print("\n| network, 256 observations | forward, ms | gradient step, ms |\n|" + " --- |" * 3)
        for encoder in ("cells", "convolutions"):
            for way in ("float32", "bfloat16", "torch.compile"):
                print(_variant(arguments.task[0], encoder, way), flush=True)


def _compare(task: str, teacher: str, n_envs: int, updates: int, rounds: int) -> None:
    """Let all learners take turns; print the speed of each, and ours as a multiple of it."""
    learners: dict[str, Learner] = {
        "ours, cells": _ours(task, "cells", n_envs),
        "ours, cells, with the KL term to a teacher": _ours(task, "cells", n_envs, teacher),
        "ours, convolutions": _ours(task, "convolutions", n_envs),
    }
    try:
        import stable_baselines3  # noqa: F401
    except ImportError:
        print("Stable-Baselines3 is left out: pip install 'llm4teach[trainers]'", file=sys.stderr)
    else:
        for encoder in ("cells", "convolutions"):
            learners[f"Stable-Baselines3, {encoder}"] = _theirs(task, encoder, n_envs)
        learners["Stable-Baselines3, its own MlpPolicy"] = _theirs(task, None, n_envs)
    speeds: dict[str, list[float]] = {name: [] for name in learners}
    for learn in learners.values():
        learn(1)  # compiles, and fills caches
    for _ in range(rounds):
        for name, learn in learners.items():
            speeds[name].append(learn(updates))
    first = speeds["ours, cells"]
    print(f"\n{task}, {n_envs} environments, steps per CPU-second of one core\n")
    print("| learner | median [least, most] | ours, cells: times as many [least, most] |")
    print("| --- | ---: | ---: |")
    for name, values in speeds.items():
        ratios = [a / b for a, b in zip(first, values, strict=True)]
        times = f"{median(ratios):.1f} [{min(ratios):.1f}, {max(ratios):.1f}]"
        level = f"{median(values):,.0f} [{min(values):,.0f}, {max(values):,.0f}]"
        print(f"| {name} | {level} | {times} |", flush=True)


def _config(n_envs: int, updates: int, kl_coef: float) -> Any:
    from llm4teach.student.config import FinetuneConfig

    return FinetuneConfig(
        # All updates are within the share of the steps in which the teacher is asked.
        steps=updates * n_envs * LENGTH,
        n_envs=n_envs,
        rollout_length=LENGTH,
        epochs=EPOCHS,
        minibatches=MINIBATCHES,
        kl_coef=kl_coef,
        kl_off=1.0,
    )


def _ours(task_name: str, encoder: Any, n_envs: int, teacher: str | None = None) -> Learner:
    from llm4teach.envs.registry import get_task
    from llm4teach.student.model.network import Student
    from llm4teach.student.training.finetune import Finetuner

    task = get_task(task_name)
    student = Student(task.observation_shape, len(task.action_names), encoder)

    def learn(updates: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            live = _live(task, teacher, Path(folder)) if teacher else None
            config = _config(n_envs, updates, 1.0 if teacher else 0.0)
            tuner = Finetuner(task, student, live, config, seed=0)
            began = time.process_time()
            tuner.run(lambda step, values: None)
            return updates * n_envs * LENGTH / (time.process_time() - began)

    return learn


def _live(task: Any, teacher: str, folder: Path) -> Any:
    from llm4teach.datasets.advice_store import AdviceStore
    from llm4teach.teacher_labeling.config import TeacherConfig
    from llm4teach.teacher_labeling.factory import make_teacher
    from llm4teach.teacher_labeling.live import LiveTeacher

    backend = make_teacher(TeacherConfig(teacher=teacher), task.family)
    store = AdviceStore(folder, backend.info.teacher_id, backend.info.prompt_version)
    return LiveTeacher(task, store, backend)


def _theirs(task_name: str, encoder: Any, n_envs: int) -> Learner:
    """Return Stable-Baselines3's PPO with one of our networks, or its own for vectors."""
    from gymnasium.wrappers import FlattenObservation
    from stable_baselines3 import PPO
    from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
    from stable_baselines3.common.vec_env import DummyVecEnv

    from llm4teach.envs.registry import get_task
    from llm4teach.student.model.network import Student

    task = get_task(task_name)

    class Features(BaseFeaturesExtractor):
        """The student's encoder and trunk."""

        def __init__(self, space: Any) -> None:
            super().__init__(space, 64)
            self.student = Student(task.observation_shape, len(task.action_names), encoder)
            self.student.policy = self.student.value = nn.Identity()  # the heads are theirs

        def forward(self, observations: torch.Tensor) -> torch.Tensor:
            maps = observations.to(torch.uint8).unflatten(1, task.observation_shape)
            inputs = self.student.encode(maps)
            return nn.functional.relu(self.student.trunk(self.student.encoder(inputs)))

    policy: dict[str, Any] = {"optimizer_kwargs": {"eps": 1e-5}}
    if encoder is not None:
        policy |= {
            "features_extractor_class": Features,
            "net_arch": [],
            "normalize_images": False,
        }

    def flat_env() -> Any:  # it would turn round what it takes for an image
        return FlattenObservation(task.make_env())

    envs = DummyVecEnv([flat_env for _ in range(n_envs)])
    batch = n_envs * LENGTH
    settings = _config(n_envs, 1, 0.0)
    model = PPO(
        "MlpPolicy",
        envs,
        learning_rate=settings.learning_rate,
        n_steps=LENGTH,
        batch_size=batch // MINIBATCHES,
        n_epochs=EPOCHS,
        gamma=settings.gamma,
        gae_lambda=settings.gae_lambda,
        clip_range=settings.clip,
        ent_coef=settings.entropy_coef,
        vf_coef=settings.value_coef,
        max_grad_norm=settings.max_grad_norm,
        policy_kwargs=policy,
        device="cpu",
        seed=0,
    )

    def learn(updates: int) -> float:
        began = time.process_time()
        model.learn(updates * batch, reset_num_timesteps=False)
        return updates * batch / (time.process_time() - began)

    return learn


def _split(task_name: str, teacher: str, n_envs: int, updates: int) -> str:
    """Fine-tune for some updates and say what share each part took."""
    from llm4teach.envs.registry import get_task
    from llm4teach.student.model.network import Student
    from llm4teach.student.training.finetune import Finetuner
    from llm4teach.student.training.update import PPOUpdater

    task = get_task(task_name)
    spent: dict[str, float] = defaultdict(float)

    def timed(part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            began = time.process_time()
            result = call(*args, **kwargs)
            spent[part] += time.process_time() - began
            return result

        return run

    with tempfile.TemporaryDirectory() as folder:
        live = _live(task, teacher, Path(folder))
        student = Student(task.observation_shape, len(task.action_names))
        tuner = Finetuner(task, student, live, _config(n_envs, updates + 2, 1.0), seed=0)
        patched: Any = tuner
        updater: Any = PPOUpdater
        plain_update = PPOUpdater.update
        updater.update = timed("update", plain_update)
        patched.envs.step = timed("environment", tuner.envs.step)
        patched.teacher = type("Timed", (), {})()
        patched.teacher.teacher_probs = timed("grounding", live.teacher_probs)
        forward, timed_forward = student.from_inputs, timed("forward", student.from_inputs)
        patched.student.from_inputs = lambda inputs: (
            forward(inputs) if torch.is_grad_enabled() else timed_forward(inputs)
        )
        began = 0.0

        def log(step: int, values: Any) -> None:
            nonlocal began
            if tuner.update == 2:
                spent.clear()
                began = time.process_time()

        tuner.run(log)
        total = time.process_time() - began
        updater.update = plain_update
    shares = [spent[part] / total for part in PARTS]
    cells = [task_name, str(n_envs), f"{updates * n_envs * LENGTH / total:,.0f}"]
    cells += [f"{share:.1%}" for share in (*shares, 1 - sum(shares))]
    return "| " + " | ".join(cells) + " |"


def _variant(task_name: str, encoder: Any, way: str) -> str:
    """Time the network run in one way, the fastest of some repetitions."""
    from llm4teach.envs.registry import get_task
    from llm4teach.student.model.network import Student

    task = get_task(task_name)
    student = Student(task.observation_shape, len(task.action_names), encoder)
    env = task.make_vector_env(256)
    seen, _ = env.reset(seed=list(range(256)), options={"reset_mask": np.ones(256, bool)})
    inputs = student.encode(torch.from_numpy(seen))
    run = torch.compile(student.from_inputs) if way == "torch.compile" else student.from_inputs

    def forward() -> Any:
        with torch.autocast("cpu", torch.bfloat16, enabled=way == "bfloat16"):
            return run(inputs)

    def gradient_step() -> None:
        output = forward()
        (output.logits.logsumexp(1).mean() + output.values.mean()).backward()

    def no_gradient() -> None:
        with torch.no_grad():
            forward()

    try:
        times = [_fastest(call) for call in (no_gradient, gradient_step)]
    except Exception as error:  # torch.compile needs a C++ compiler
        print(f"{encoder}, {way}: {str(error).splitlines()[0]}", file=sys.stderr)
        return f"| {encoder}, {way} | – | – |"
    return f"| {encoder}, {way} | " + " | ".join(f"{1e3 * t:.2f}" for t in times) + " |"


def _fastest(call: Callable[[], None], repetitions: int = 20) -> float:
    call()
    call()
    times = []
    for _ in range(repetitions):
        began = time.process_time()
        call()
        times.append(time.process_time() - began)
    return min(times)


if __name__ == "__main__":
    main()
