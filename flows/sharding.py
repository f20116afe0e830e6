"""Shards of collection and labeling: each is done by one worker, from the start or not at all."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from prefect import flow, task
from prefect.futures import as_completed

from llm4teach.datasets.storage.parquet import part_paths, remove_folder
from llm4teach.datasets.trajectories import Trajectories, read_steps
from llm4teach.envs.seeds import training_seeds
from llm4teach.flows.runtime.progress import silenced, stage
from llm4teach.flows.runtime.retries import is_nobodys_fault
from llm4teach.flows.runtime.settings import ConfigError, ScaleConfig
from llm4teach.flows.stages import collect as collecting
from llm4teach.flows.stages import context as stages
from llm4teach.flows.stages import label as labelling
from llm4teach.flows.stages import pretrain as pretraining
from llm4teach.flows.stages.checkpoints import stored_student
from llm4teach.student.collection.collect import CollectReport
from llm4teach.student.config import CollectConfig
from llm4teach.teacher_labeling.config import LabelConfig, TeacherConfig


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


EPISODES = 10_000_000  # ids a shard


def share_of(amount: int, shard: int, shards: int) -> int:
    """How much of an amount falls to a shard; all of them add up to it."""
    return amount * (shard + 1) // shards - amount * shard // shards


@task(retries=2, retry_delay_seconds=1, retry_condition_fn=is_nobodys_fault)
def collect_shard(place: Mapping[str, Any], steps: int, shard: int) -> CollectReport:
    """Collect a shard's share of ``steps`` with seeds of its own; nothing if it has them already.

    Args:
        place: ``workspace``, ``task``, ``teacher``, ``seed``, ``run_id``, ``collect``, ``scale``
            and ``from_run``, as the flow got them.
        steps: of all shards.
        shard: from 0.
    """
    config: CollectConfig = place["collect"]
    scale: ScaleConfig = place["scale"]
    teacher: TeacherConfig = place["teacher"]
    where = (place["workspace"], place["task"], teacher, place["seed"])
    with silenced(), stages.opened("collect", *where, join=place["run_id"]) as ctx:
        runs = ctx.workspace.trajectories(ctx.task.name, ctx.run.run_id)
        folder = runs / f"shard-{shard:04d}-of-{scale.shards:04d}-{steps}"
        wanted = share_of(steps, shard, scale.shards) // config.n_envs * config.n_envs
        if part_paths(folder):
            stored = read_steps(folder, ctx.task.observation_shape)
            if len(stored) == wanted:
                return _report(stored)
            remove_folder(folder)  # of a worker that was lost
        from_run = place["from_run"]
        return collecting.collect_into(
            ctx,
            config,
            stored_student(ctx.workspace, ctx.task, from_run) if from_run else None,
            wanted,
            weighed_by=from_run,
            folder=folder,
            seeds=training_seeds(ctx.seed, f"collect {shard} of {scale.shards}"),
            entropy=(ctx.seed, scale.shards, shard),
            first_episode=shard * EPISODES,
            on_steps=lambda steps: None,
        )


def _report(stored: Trajectories) -> CollectReport:
    terminated, ended = stored.column("terminated"), stored.column("truncated")
    successes = int((terminated & (stored.column("reward") > 0)).sum())
    return CollectReport(len(stored), int((terminated | ended).sum()), successes)


@task(retries=2, retry_delay_seconds=1, retry_condition_fn=is_nobodys_fault)
def label_shard(place: Mapping[str, Any], shard: int) -> str:
    """Label the states of a shard, by their keys, in a run of its own; return its id.

    A state that another run is asking about is waited for, as everywhere; so shards of two
    labellings may overlap.
    """
    scale: ScaleConfig = place["scale"]
    label: LabelConfig = place["label"]
    where = (place["workspace"], place["task"], place["teacher"], 0)
    own = label.model_copy(
        update={
            "max_requests": _part(label.max_requests, shard, scale.shards),
            "max_tokens": _part(label.max_tokens, shard, scale.shards),
            "max_cost": label.max_cost and label.max_cost / scale.shards,
        }
    )
    with silenced(), stages.opened("label", *where, label=own, revive=False) as ctx:
        every = pretraining.trajectories(ctx, None)
        keys, which = np.unique(every.column("state_key").astype(str), return_inverse=True)
        mine = np.array([zlib.crc32(key.encode()) % scale.shards == shard for key in keys])[which]
        if mine.any():
            rows = every.table.filter(pa.array(mine))
            labelling.label(ctx, Trajectories(rows, every.observations[mine]))
        return ctx.run.run_id


def _part(budget: int | None, shard: int, shards: int) -> int | None:
    return None if budget is None else share_of(budget, shard, shards)


@flow(name="collect-in-shards")
def collect_in_shards(place: dict[str, Any], steps: int) -> CollectReport:
    """Collect all shards; see `shards.collect_shard` for the arguments."""
    shards = place["scale"].shards
    with stage("collect", shards, "shards") as shown:
        futures = [collect_shard.submit(place, steps, shard) for shard in range(shards)]
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
def label_in_shards(place: dict[str, Any]) -> list[str]:
    """Label all shards; see `shards.label_shard` for the argument. Return their runs."""
    shards = place["scale"].shards
    with stage("label", shards, "shards") as shown:
        futures = [label_shard.submit(place, shard) for shard in range(shards)]
        for _ in as_completed(futures):
            shown.advance()
        runs = [future.result() for future in futures]
        shown.summary = f"{shards} shards of states"
    return runs
