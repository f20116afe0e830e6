"""The stage that plays a task and stores every step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from llm4teach.datasets.storage.parquet import part_paths
from llm4teach.datasets.storage.paths import StoragePath
from llm4teach.datasets.trajectories import Trajectories, collection_state, read_steps
from llm4teach.envs.seeds import training_seeds
from llm4teach.errors import ConfigError
from llm4teach.flows.runtime.progress import stage
from llm4teach.flows.stages.context import Context
from llm4teach.flows.stages.label import spent
from llm4teach.student.collection.behavior import OptionBehavior, PolicyBehavior
from llm4teach.student.collection.collect import Collector, CollectReport
from llm4teach.student.config import CollectConfig
from llm4teach.student.model.network import Student
from llm4teach.student.policies import BehaviorPolicy, StudentPolicy


def collect(
    ctx: Context,
    config: CollectConfig,
    student: Student | None,
    steps: int,
    reweighted_by: str | None = None,
) -> None:
    """Bring the run's trajectories up to ``steps`` env steps.

    The first steps follow admissible plans, or advised ones where the teacher is asked meanwhile;
    once there is a student, it and the advice, reweighted by the returns of the run
    ``reweighted_by``, take turns. What the run has already stored counts:
    a collection that was killed continues its episodes, and stores what it would have stored.
    """
    folder = ctx.workspace.trajectories(ctx.task.name, ctx.run.run_id)
    progress = stored_progress(ctx, folder)
    have = len(progress.steps) if progress else 0
    left = max(0, steps - have)
    if not progress:
        check_steps(config, steps)
    with stage("collect", left, "env steps") as shown:
        if progress and left < config.n_envs:
            report = progress.report  # of a collection that was killed after its last step
        else:
            report = collect_into(
                ctx,
                config,
                student,
                left,
                reweighted_by=reweighted_by,
                folder=folder,
                seeds=lambda episode: training_seeds(ctx.seed, "collect", start=episode),
                entropy=(ctx.seed, have),
                after=progress,
                on_steps=shown.advance,
                ask=ctx.task.many_plans if config.ask is None else config.ask,
            )
        shown.summary = collected(report, student)
    continued = progress and (progress.is_unfinished or left < config.n_envs)
    before = have - progress.report.steps if progress and continued else have
    note_collected(ctx, report, before)


@dataclass(frozen=True)
class Progress:
    """What a folder of trajectories holds already, and the state of its collection."""

    steps: Trajectories
    state: dict[str, Any] | None  # that the last part carries; None in parts of earlier versions

    @property
    def report(self) -> CollectReport:
        """What the collection that stored the last part had done."""
        return CollectReport(**self.state["report"]) if self.state else CollectReport()

    @property
    def is_unfinished(self) -> bool:
        """Whether that collection was killed between two parts, and can be continued."""
        return self.state is not None and "rng" in self.state


def stored_progress(ctx: Context, folder: StoragePath) -> Progress | None:
    """Return what is stored below a folder, None if there are no parts.

    Raises:
        DatasetError: a part is damaged.
    """
    if not part_paths(folder):
        return None
    steps = read_steps(folder, ctx.task.observation_shape)
    return Progress(steps, collection_state(folder, len(steps)))


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
    seeds: Callable[[int], Iterator[int]],
    entropy: tuple[int, ...],
    on_steps: Callable[[int], None],
    after: Progress | None = None,
    first_episode: int = 0,
    ask: bool = False,
) -> CollectReport:
    """Collect so many more steps into a folder.

    Args:
        ctx: the run.
        config: how to collect.
        student: plays a share of the episodes; without one, admissible plans are followed.
        steps: how many more, at most.
        reweighted_by: run whose returns reweight the advice.
        folder: where the parts go.
        seeds: returns the seeds of the episodes from an episode's id on.
        entropy: of a new collection's random draws; one that is continued has its own.
        on_steps: called with the number of env steps after each batch of them.
        after: what the folder holds already.
        first_episode: id of the first episode in an empty folder.
        ask: ask the teacher about states without advice, and follow its plans from the first step.

    Raises:
        TeacherError: a state had to be asked about and the teacher cannot answer.
    """
    first = int(after.steps.column("episode_id").max()) + 1 if after else first_episode
    collector = Collector(
        ctx.task,
        folder,
        ctx.run.run_id,
        n_envs=config.n_envs,
        action_epsilon=config.action_epsilon,
        seeds=seeds(first),
        rng=np.random.default_rng(entropy),
        first_episode=first,
        stored=len(after.steps) if after else 0,
        workers=config.workers,
    )
    teacher = ctx.live_teacher(ask, reweighted_by or ctx.run.run_id)
    plan_epsilon = 1.0 if student is None and not ask else config.plan_epsilon
    plan_rng = np.random.default_rng((*entropy, 1))
    options = OptionBehavior(ctx.task, teacher.mixtures, plan_epsilon, plan_rng)
    behaviors: list[tuple[BehaviorPolicy, float]] = [(options, 1.0)]
    if student is not None:
        pupil = PolicyBehavior("student", StudentPolicy(student))
        behaviors = [(options, config.teacher_fraction), (pupil, 1 - config.teacher_fraction)]
    with closing(collector), closing(teacher):
        if after and after.state and after.is_unfinished:
            policies = [policy for policy, _ in behaviors]
            next_seeds = seeds(after.state["next_episode"])
            collector.restore(after.state, after.steps, next_seeds, policies)
        try:
            return collector.collect(steps, behaviors, on_steps)
        finally:
            if ask:
                ctx.run.count(**spent(teacher.questions))


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
