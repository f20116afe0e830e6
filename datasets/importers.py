"""Episodes that others recorded: Minari datasets, and Parquet or CSV logs with a map of columns."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from llm4teach.errors import DatasetError

REQUIRED = ("episode_id", "action", "reward", "terminated", "truncated")
OPTIONAL = ("t", "seed", "observation", "behavior", "action_logprob")
_EARLIER = {"behaviour": "behavior"}  # earlier names of columns


@dataclass(frozen=True)
class Episode:
    """One recorded episode of T steps, not checked yet."""

    name: str  # as the source calls it
    actions: NDArray[Any]  # (T,)
    rewards: NDArray[Any]  # (T,)
    terminated: NDArray[np.bool_]  # (T,)
    truncated: NDArray[np.bool_]  # (T,)
    seed: int | None = None
    observations: NDArray[Any] | None = None  # (T, ...): before each action
    behaviors: list[str] | None = None
    logprobs: NDArray[np.float32] | None = None


def read_episodes(source: str, columns: Mapping[str, str]) -> Iterator[Episode]:
    """Read a ``.csv`` or ``.parquet`` file, or a Minari dataset by its folder or local id.

    Args:
        source: where it is.
        columns: the source's name for each of `REQUIRED` and `OPTIONAL` that differs.

    Raises:
        DatasetError: it is missing, damaged, or lacks columns; the message lists all of them.
    """
    path = Path(source)
    if path.suffix in (".csv", ".parquet"):
        return _from_table(_read_table(path), path, columns)
    if columns:
        raise DatasetError(f"a column map is for .csv and .parquet files; {source} is neither")
    return _from_minari(source)


def _read_table(path: Path) -> pa.Table:
    try:
        return pacsv.read_csv(path) if path.suffix == ".csv" else pq.read_table(path)
    except FileNotFoundError:
        raise DatasetError(f"{path} does not exist") from None
    except (pa.ArrowInvalid, OSError) as error:
        detail = str(error).splitlines()[0]
        raise DatasetError(f"{path} cannot be read as {path.suffix[1:]}: {detail}") from None


def _from_table(table: pa.Table, path: Path, columns: Mapping[str, str]) -> Iterator[Episode]:
    columns = {_EARLIER.get(ours, ours): theirs for ours, theirs in columns.items()}
    unknown = sorted(set(columns) - {*REQUIRED, *OPTIONAL})
    if unknown:
        accepted = ", ".join((*REQUIRED, *OPTIONAL))
        raise DatasetError(f"{', '.join(unknown)} cannot be mapped; known are {accepted}")
    earlier = {new: old for old, new in _EARLIER.items() if old in table.column_names}
    names = {n: columns.get(n, earlier.get(n, n)) for n in (*REQUIRED, *OPTIONAL)}
    wanted = [*REQUIRED, *columns]
    missing = [ours for ours in dict.fromkeys(wanted) if names[ours] not in table.column_names]
    if missing:
        raise DatasetError(_columns_missing(path, missing, names, table.column_names))
    held = [ours for ours, theirs in names.items() if theirs in table.column_names]
    table = pa.table({ours: table.column(names[ours]) for ours in held})
    keys = [("episode_id", "ascending")] + ([("t", "ascending")] if "t" in held else [])
    if "t" not in held:  # rows of an episode stay in the order of the file
        table = table.append_column("row", pa.array(np.arange(len(table))))
        keys.append(("row", "ascending"))
    table = table.take(pc.sort_indices(table, sort_keys=keys))
    ids = table.column("episode_id").to_pylist()
    starts = [i for i in range(len(ids)) if i == 0 or ids[i] != ids[i - 1]]
    for start, end in zip(starts, [*starts[1:], len(ids)], strict=True):
        yield _episode(table.slice(start, end - start), str(ids[start]))


def _episode(rows: pa.Table, name: str) -> Episode:
    held = set(rows.column_names)

    def column(which: str) -> NDArray[Any]:
        return np.asarray(rows.column(which).to_numpy(zero_copy_only=False))

    seed = rows.column("seed")[0].as_py() if "seed" in held else None
    return Episode(
        name,
        column("action"),
        column("reward"),
        _flags(column("terminated")),
        _flags(column("truncated")),
        int(seed) if seed is not None else None,
        _observations(rows.column("observation")) if "observation" in held else None,
        [str(b) for b in rows.column("behavior").to_pylist()] if "behavior" in held else None,
        column("action_logprob").astype(np.float32) if "action_logprob" in held else None,
    )


def _flags(values: NDArray[Any]) -> NDArray[np.bool_]:
    """0 and 1 are flags as well; anything else is no flag and stays false."""
    return np.isin(values.astype(object), [True, 1])


def _observations(column: pa.ChunkedArray) -> NDArray[Any]:
    """Binary or list columns as one array, (T, bytes or numbers)."""
    rows = column.to_pylist()
    arrays = [np.frombuffer(r, np.uint8) if isinstance(r, bytes) else np.asarray(r) for r in rows]
    if len({array.shape for array in arrays}) > 1:
        return np.zeros((len(arrays), 0), np.uint8)  # no observation has this shape
    return np.stack(arrays).reshape(len(arrays), -1)


def _columns_missing(
    path: Path, missing: list[str], names: Mapping[str, str], columns: list[str]
) -> str:
    lines = []
    for ours in missing:
        close = difflib.get_close_matches(names[ours], columns, n=1, cutoff=0.4)
        hint = f"; did you mean --columns {ours}={close[0]}?" if close else ""
        lines.append(f"  no column {names[ours]!r} for {ours}{hint}")
    return "\n".join([f"{path} does not fit:", *lines, f"  it has: {', '.join(columns)}"])


def _from_minari(source: str) -> Iterator[Episode]:
    try:
        import minari
    except ImportError:
        message = "Minari datasets need the import extra: pip install 'llm4teach[import]'"
        raise DatasetError(message) from None
    folder = Path(source)
    try:
        if folder.is_dir():
            data = folder / "data" if (folder / "data").is_dir() else folder
            dataset = minari.MinariDataset(data)
        else:
            dataset = minari.load_dataset(source)
    except Exception as error:  # it has many, some of them bare
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        message = f"{source} is no .csv or .parquet file, and no Minari dataset here ({reason})"
        raise DatasetError(message) from None
    for episode in dataset.iterate_episodes():
        [facts] = dataset.storage.get_episode_metadata([episode.id])
        seed = facts.get("seed")
        seen = episode.observations  # T + 1 of them
        yield Episode(
            str(episode.id),
            np.asarray(episode.actions),
            np.asarray(episode.rewards),
            np.asarray(episode.terminations, np.bool_),
            np.asarray(episode.truncations, np.bool_),
            int(seed) if isinstance(seed, (int, np.integer)) else None,
            np.asarray(seen)[:-1] if isinstance(seen, np.ndarray) else None,
        )
