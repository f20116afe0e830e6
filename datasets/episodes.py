"""Stored episodes one after the other, with few of a run's steps in memory at a time."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from llm4teach.datasets import schema
from llm4teach.datasets.storage.parquet import (
    parquet_file,
    part_paths,
    read_batches,
    read_parquet,
)
from llm4teach.datasets.storage.paths import StoragePath, folder_names
from llm4teach.datasets.trajectories import as_observations
from llm4teach.datasets.workspace import Workspace
from llm4teach.errors import DatasetError

_BATCH = 4_096  # rows that are decoded at a time
_RUN = "run="  # how the folders of runs begin


@dataclass(frozen=True)
class StoredEpisode:
    """One episode's T steps, in order."""

    run_id: str
    episode_id: int  # in its run
    table: pa.Table  # of schema.trajectories
    observations: NDArray[np.uint8]  # (T, *observation_shape)


def runs_with_steps(workspace: Workspace, task: str) -> list[str]:
    """Ids of the runs that have trajectories of a task, sorted."""
    names = folder_names(workspace.trajectories(task))
    return [name.removeprefix(_RUN) for name in names if name.startswith(_RUN)]


def count_steps(workspace: Workspace, task: str, runs: Sequence[str], shape: Sequence[int]) -> int:
    """Return how many steps the runs have stored; only the ends of their files are read.

    Args:
        workspace: of the runs.
        task: whose trajectories.
        runs: their ids.
        shape: of the task's observations.

    Raises:
        DatasetError: a part is damaged, or runs hold observations of another shape; the message
            lists them.
    """
    steps, others = 0, dict[str, str]()
    for run in runs:
        for path in part_paths(workspace.trajectories(task, run)):
            try:
                file = parquet_file(path)
            except (pa.ArrowInvalid, OSError) as error:
                detail = str(error).splitlines()[0]
                raise DatasetError(f"{path} is not a readable Parquet file ({detail})") from None
            steps += file.metadata.num_rows
            size = file.schema_arrow.field("observation").type.byte_width
            stored = (file.schema_arrow.metadata or {}).get(b"observation_shape", b"").decode()
            if size != math.prod(shape) or stored not in ("", ",".join(map(str, shape))):
                others[run] = f"({stored})" if stored else f"{size} bytes"
    if others:
        listed = "; ".join(f"{run} has {found}" for run, found in others.items())
        raise DatasetError(
            f"observations of {task} have the shape {tuple(shape)}, but {listed}: the task has "
            "changed since; choose other runs"
        )
    return steps


def episodes_of(folder: StoragePath, run_id: str, shape: Sequence[int]) -> Iterator[StoredEpisode]:
    """Yield the episodes of a run in the order of their ids.

    Every part is read once, in the order in which it was collected; so no more is kept in memory
    than the steps of episodes that ran side by side.

    Args:
        folder: of the run's trajectories.
        run_id: its id.
        shape: of an observation.

    Raises:
        DatasetError: a part is damaged, or lacks steps that other parts continue.
    """
    kind = schema.trajectories(shape)
    parts, sizes = _index(folder, kind)
    due = deque(sorted(sizes))
    waiting: dict[int, list[pa.Table]] = {}
    for path in parts:
        for batch in read_batches(path, kind, _BATCH):
            for episode, rows in _by_episode(batch):
                waiting.setdefault(episode, []).append(rows)
            while due and sum(map(len, waiting.get(due[0], ()))) == sizes[due[0]]:
                episode = due.popleft()
                yield _assembled(run_id, episode, waiting.pop(episode), shape)


def _index(folder: StoragePath, kind: pa.Schema) -> tuple[list[StoragePath], Counter[int]]:
    """Return a run's parts in the order in which they were collected, and its episodes' lengths.

    Ids count the episodes as they start, so a later part never has a lower highest one.
    """
    sizes: Counter[int] = Counter()
    parts = []
    for path in part_paths(folder):
        index = read_parquet(path, kind, ["episode_id", "t"])
        ids, t = index.column("episode_id").to_numpy(), index.column("t").to_numpy()
        if len(ids):
            distinct, counts = np.unique(ids, return_counts=True)
            sizes.update(dict(zip(distinct.tolist(), counts.tolist(), strict=True)))
            last = int(distinct[-1])
            parts.append((last, int(t[ids == last].min()), str(path), path))
    return [path for *_, path in sorted(parts, key=lambda part: part[:3])], sizes


def _by_episode(batch: pa.Table) -> Iterator[tuple[int, pa.Table]]:
    ids = batch.column("episode_id").to_numpy()
    order = np.argsort(ids, kind="stable")  # (N,)
    distinct, starts = np.unique(ids[order], return_index=True)
    for episode, rows in zip(distinct.tolist(), np.split(order, starts[1:]), strict=True):
        yield episode, batch.take(pa.array(rows))


def _assembled(
    run_id: str, episode: int, tables: Sequence[pa.Table], shape: Sequence[int]
) -> StoredEpisode:
    table = pa.concat_tables([t.replace_schema_metadata(None) for t in tables]).sort_by("t")
    table = table.combine_chunks()
    t = table.column("t").to_numpy()
    wrong = np.flatnonzero(t != np.arange(len(t)))
    if len(wrong):
        raise DatasetError(
            f"episode {episode} of run {run_id} has no step {int(wrong[0])}, or has it twice: a "
            "part of its trajectories is missing; restore it, or choose other runs"
        )
    observations = as_observations(table.column("observation"), shape)
    return StoredEpisode(run_id, episode, table, observations)
