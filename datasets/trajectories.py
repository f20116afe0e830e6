"""Trajectories on disk: written part by part while collecting, read back as arrays."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from llm4teach.datasets import schema
from llm4teach.datasets.storage.parquet import (
    parquet_file,
    part_paths,
    read_parquet,
    write_parquet,
    write_part,
)
from llm4teach.datasets.storage.paths import StoragePath
from llm4teach.errors import DatasetError

STATES = "states.parquet"  # distinct states of the parts in the same folder
COLLECTION = b"collection_state"  # in a part's metadata: JSON that its collection resumes from


class StoredState(NamedTuple):
    """A distinct state as it was described when it was collected."""

    text: str
    plans: tuple[str, ...]  # admissible ones


@dataclass(frozen=True)
class Trajectories:
    """Steps as arrays of one length, ordered by run, episode and t."""

    table: pa.Table
    observations: NDArray[np.uint8]  # (N, *observation_shape)
    states: Mapping[str, StoredState] = field(default_factory=dict)  # those stored, by state_key

    def __len__(self) -> int:
        return len(self.observations)

    def column(self, name: str) -> NDArray[Any]:
        """One column as a new array (N,)."""
        return np.array(self.table.column(name).to_numpy())

    @property
    def episode_ends(self) -> NDArray[np.bool_]:
        """Which steps are the last stored ones of their episode, (N,)."""
        t = self.column("t")
        return np.append(t[1:] != t[:-1] + 1, np.ones(min(1, len(t)), np.bool_))


def write_steps(
    folder: StoragePath,
    steps: dict[str, Any],
    observations: NDArray[np.uint8],
    state: Mapping[str, Any] | None = None,
) -> StoragePath:
    """Append steps as one part.

    Args:
        folder: of one run's trajectories.
        steps: the schema's columns without ``observation``, each of length N.
        observations: uint8 (N, *observation_shape).
        state: of the collection after these steps, as plain JSON, for `collection_state`.
    """
    kind = schema.trajectories(observations.shape[1:])
    if state is not None:
        kind = kind.with_metadata({**kind.metadata, COLLECTION: json.dumps(state)})
    binary = _as_binary(observations)
    columns = [binary if f.name == "observation" else pa.array(steps[f.name], f.type) for f in kind]
    return write_part(folder, pa.Table.from_arrays(columns, schema=kind))


def collection_state(folder: StoragePath, steps: int) -> dict[str, Any] | None:
    """Return the state that a collection stored with its last part, after ``steps`` steps in all.

    None if no part has one: earlier versions stored none.
    """
    for path in part_paths(folder):
        state = state_in(parquet_file(path).schema_arrow)
        if state.get("stored") == steps:
            return state
    return None


def state_in(kind: pa.Schema) -> dict[str, Any]:
    """Return the collection's state that a part's schema carries, empty if there is none."""
    content: dict[str, Any] = json.loads((kind.metadata or {}).get(COLLECTION, b"{}"))
    return content


def read_steps(folder: StoragePath, observation_shape: Sequence[int]) -> Trajectories:
    """Read all trajectories below a folder.

    Raises:
        DatasetError: there are none, a part is damaged, or the observations have another shape.
    """
    kind = schema.trajectories(observation_shape)
    paths = part_paths(folder)
    states: dict[str, StoredState] = {}
    for parent in dict.fromkeys(path.parent for path in paths):
        states |= read_states(parent)
    tables: deque[pa.Table] = deque()
    for path in paths:
        table = read_parquet(path, kind)
        if table.schema.field("observation").type != kind.field("observation").type:
            raise DatasetError(
                f"{path} holds observations of another shape than {tuple(observation_shape)}"
            )
        tables.append(table.replace_schema_metadata(kind.metadata))
    if not tables:
        raise DatasetError(f"no trajectories in {folder}; collect some first (llm4teach collect)")
    table, observations = _sorted(tables, kind, observation_shape)
    return Trajectories(table, observations, states)


def _sorted(
    parts: deque[pa.Table], kind: pa.Schema, observation_shape: Sequence[int]
) -> tuple[pa.Table, NDArray[np.uint8]]:
    """Sort steps by run, episode and t, and empty ``parts``.

    Returns:
        All columns, and the observations, which share their memory. They are the bulk of it, so
        they are moved part by part, and never held twice.
    """
    others = pa.concat_tables([part.drop_columns(["observation"]) for part in parts])
    keys = [("run_id", "ascending"), ("episode_id", "ascending"), ("t", "ascending")]
    order = pc.sort_indices(others, sort_keys=keys)
    places = np.empty(len(order), np.int64)  # (N,) where each step goes
    places[order.to_numpy()] = np.arange(len(order))
    observations = np.empty((len(order), *observation_shape), np.uint8)
    start = 0
    while parts:
        moved = as_observations(parts.popleft().column("observation"), observation_shape)
        observations[places[start : start + len(moved)]] = moved
        start += len(moved)
        del moved
        pa.default_memory_pool().release_unused()
    table = others.take(order).combine_chunks()
    i = kind.get_field_index("observation")
    return table.add_column(i, kind.field(i), _as_binary(observations)), observations


def states_table(states: Mapping[str, StoredState]) -> pa.Table:
    """Return distinct states, by their keys, as rows of `schema.STATES`."""
    rows = [
        {"state_key": key, "state_text": state.text, "options": list(state.plans)}
        for key, state in states.items()
    ]
    return pa.Table.from_pylist(rows, schema=schema.STATES)


def write_states(folder: StoragePath, table: pa.Table) -> None:
    """Replace the distinct states beside a folder's parts by rows of `states_table`, atomically."""
    write_parquet(folder / STATES, table)


def read_states(folder: StoragePath) -> dict[str, StoredState]:
    """Read the distinct states stored beside a folder's parts; none if there is no table.

    Raises:
        DatasetError: the table is damaged.
    """
    path = folder / STATES
    if not path.exists():
        return {}
    rows = read_parquet(path, schema.STATES).to_pylist()
    return {r["state_key"]: StoredState(r["state_text"], tuple(r["options"])) for r in rows}


def distinct_states(trajectories: Trajectories) -> tuple[list[str], NDArray[np.uint8]]:
    """Return each distinct state_key with its first observation.

    Returns:
        The keys, and the observations, uint8 (n_states, *observation_shape).
    """
    keys = trajectories.table.column("state_key").combine_chunks()
    distinct = pc.unique(keys)
    first: NDArray[np.int32] = pc.index_in(distinct, value_set=keys).to_numpy()
    return distinct.to_pylist(), trajectories.observations[first]


def _as_binary(observations: NDArray[np.uint8]) -> pa.FixedSizeBinaryArray:
    """Return observations as a column, without a copy where they are contiguous."""
    kind = pa.binary(math.prod(observations.shape[1:]))
    raw = pa.py_buffer(np.ascontiguousarray(observations))
    return pa.FixedSizeBinaryArray.from_buffers(kind, len(observations), [None, raw])


def as_observations(column: pa.ChunkedArray, shape: Sequence[int]) -> NDArray[np.uint8]:
    """Return the column ``observation`` as an array, uint8 (N, *shape), without a copy."""
    chunk = column.combine_chunks()
    if isinstance(chunk, pa.ChunkedArray):  # pyarrow returns this where there are no rows
        chunk = chunk.chunk(0)
    flat: NDArray[np.uint8] = np.frombuffer(chunk.buffers()[1], np.uint8)
    size = int(np.prod(shape))
    start = chunk.offset * size
    steps: NDArray[np.uint8] = flat[start : start + len(chunk) * size].reshape((-1, *shape))
    return steps
