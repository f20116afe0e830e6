"""Plain Parquet: one row per step, in bounded row groups and files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from llm4teach.datasets.exporters.episode import AdvisedEpisode, Layout
from llm4teach.datasets.storage.parquet import COMPRESSED

DATA = "data"  # folder of the files, where the Hugging Face Hub looks for them
ROW_GROUP_BYTES = 64 << 20  # about, uncompressed
FILE_BYTES = 1 << 30  # likewise
MAX_ROWS = 1 << 17  # of a row group


def steps_schema(layout: Layout) -> pa.Schema:
    """Columns of the exported steps; each carries what it means."""
    pixels = pa.list_(pa.uint8(), math.prod(layout.observation_shape))
    shape = f"uint8 {_shown(layout.observation_shape)}, flat in C order"
    advice = pa.list_(pa.struct([("plan", pa.string()), ("probability", pa.float64())]))
    n_actions = len(layout.action_names)
    columns: list[tuple[str, pa.DataType, str]] = [
        ("episode_id", pa.int64(), "counts the episodes of this dataset from 0"),
        ("t", pa.int32(), "step in the episode, from 0"),
        ("run_id", pa.string(), "run that collected the episode"),
        ("run_episode_id", pa.int64(), "counts the run's episodes from 0"),
        ("seed", pa.int64(), "`env.reset(seed=…)` of the episode; null: unknown"),
        ("observation", pixels, f"what the student sees before the action: {shape}"),
        ("action", pa.int8(), f"0 to {n_actions - 1}: {', '.join(layout.action_names)}"),
        ("reward", pa.float32(), "for this step"),
        ("terminated", pa.bool_(), "the episode ended at this step"),
        ("truncated", pa.bool_(), "the time limit ended it at this step"),
        (
            "behavior",
            pa.string(),
            "behavior policy: `student`, `noise` (a random action), or `option: ` and the plan "
            "that was followed",
        ),
        ("action_logprob", pa.float32(), "nats, under the behavior policy; NaN: unknown"),
        ("state_key", pa.string(), "hash of task family and `state_text`"),
        ("state_text", pa.string(), "what the teacher reads"),
        ("has_advice", pa.bool_(), "whether the teacher gave advice on this state"),
        ("advice", advice, "the teacher's plans and their probabilities; empty: no advice"),
        (
            "teacher_probs",
            pa.list_(pa.float32(), n_actions),
            "the advice as probabilities of the actions, float32 "
            f"({n_actions},); zeros: no advice, or none of its plans can act",
        ),
        (
            "final_observation",
            pixels,
            f"what the last action led to: {shape}; null in all rows but an episode's last, and "
            "there where it is unknown",
        ),
    ]
    if layout.record_shape is not None:
        record = (
            f"what student and teacher see, recorded together: uint8 {_shown(layout.record_shape)}"
        )
        columns.append(("record", pa.list_(pa.uint8(), math.prod(layout.record_shape)), record))
    return pa.schema(
        [pa.field(name, kind, metadata={"description": text}) for name, kind, text in columns]
    )


def _shown(shape: tuple[int, ...]) -> str:
    return str(tuple(shape))


class ParquetWriter:
    """Writes ``data/steps-00000.parquet`` and its like.

    Args:
        folder: to write into.
        layout: of the episodes.
    """

    def __init__(self, folder: Path, layout: Layout) -> None:
        self._folder = folder / DATA
        self._folder.mkdir()
        self._layout, self._schema = layout, steps_schema(layout)
        self._plans = pa.array(layout.plans, pa.string())
        self._file: pq.ParquetWriter | None = None
        self._pending: list[pa.Table] = []
        self._rows, self._bytes, self._written = 0, 0, 0  # pending rows, bytes; bytes of the file
        self._files, self._episodes = 0, 0

    def write(self, episodes: Sequence[AdvisedEpisode]) -> None:
        for episode in episodes:
            table = self._table(episode)
            self._pending.append(table)
            self._rows += len(table)
            self._bytes += table.nbytes
            if self._bytes >= ROW_GROUP_BYTES or self._rows >= MAX_ROWS:
                self._flush()

    def close(self) -> None:
        try:
            self._flush()
        finally:
            self._close_file()

    def _flush(self) -> None:
        if not self._pending:
            return
        if self._file is None:
            path = self._folder / f"steps-{self._files:05d}.parquet"
            self._file = pq.ParquetWriter(path, self._schema, **COMPRESSED)
            self._files += 1
        self._file.write_table(pa.concat_tables(self._pending), row_group_size=MAX_ROWS)
        self._written += self._bytes
        self._pending, self._rows, self._bytes = [], 0, 0
        if self._written >= FILE_BYTES:
            self._close_file()

    def _close_file(self) -> None:
        file, self._file, self._written = self._file, None, 0
        if file is not None:
            file.close()

    def _table(self, episode: AdvisedEpisode) -> pa.Table:
        n = len(episode)
        number, self._episodes = self._episodes, self._episodes + 1
        columns: dict[str, Any] = {
            "episode_id": np.full(n, number),
            "t": np.arange(n),
            "run_id": pa.repeat(episode.run_id, n),
            "run_episode_id": np.full(n, episode.number),
            "seed": pa.nulls(n, pa.int64()) if episode.seed is None else np.full(n, episode.seed),
            "observation": _lists(episode.observations[:n]),
            "action": episode.actions,
            "reward": episode.rewards,
            "terminated": episode.terminated,
            "truncated": episode.truncated,
            "behavior": list(episode.behaviors),
            "action_logprob": episode.action_logprobs,
            "state_key": list(episode.state_keys[:n]),
            "state_text": list(episode.state_texts[:n]),
            "has_advice": episode.plan_probs[:n].any(1),
            "advice": self._advice(episode.plan_probs[:n]),
            "teacher_probs": _lists(episode.teacher_probs[:n]),
            "final_observation": self._finals(episode),
        }
        if episode.records is not None:
            columns["record"] = _lists(episode.records[:n])
        arrays = [
            columns[field.name]
            if isinstance(columns[field.name], pa.Array)
            else pa.array(columns[field.name], field.type)
            for field in self._schema
        ]
        return pa.Table.from_arrays(arrays, schema=self._schema)

    def _advice(self, plan_probs: NDArray[np.float64]) -> pa.Array:
        """Return each row's plans with their probabilities, the likeliest first."""
        steps, plans = np.nonzero(plan_probs)  # (K,) each
        probs = plan_probs[steps, plans]
        order = np.lexsort((plans, -probs, steps))
        ends = np.concatenate([[0], np.cumsum(np.count_nonzero(plan_probs, axis=1))])
        structs = pa.StructArray.from_arrays(
            [self._plans.take(pa.array(plans[order])), pa.array(probs[order], pa.float64())],
            names=["plan", "probability"],
        )
        return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), structs)

    def _finals(self, episode: AdvisedEpisode) -> pa.Array:
        kind = self._schema.field("final_observation").type
        values: list[Any] = [None] * len(episode)
        if episode.has_final:
            values[-1] = episode.observations[-1].ravel()
        return pa.array(values, kind)


def _lists(rows: NDArray[Any]) -> pa.Array:
    """Return rows of any shape as flat lists of a fixed length."""
    flat = np.ascontiguousarray(rows).reshape(len(rows), -1)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), flat.shape[1])
