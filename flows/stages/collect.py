"""The stage that plays a task and stores every step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import numpy as np

from llm4teach.datasets.storage.parquet import part_paths
from llm4teach.datasets.storage.paths import StoragePath
from llm4teach.datasets.trajectories import read_steps
from llm4teach.envs.seeds import training_seeds
from llm4teach.errors import ConfigError
from llm4teach.flows.runtime.progress import stage
from llm4teach.flows.stages.context import Context
from llm4teach.student.collection.behavior import BehaviorPolicy, OptionBehavior, PolicyBehavior
from llm4teach.student.collection.collect import Collector, CollectReport
from llm4teach.student.config import CollectConfig
from llm4teach.student.model.network import Student
from llm4teach.student.policies import student_policy


def collect(
    ctx: Context,
    config: CollectConfig,
    student: Student | None,
    steps: int,
    reweighted_by: str | None = None,
) -> None:
    """Bring the run's trajectories up to ``steps`` env steps.

    The first steps follow admissible plans; once there is a student, it and the advice, reweighted
    by the returns of the run ``reweighted_by``, take turns. What the run has already stored counts,
    so that a collection resumes.
    """
    folder = ctx.workspace.trajectories(ctx.task.name, ctx.run.run_id)
    stored = read_steps(folder, ctx.task.observation_shape) if part_paths(folder) else None
    have = len(stored) if stored else 0
    first = int(stored.column("episode_id").max()) + 1 if stored else 0
    if not stored:
        check_steps(config, steps)
    with stage("collect", max(0, steps - have), "env steps") as shown:
        report = collect_into(
            ctx,
            config,
            student,
            max(0, steps - have),
            reweighted_by=reweighted_by,
            folder=folder,
            seeds=training_seeds(ctx.seed, "collect", start=first),
            entropy=(ctx.seed, have),
            first_episode=first,
            on_steps=shown.advance,
        )
        shown.summary = collected(report, student)
    note_collected(ctx, report, have)


def check_steps(config: CollectConfig, steps: int, shards: int = 1) -> None:
    """Refuse a number of env steps that would store nothing.

    Raises:
        ConfigError: no shard has a step for each of its environments.
    """
    if -(-steps // shards) < config.n_envs:
        rounds = config.rounds if steps < config.steps else 1
        least = config.n_envs * shards * rounds
        parts = [f"{n} {name}" for n, name in ((rounds, "rounds"), (shards, "shards")) if n > 1]
        among = f", in each of {' and '.join(parts)}" if parts else ""
        raise ConfigError(
            f"--collect.steps {config.steps} is too few: nothing is stored before each of "
            f"--collect.n-envs {config.n_envs} environments has made a step{among}; give at "
            f"least {least}, or lower the others"
        )


def collect_into(
    ctx: Context,
    config: CollectConfig,
    student: Student | None,
    steps: int,
    *,
    reweighted_by: str | None,
    folder: StoragePath,
    seeds: Iterator[int],
    entropy: tuple[int, ...],
    first_episode: int,
    on_steps: Callable[[int], None],
) -> CollectReport:
    """Collect so many more steps into a folder, with these seeds and random draws."""
    collector = Collector(
        ctx.task,
        folder,
        ctx.run.run_id,
        n_envs=config.n_envs,
        action_epsilon=config.action_epsilon,
        seeds=seeds,
        rng=np.random.default_rng(entropy),
        first_episode=first_episode,
        workers=config.workers,
    )
    advice = ctx.live_teacher(False, reweighted_by or ctx.run.run_id).mixtures
    plan_epsilon = 1.0 if student is None else config.plan_epsilon
    options = OptionBehavior(ctx.task, advice, plan_epsilon, np.random.default_rng((*entropy, 1)))
    behaviors: list[tuple[BehaviorPolicy, float]] = [(options, 1.0)]
    if student is not None:
        pupil = PolicyBehavior("student", student_policy(student))
        behaviors = [(options, config.teacher_fraction), (pupil, 1 - config.teacher_fraction)]
    with closing(collector):
        return collector.collect(steps, behaviors, on_steps)


def collected(report: CollectReport, student: Student | None) -> str:
    """One line for people."""
    led = "options" if student is None else "advice and student"
    ended = report.episodes_ended
    solved = f"{report.successes} of {ended} ended episodes solved" if ended else "no episode ended"
    return f"{report.steps:,} env steps led by {led}, {solved}"


def note_collected(ctx: Context, report: CollectReport, before: int) -> None:
    """Add to the run's metrics and results; ``before`` env steps were stored already."""
    rate = report.successes / max(1, report.episodes_ended)
    ctx.run.log(
        "collect", before + report.steps, {"success_rate": rate, "episodes": report.episodes_ended}
    )
    ctx.run.note(collect_steps=before + report.steps)
