"""Trajectories on disk: written part by part while collecting, read back as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from llm4teach.datasets import schema
from llm4teach.datasets.storage.parquet import part_paths, read_parquet, write_part
from llm4teach.datasets.storage.paths import DatasetError, StoragePath


@dataclass(frozen=True)
class Trajectories:
    """Steps as arrays of one length, ordered by run, episode and t."""

    table: pa.Table
    observations: NDArray[np.uint8]  # (N, *observation_shape)

    def __len__(self) -> int:
        return len(self.observations)

    def column(self, name: str) -> NDArray[Any]:
        """One column as a new array (N,)."""
        return np.array(self.table.column(name).to_numpy())


def write_steps(
    folder: StoragePath, steps: dict[str, Any], observations: NDArray[np.uint8]
) -> StoragePath:
    """Append steps as one part.

    Args:
        folder: of one run's trajectories.
        steps: the schema's columns without ``observation``, each of length N.
        observations: uint8 (N, *observation_shape).
    """
    kind = schema.trajectories(observations.shape[1:])
    raw = np.ascontiguousarray(observations).reshape(len(observations), -1)  # (N, bytes)
    size = raw.shape[1]
    binary = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(size), len(raw), [None, pa.py_buffer(raw.tobytes())]
    )
    columns = [binary if f.name == "observation" else pa.array(steps[f.name], f.type) for f in kind]
    return write_part(folder, pa.Table.from_arrays(columns, schema=kind))


def read_steps(folder: StoragePath, observation_shape: Sequence[int]) -> Trajectories:
    """Read all trajectories below a folder.

    Raises:
        DatasetError: there are none, a part is damaged, or the observations have another shape.
    """
    kind = schema.trajectories(observation_shape)
    tables = []
    for path in part_paths(folder):
        table = read_parquet(path, kind)
        if table.schema.field("observation").type != kind.field("observation").type:
            raise DatasetError(
                f"{path} holds observations of another shape than {tuple(observation_shape)}"
            )
        tables.append(table.replace_schema_metadata(kind.metadata))
    if not tables:
        raise DatasetError(f"no trajectories in {folder}; collect some first (llm4teach collect)")
    order = [("run_id", "ascending"), ("episode_id", "ascending"), ("t", "ascending")]
    table = pa.concat_tables(tables).sort_by(order).combine_chunks()
    return Trajectories(table, _as_array(table.column("observation"), observation_shape))


def distinct_states(trajectories: Trajectories) -> NDArray[np.uint8]:
    """One observation for each distinct state_key, uint8 (n_states, *observation_shape)."""
    keys = trajectories.table.column("state_key").combine_chunks()
    first: NDArray[np.int32] = pc.index_in(pc.unique(keys), value_set=keys).to_numpy()
    return trajectories.observations[first]  # the first row of each key


def _as_array(column: pa.ChunkedArray, shape: Sequence[int]) -> NDArray[np.uint8]:
    chunk = column.combine_chunks()
    if isinstance(chunk, pa.ChunkedArray):  # pyarrow returns this where there are no rows
        chunk = chunk.chunk(0)
    flat: NDArray[np.uint8] = np.frombuffer(chunk.buffers()[1], np.uint8)
    size = int(np.prod(shape))
    start = chunk.offset * size
    steps: NDArray[np.uint8] = flat[start : start + len(chunk) * size].reshape((-1, *shape))
    return steps
