"""Learning curves of trials: development episodes at fixed env steps, which nothing learns from."""

from __future__ import annotations

import time
from typing import Any

from llm4teach.datasets.metrics import read_metrics
from llm4teach.envs.seeds import episode_seeds
from llm4teach.flows.stages.context import Context
from llm4teach.student.config import EvaluateConfig, ValidationConfig
from llm4teach.student.evaluation.evaluate import evaluate_policy
from llm4teach.student.policies import BehaviorPolicy, Policy

# Stages of the metrics; their step counts the env steps of training, offline ones too. The last
# point is confirmed by a second measurement.
POINT, CONFIRMATION = "validate", "confirm"
LEAST_SPACING = 1_024  # env steps between two points


class LearningCurve:
    """Plays development episodes with what is trained, and logs the success rate with the run.

    Points are fixed by the budget, and so is the number of their episodes: neither depends on how
    well the training goes. Two disjoint sets of episodes take turns, so that a point and the next
    one are independent measurements; after the last point the other set confirms it.

    Args:
        ctx: the run that trains; points that are stored with it are not measured again.
        config: how many points, and episodes at each.
        budget: env steps in all, offline ones included.
    """

    def __init__(self, ctx: Context, config: ValidationConfig, budget: int) -> None:
        self._ctx, self._config = ctx, config
        self._every = max(LEAST_SPACING, budget // config.points)  # env steps
        rows = read_metrics(ctx.run.folder).to_pylist()
        logged = {(row["stage"], row["step"]) for row in rows if row["name"] == "success_rate"}
        self._points = {step for stage, step in logged if stage == POINT}
        self._is_confirmed = any(stage == CONFIRMATION for stage, _ in logged)

    def maybe(self, step: int, policy: Policy | BehaviorPolicy, train_cpu_s: float) -> None:
        """Measure a policy if the next point is due after ``step`` env steps."""
        last = max(self._points, default=-self._every)
        if step // self._every > last // self._every:
            self.measure(step, policy, train_cpu_s)

    def measure(self, step: int, policy: Policy | BehaviorPolicy, train_cpu_s: float) -> None:
        """Measure a policy after ``step`` env steps and so many CPU-seconds of training."""
        if step in self._points:
            return
        values = self._play(policy, len(self._points) % 2)
        self._points.add(step)
        spent = self._ctx.store.table(["prompt_tokens", "completion_tokens"])
        tokens = sum(sum(filter(None, column)) for column in spent.to_pydict().values())
        self._ctx.run.log(POINT, step, {**values, "tokens": tokens, "train_cpu_s": train_cpu_s})

    def finish(self, step: int, policy: Policy | BehaviorPolicy, train_cpu_s: float) -> None:
        """Measure the last point, and confirm it."""
        self.measure(step, policy, train_cpu_s)
        if not self._is_confirmed:
            self._ctx.run.log(CONFIRMATION, step, self._play(policy, len(self._points) % 2))
            self._is_confirmed = True

    def _play(self, policy: Policy | BehaviorPolicy, half: int) -> dict[str, float]:
        began, n = time.process_time(), self._config.episodes
        seeds = episode_seeds("development", n, start=half * n)
        config = EvaluateConfig(episodes=n, n_envs=self._ctx.settings.evaluate.n_envs)
        task, seed = self._ctx.task, self._ctx.seed
        played: list[dict[str, Any]] = evaluate_policy(
            task, policy, "sampled", config, seed, seeds=seeds
        )
        steps = sum(e["length"] for e in played)
        return {
            "success_rate": sum(e["success"] for e in played) / n,
            "episodes": n,
            "episode_length": steps / n,
            "episode_return": sum(e["return"] for e in played) / n,
            "env_steps": steps,
            "cpu_s": time.process_time() - began,
        }
