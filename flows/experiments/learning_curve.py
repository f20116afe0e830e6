"""Learning curves: how a student does on the way, on episodes that nothing learns from."""

from __future__ import annotations

import time

from llm4teach.datasets import schema
from llm4teach.datasets.runs import METRICS
from llm4teach.datasets.storage.parquet import read_parquet
from llm4teach.envs.seeds import validation_seeds
from llm4teach.flows.stages.context import Context
from llm4teach.student.config import EvaluateConfig, ValidationConfig
from llm4teach.student.evaluation.evaluate import evaluate_policy
from llm4teach.student.model.network import Student
from llm4teach.student.policies import student_policy

STAGE = "validate"  # of the metrics; their step counts the env steps of training, offline ones too
LEAST_EPISODES = 16
LEAST_SPACING = 1_024  # env steps between two points


class LearningCurve:
    """Measures a student now and then, and logs it with the run; points already there stay.

    Watching must stay cheap beside learning, and the episodes of a poor student are long. So a
    point has only as many episodes as take, at the length they had a point before, the env steps
    trained in between, or `LEAST_EPISODES`; and points keep `LEAST_SPACING`. The number does not
    depend on the point's own outcome, which would bias it.

    Args:
        ctx: the run that trains.
        config: how many points, and episodes at each.
        budget: env steps in all, offline ones included.
    """

    def __init__(self, ctx: Context, config: ValidationConfig, budget: int) -> None:
        self._ctx, self._config = ctx, config
        self._every = max(LEAST_SPACING, budget // config.points)  # env steps
        self._lengths: dict[int, float] = {}  # mean episode length by step
        path = ctx.run.folder / METRICS
        for row in read_parquet(path, schema.METRICS).to_pylist() if path.exists() else []:
            if (row["stage"], row["name"]) == (STAGE, "episode_length"):
                self._lengths[row["step"]] = row["value"]

    def maybe(self, step: int, student: Student) -> None:
        """Measure the student if the next point is due after ``step`` env steps."""
        last = max(self._lengths, default=-self._every)
        if step // self._every > last // self._every:
            self.measure(step, student)

    def measure(self, step: int, student: Student) -> None:
        """Measure the student after ``step`` env steps of training."""
        if step in self._lengths:
            return
        began = time.process_time()
        seeds = validation_seeds(self._episodes(step))
        config = EvaluateConfig(episodes=len(seeds), n_envs=len(seeds))
        policy, seed = student_policy(student), self._ctx.seed
        played = evaluate_policy(
            self._ctx.task, policy, "sampled", config, seed, lambda ended: None, seeds
        )
        length = sum(e["length"] for e in played) / len(played)
        self._lengths[step] = length
        seconds = time.process_time() - began
        spent = self._ctx.store.table(["prompt_tokens", "completion_tokens"])
        tokens = sum(sum(filter(None, column)) for column in spent.to_pydict().values())
        self._ctx.run.log(
            STAGE,
            step,
            {
                "success_rate": sum(e["success"] for e in played) / len(played),
                "episodes": len(played),
                "episode_length": length,
                "tokens": tokens,
                "cpu_s": seconds,
            },
        )

    def _episodes(self, step: int) -> int:
        if not self._lengths:
            return min(LEAST_EPISODES, self._config.episodes)
        last = max(self._lengths)
        fit = int((step - last) / self._lengths[last])
        return min(max(LEAST_EPISODES, fit), self._config.episodes)
