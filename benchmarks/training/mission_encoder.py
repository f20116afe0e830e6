"""What the student's matching of words to things is worth, and what it costs.

    python benchmarks/training/mission_encoder.py
    python benchmarks/training/mission_encoder.py --task MiniGrid-Fetch-8x8-N3-v0 --seeds 3
    python benchmarks/training/mission_encoder.py --speed

Raw MiniGrid tasks, advice of the teacher `expert` (rules, no LLM), and steps as in collection: a
plan is drawn when the state changes, 3 of 10 at random; 1 of 10 actions is random. Each encoder is
distilled from the same steps by the same number of gradient steps. "Agreement" is the share of
held-out steps whose likeliest action is an advised one, "divergence" is KL(advice || student) in
nats, success that of sampled actions in episodes of development seeds.

--speed times a gradient step and a forward pass of the encoders beside each other.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import torch

from llm4teach.analysis.statistics import wilson_interval
from llm4teach.envs.plan import Plan
from llm4teach.envs.registry import get_task
from llm4teach.envs.seeds import training_seeds
from llm4teach.envs.task import Task
from llm4teach.student.config import EvaluateConfig, PretrainConfig
from llm4teach.student.evaluation.evaluate import evaluate_policy
from llm4teach.student.model.network import Student
from llm4teach.student.policies import Policy, StudentPolicy
from llm4teach.student.training.distill import Steps, distill
from llm4teach.teacher_labeling.backends.mission_reader import choose

ENCODERS = ("mission", "no matches", "no mission")
MAP = 4  # channels of a map without the mission


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    tasks = ["BabyAI-PutNextLocal-v0", "MiniGrid-GoToDoor-8x8-v0", "MiniGrid-Fetch-8x8-N3-v0"]
    parser.add_argument("--task", nargs="+", default=tasks)
    parser.add_argument("--encoders", nargs="+", default=list(ENCODERS), choices=ENCODERS)
    parser.add_argument("--steps", type=int, nargs="+", default=[6_000, 12_000])
    parser.add_argument("--held-out", type=int, default=4_000, help="steps to measure on")
    parser.add_argument("--seeds", type=int, default=1, help="of weights and of the order")
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--learning-rate", type=float, default=PretrainConfig().learning_rate)
    parser.add_argument("--epochs", type=int, default=PretrainConfig().epochs)
    parser.add_argument("--speed", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.speed:
        _print_speed(get_task(arguments.task[0]))
        return
    print("| task | steps | encoder | seed | agreement | divergence | success [95%] | mean steps |")
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    for name in arguments.task:
        _compare(get_task(name), arguments)


def _compare(task: Task, arguments: argparse.Namespace) -> None:
    held_out = _collect(task, arguments.held_out, seed=1_000)
    collected = _collect(task, max(arguments.steps), seed=0)
    config = PretrainConfig(learning_rate=arguments.learning_rate, epochs=arguments.epochs)
    for n in arguments.steps:
        for encoder in arguments.encoders:
            for seed in range(arguments.seeds):
                student, view = _new_student(task, encoder, seed)
                distill(student, _first(collected, n, view), config, seed)
                policy = _viewed(StudentPolicy(student), view)
                agreement, divergence = _measure(policy, held_out)
                result = _success(task, policy, arguments.episodes)
                cells = [task.name, f"{n:,}", encoder, str(seed), f"{agreement:.1%}"]
                print(f"| {' | '.join([*cells, f'{divergence:.3f}', *result])} |", flush=True)


View = Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]  # what a student sees of a record


def _viewed(policy: Policy, view: View) -> Policy:
    return lambda records: policy(view(records))


def _new_student(task: Task, encoder: str, seed: int) -> tuple[Student, View]:
    torch.manual_seed(seed)
    width, height, _ = task.observation_shape
    if encoder == "no mission":
        student = Student((width, height, MAP), len(task.action_names), "cells")
        return student, lambda records: np.ascontiguousarray(records[..., :MAP])
    student = Student(task.observation_shape, len(task.action_names), reads="mission")
    if encoder == "no matches":  # the words are read, but none of them names anything
        student.encoder.reader.lexicon.zero_()  # type: ignore[operator, union-attr]
    return student, lambda records: records


def _collect(task: Task, steps: int, seed: int) -> Steps:
    """Steps of whole episodes, cut off at the number asked for, with the advice on each."""
    env, rng = task.make_env(), np.random.default_rng(seed)
    seeds = training_seeds(seed, "mission_encoder")
    seen, advice, ends = [], [], []
    while len(seen) < steps:
        observation, _ = env.reset(seed=next(seeds))
        over, last, plan = False, -1, None
        while not over:
            state_id = int(task.identify(observation[None])[0])
            state = task.state(state_id)
            read = choose(state) or state.options[0]
            if state_id != last:
                any_plan = state.options[rng.integers(len(state.options))]
                plan = any_plan if rng.random() < 0.3 else read
            last = state_id
            probs = _ground(task, observation, read)
            behavior = probs if plan is None else _ground(task, observation, plan)
            seen.append(observation)
            advice.append(probs)
            if not behavior.any() or rng.random() < 0.1:
                behavior = np.ones_like(behavior)
            action = int(rng.choice(len(behavior), p=behavior / behavior.sum()))
            observation, _, terminated, truncated, _ = env.step(action)
            over = terminated or truncated
            ends.append(over)
    ends[steps - 1] = True
    nothing = np.zeros(steps, np.float32)
    rows = np.stack(seen[:steps]), np.stack(advice[:steps]), np.array(ends[:steps])
    return Steps(rows[0], rows[1], nothing, rows[2], rows[2])


def _ground(task: Task, observation: np.ndarray[Any, Any], plan: Plan) -> np.ndarray[Any, Any]:
    return task.ground(observation[None], [[(plan, 1.0)]], np.zeros(1, np.int64))[0]


def _first(steps: Steps, n: int, view: View) -> Steps:
    ends = steps.segment_ends[:n].copy()
    ends[-1] = True
    return Steps(
        view(steps.observations[:n]), steps.teacher_probs[:n], steps.rewards[:n], ends, ends
    )


def _measure(policy: Policy, steps: Steps) -> tuple[float, float]:
    """Share of steps on which they agree, and the mean divergence from the advice."""
    parts = np.array_split(steps.observations, -(-len(steps.rewards) // 1_000))
    probs = np.concatenate([policy(part) for part in parts])
    advised = steps.teacher_probs.sum(1) > 0
    probs, advice = probs[advised], steps.teacher_probs[advised]
    agrees = np.take_along_axis(advice, probs.argmax(1)[:, None], 1) > 0
    ratio = np.where(advice > 0, advice / probs.clip(1e-12), 1)
    return float(agrees.mean()), float((advice * np.log(ratio)).sum(1).mean())


def _success(task: Task, policy: Policy, episodes: int) -> list[str]:
    config = EvaluateConfig(episodes=episodes, seeds="development")
    played = evaluate_policy(task, policy, "sampled", config, seed=0)
    n = sum(one["success"] for one in played)
    low, high = wilson_interval(n, episodes)
    length = np.mean([one["length"] for one in played])
    return [f"{n / episodes:.1%} [{100 * low:.0f}, {100 * high:.0f}]", f"{length:.0f}"]


def _print_speed(task: Task) -> None:
    """Time the encoders in turns, so that a busy machine slows all alike."""
    steps = _collect(task, 1_024, seed=0)
    order = np.random.default_rng(0).permutation(len(steps.rewards))
    print("| batch | pass | cells, ms | mission, ms | ratio |\n| ---: | --- | ---: | ---: | ---: |")
    for batch in (32, 128, 256):
        ways: dict[str, list[Callable[[], None]]] = {}
        for encoder in ("no mission", "mission"):
            student, view = _new_student(task, encoder, 0)
            inputs = student.encode(torch.from_numpy(view(steps.observations[order[:batch]])))
            for name, way in _ways(student, inputs).items():
                ways.setdefault(name, []).append(way)
        for name, both in ways.items():
            times = np.array([[_time(way) for way in both] for _ in range(40)][5:])
            cells, mission = 1e3 * np.median(times, 0)
            ratio = median(times[:, 1] / times[:, 0])
            print(f"| {batch} | {name} | {cells:.2f} | {mission:.2f} | {ratio:.2f} |", flush=True)


def _ways(student: Student, inputs: torch.Tensor) -> dict[str, Callable[[], None]]:
    optimizer = torch.optim.AdamW(student.parameters(), fused=True)

    def gradient_step() -> None:
        output = student.from_inputs(inputs)
        optimizer.zero_grad(set_to_none=True)
        (output.logits.logsumexp(1).mean() + output.values.mean()).backward()
        optimizer.step()

    def rollout_step() -> None:
        with torch.no_grad():
            student.from_inputs(inputs)

    return {"gradient step": gradient_step, "forward": rollout_step}


def _time(call: Callable[[], None]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


if __name__ == "__main__":
    main()
