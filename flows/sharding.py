"""Shards of collection and labeling: each is done by one worker, and resumed by another."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pyarrow as pa
from prefect import flow, task
from prefect.futures import as_completed

from llm4teach.datasets.storage.parquet import remove_folder
from llm4teach.datasets.trajectories import Trajectories
from llm4teach.envs.seeds import training_seeds
from llm4teach.envs.task import Task
from llm4teach.errors import ConfigError
from llm4teach.flows.runtime.progress import silenced, stage
from llm4teach.flows.runtime.retries import is_worth_a_retry
from llm4teach.flows.runtime.settings import ScaleConfig, Settings
from llm4teach.flows.stages.checkpoints import stored_student
from llm4teach.flows.stages.collect import check_steps, collect_into, stored_progress
from llm4teach.flows.stages.context import opened
from llm4teach.flows.stages.label import label
from llm4teach.flows.stages.pretrain import trajectories
from llm4teach.student.collection.collect import CollectReport
from llm4teach.teacher_labeling.config import LabelConfig

EPISODES = 10_000_000  # ids per shard


def task_runner(scale: ScaleConfig) -> Any:
    """Return the runner that the shards are given to.

    Raises:
        ConfigError: its package is not installed, or an address is given to one that has none.
    """
    if scale.address and scale.runner not in ("dask", "ray"):
        raise ConfigError(f"--scale.address is for dask and ray; the runner is {scale.runner}")
    if scale.runner == "threads":
        from prefect.task_runners import ThreadPoolTaskRunner

        return ThreadPoolTaskRunner(max_workers=scale.workers)
    if scale.runner == "processes":
        from prefect.task_runners import ProcessPoolTaskRunner

        return ProcessPoolTaskRunner(max_workers=scale.workers)
    try:
        if scale.runner == "dask":
            from prefect_dask import DaskTaskRunner

            local = {"n_workers": scale.workers, "threads_per_worker": 1}
            if scale.address:
                return DaskTaskRunner(address=scale.address)
            return DaskTaskRunner(cluster_kwargs=local)
        from prefect_ray import RayTaskRunner

        if scale.address:
            return RayTaskRunner(address=scale.address)
        return RayTaskRunner(init_kwargs={"num_cpus": scale.workers, "include_dashboard": False})
    except ImportError:
        hint = f"pip install 'llm4teach[{scale.runner}]'"
        raise ConfigError(f"--scale.runner {scale.runner} needs its extra: {hint}") from None


def share_of(amount: int, shard: int, shards: int) -> int:
    """How much of an amount falls to a shard; all of them add up to it."""
    return amount * (shard + 1) // shards - amount * shard // shards


@task(retries=2, retry_delay_seconds=1, retry_condition_fn=is_worth_a_retry)
def collect_shard(
    settings: Settings, run_id: str, from_run: str | None, shard: int
) -> CollectReport:
    """Collect a shard's share of the env steps with its own seeds, after those it has already.

    Args:
        settings: of the collection; its shards are ``settings.scale.shards``.
        run_id: the run that the shards join.
        from_run: run whose student plays a share of the episodes.
        shard: from 0.
    """
    config, shards = settings.collect, settings.scale.shards
    with silenced(), opened("collect", settings, join=run_id) as ctx:
        runs = ctx.workspace.trajectories(ctx.task.name, ctx.run.run_id)
        folder = runs / f"shard-{shard:04d}-of-{shards:04d}-{config.steps}"
        steps = share_of(config.steps, shard, shards) // config.n_envs * config.n_envs
        before = stored_progress(ctx, folder)
        if before and len(before.steps) == steps:
            return _report(ctx.task, before.steps)
        if before and not before.is_unfinished:
            remove_folder(folder)  # of a worker that was lost, and of an earlier version
            before = None
        own, stream = shard * EPISODES, f"collect {shard} of {shards}"
        return collect_into(
            ctx,
            config,
            stored_student(ctx.workspace, ctx.task, from_run) if from_run else None,
            steps - len(before.steps) if before else steps,
            reweighted_by=from_run,
            folder=folder,
            seeds=lambda episode: training_seeds(ctx.seed, stream, start=episode - own),
            entropy=(ctx.seed, shards, shard),
            after=before,
            first_episode=own,
            on_steps=lambda steps: None,
        )


def _report(task: Task, stored: Trajectories) -> CollectReport:
    terminated = stored.column("terminated")
    ended = terminated | stored.column("truncated")
    _, episode = np.unique(stored.column("episode_id"), return_inverse=True)  # (N,)
    returns = np.bincount(episode, stored.column("reward"))[episode].astype(float)  # (N,)
    successes = int((task.is_success(terminated, returns) & ended).sum())
    return CollectReport(len(stored), int(ended.sum()), successes)


@task(retries=2, retry_delay_seconds=1, retry_condition_fn=is_worth_a_retry)
def label_shard(settings: Settings, shard: int) -> str:
    """Label the states of a shard, by their keys, in a run of its own; return its id.

    It waits for states that another run is asking about; so shards of two labelings may overlap.
    """
    shards = settings.scale.shards
    part = settings.model_copy(update={"label": _budget_of(settings.label, shard, shards)})
    with silenced(), opened("label", part, revive=False) as ctx:
        rows = trajectories(ctx, None)
        keys, which = np.unique(rows.column("state_key").astype(str), return_inverse=True)
        is_due = np.array([zlib.crc32(key.encode()) % shards == shard for key in keys])[which]
        if is_due.any():
            part_rows = rows.table.filter(pa.array(is_due))
            shard_rows = Trajectories(part_rows, rows.observations[is_due], rows.states)
            label(ctx, shard_rows, is_shard=True)
        return ctx.run.run_id


def _budget_of(label: LabelConfig, shard: int, shards: int) -> LabelConfig:
    """A shard's part of the budget."""

    def part(budget: int | None) -> int | None:
        return None if budget is None else share_of(budget, shard, shards)

    return label.model_copy(
        update={
            "max_requests": part(label.max_requests),
            "max_tokens": part(label.max_tokens),
            "max_cost": label.max_cost and label.max_cost / shards,
        }
    )


@flow(name="collect-in-shards")
def collect_in_shards(settings: Settings, run_id: str, from_run: str | None) -> CollectReport:
    """Collect all shards; `collect_shard` has the arguments.

    ``with_options(task_runner=…)`` says what runs them, here and in `label_in_shards`.
    """
    shards = settings.scale.shards
    check_steps(settings.collect, settings.collect.steps, shards)
    with stage("collect", shards, "shards") as shown:
        futures = [collect_shard.submit(settings, run_id, from_run, n) for n in range(shards)]
        for _ in as_completed(futures):
            shown.advance()
        reports = [future.result() for future in futures]
        total = CollectReport(
            sum(r.steps for r in reports),
            sum(r.episodes_ended for r in reports),
            sum(r.successes for r in reports),
        )
        shown.summary = f"{total.steps:,} env steps in {shards} shards"
    return total


@flow(name="label-in-shards")
def label_in_shards(settings: Settings) -> list[str]:
    """Label all shards, each in a run of its own; return their runs.

    Raises:
        ConfigError: the order takes the returns of whole episodes, which no shard has.
    """
    shards, order = settings.scale.shards, settings.label.order
    if order in ("spread", "change"):
        raise ConfigError(
            f"--label.order {order} needs whole episodes, and a shard has some of their states; "
            "choose --label.order visits, or --scale.runner none"
        )
    with stage("label", shards, "shards") as shown:
        futures = [label_shard.submit(settings, shard) for shard in range(shards)]
        for _ in as_completed(futures):
            shown.advance()
        runs = [future.result() for future in futures]
        shown.summary = f"{shards} shards of states"
    return runs
