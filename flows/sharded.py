"""Flows whose tasks are shards; `with_options(task_runner=…)` says what runs them."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.futures import as_completed

from llm4teach.flows.runtime.progress import stage
from llm4teach.flows.sharding import collect_shard, label_shard
from llm4teach.student.collection.collect import CollectReport


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
