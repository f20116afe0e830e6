"""A log's episodes: its columns under our names, its rows in the order of their steps."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from llm4teach.datasets.importers.episode import Episode
from llm4teach.datasets.importers.log_columns import (
    Column,
    flags,
    log_probabilities,
    names,
    numbers,
    plain,
    whole_numbers,
)
from llm4teach.errors import DatasetError

REQUIRED = ("episode_id", "action", "reward", "terminated", "truncated")
OPTIONAL = ("t", "seed", "observation", "behavior", "action_logprob")
_EARLIER = {"behaviour": "behavior"}  # earlier names of columns
_RECORD = "record"  # in our own exports: all that was recorded, where the student sees a part of it
_ELSEWHERE = {  # names in LeRobot's, Minari's, D4RL's and other logs
    "episode_id": ("episode_index", "episode", "ep", "episode_ids", "trajectory_id", "traj_id"),
    "t": ("frame_index", "step", "timestep", "time_step", "step_index"),
    "action": ("actions", "act"),
    "reward": ("next.reward", "rewards"),
    "terminated": ("next.terminated", "terminations", "terminals", "terminal"),
    "truncated": ("next.truncated", "truncations", "timeouts", "timeout"),
    "observation": ("observation.state", "observations", "obs"),
    "seed": ("episode_seed", "env_seed"),
}
_ENDS = ("done", "dones", "next.done")  # either of terminated and truncated


def episodes_in(table: pa.Table, path: Path, columns: Mapping[str, str]) -> Iterator[Episode]:
    """Yield the episodes of a log; rows count from 1, in the order of the file.

    Args:
        table: of the log.
        path: for messages.
        columns: the log's name for each of `REQUIRED` and `OPTIONAL` that differs. Observations are
            those of the column ``record`` where our own export wrote one.

    Raises:
        DatasetError: it lacks columns (the message lists all of them), or a row belongs to no
            episode.
    """
    held = _select(table, path, columns)
    ids = names("episode_id", held["episode_id"])
    everywhere = np.arange(len(table))
    if problem := ids.problem(everywhere):
        raise DatasetError(f"{path} cannot be imported: {problem}, so it belongs to no episode")
    log = _Log(
        action=whole_numbers("action", held["action"]),
        reward=numbers("reward", held["reward"]),
        terminated=flags("terminated", held["terminated"]),
        truncated=flags("truncated", held["truncated"]),
        t=whole_numbers("t", held["t"], at_least=0) if "t" in held else None,
        seed=whole_numbers("seed", held["seed"]) if "seed" in held else None,
        logprob=log_probabilities("action_logprob", held["action_logprob"])
        if "action_logprob" in held
        else None,
        behavior=names("behavior", held["behavior"]) if "behavior" in held else None,
        observation=plain(held["observation"]) if "observation" in held else None,
        order=_order(table) if "t" not in held else None,
    )
    distinct = sorted(set(ids.values.tolist()), key=_sort_key)
    index = {name: i for i, name in enumerate(distinct)}
    of_row = np.array([index[name] for name in ids.values.tolist()])  # (N,)
    # Without t, the rows of an episode stay in the order of the file, if no other column objects.
    t = log.t.values if log.t is not None else everywhere
    rows = np.lexsort((everywhere, t, of_row))
    starts = np.searchsorted(of_row[rows], np.arange(len(distinct) + 1))
    for name, start, end in zip(distinct, starts[:-1], starts[1:], strict=True):
        yield _episode(log, name, rows[start:end])


def _sort_key(name: str) -> tuple[bool, int, str]:
    is_number = name.isascii() and name.removeprefix("-").isdigit()
    return (not is_number, int(name) if is_number and len(name) < 40 else 0, name)


@dataclass(frozen=True)
class _Log:
    action: Column
    reward: Column
    terminated: Column
    truncated: Column
    t: Column | None
    seed: Column | None
    logprob: Column | None
    behavior: Column | None
    observation: pa.ChunkedArray | None
    order: Column | None  # what may be t under another name


def _episode(log: _Log, name: str, rows: NDArray[np.int64]) -> Episode:
    """Return an episode from its rows, (T,), which are in the order of its steps."""
    needed = (log.action, log.reward, log.terminated, log.truncated)
    found = [column.problem(rows) for column in needed]
    if log.t is not None:
        found.append(log.t.problem(rows) or _steps_problem(log.t.values[rows], rows))
    if log.order is not None and log.order.problem(rows) is None:
        found.append(_order_problem(log.order, rows))
    if log.seed is not None:
        found.append(log.seed.problem(rows, optional=True) or _seed_problem(log.seed, rows))
    if log.logprob is not None:
        found.append(log.logprob.problem(rows, optional=True))
    if log.behavior is not None:
        found.append(log.behavior.problem(rows, optional=True))
    observations, unusable = None, ""
    if log.observation is not None:
        observations, unusable, problem = _observations(log.observation.take(pa.array(rows)), rows)
        found.append(problem)
    seed = log.seed
    return Episode(
        name,
        log.action.values[rows],
        log.reward.values[rows],
        log.terminated.values[rows],
        log.truncated.values[rows],
        int(seed.values[rows[0]]) if seed is not None and not seed.is_null[rows[0]] else None,
        observations,
        _behaviors(log.behavior, rows) if log.behavior is not None else None,
        log.logprob.values[rows] if log.logprob is not None else None,
        rows + 1,
        tuple(problem for problem in found if problem),
        unusable,
    )


def _steps_problem(t: NDArray[np.int64], rows: NDArray[np.int64]) -> str | None:
    """Steps count 0, 1, 2, …; return what is wrong with them, (T,) in ascending order."""
    if t[0] != 0:
        hint = "steps count from 0"
        return f"t starts at {t[0]} in row {rows[0] + 1}: {hint}, so steps are missing"
    wrong = np.flatnonzero(np.diff(t) != 1)
    if not len(wrong):
        return None
    i = int(wrong[0])
    if t[i] == t[i + 1]:
        return f"t is {t[i]} in row {rows[i] + 1} and again in row {rows[i + 1] + 1}"
    return f"t jumps from {t[i]} to {t[i + 1]} in row {rows[i + 1] + 1}: steps are missing"


def _order(table: pa.Table) -> Column | None:
    named = [name for name in table.column_names if name.lower() in _ELSEWHERE["t"]]
    return whole_numbers(named[0], table.column(named[0])) if len(named) == 1 else None


def _order_problem(order: Column, rows: NDArray[np.int64]) -> str | None:
    back = np.flatnonzero(np.diff(order.values[rows]) < 0)
    if not len(back):
        return None
    row, hint = rows[back[0] + 1] + 1, f"--columns t={order.name}"
    return f"its rows are not in the order of {order.name!r} (row {row}): give {hint}"


def _seed_problem(seed: Column, rows: NDArray[np.int64]) -> str | None:
    values, is_null = seed.values[rows], seed.is_null[rows]
    changed = np.flatnonzero((values != values[0]) | (is_null != is_null[0]))
    if not len(changed):
        return None
    first, other = ("null" if is_null[i] else values[i] for i in (0, changed[0]))
    return f"seed changes from {first} to {other} in row {rows[changed[0]] + 1}"


def _behaviors(column: Column, rows: NDArray[np.int64]) -> list[str]:
    """The behaviors' names; "" where there is none."""
    named = zip(column.values[rows], column.is_null[rows], strict=True)
    return ["" if is_null else str(value) for value, is_null in named]


def _observations(
    column: pa.ChunkedArray, rows: NDArray[np.int64]
) -> tuple[NDArray[Any] | None, str, str | None]:
    """Return bytes or lists as one array, (T, numbers); or what they are; or what is wrong."""
    kind = column.type
    if pa.types.is_null(kind) or column.null_count == len(column):
        return None, "", None
    if column.null_count:
        row = int(rows[np.asarray(column.is_null().to_numpy(), np.bool_)].min())
        return None, "", f"observation is null in row {row + 1}"
    if pa.types.is_struct(kind):
        return None, f"dicts of {', '.join(field.name for field in kind)}", None
    values = column.to_pylist()
    if pa.types.is_binary(kind) or pa.types.is_fixed_size_binary(kind):
        arrays = [np.frombuffer(value, np.uint8) for value in values]
    elif isinstance(values[0], list):
        try:
            arrays = [np.asarray(value) for value in values]
        except ValueError:
            return None, "lists of different lengths", None
    else:
        return None, f"of type {kind}", None
    sizes = np.array([array.size for array in arrays])
    if (sizes != sizes[0]).any():
        i = int(np.flatnonzero(sizes != sizes[0])[0])
        problem = (
            f"observation of row {rows[i] + 1} has {sizes[i]} numbers, that of row "
            f"{rows[0] + 1} has {sizes[0]}"
        )
        return None, "", problem
    return np.stack([array.reshape(-1) for array in arrays]), "", None


def _select(table: pa.Table, path: Path, columns: Mapping[str, str]) -> dict[str, pa.ChunkedArray]:
    """Return the columns that are used, under our names."""
    columns = {_EARLIER.get(ours, ours): theirs for ours, theirs in columns.items()}
    unknown = sorted(set(columns) - {*REQUIRED, *OPTIONAL})
    if unknown:
        accepted = ", ".join((*REQUIRED, *OPTIONAL))
        raise DatasetError(f"{', '.join(unknown)} cannot be mapped; known are {accepted}")
    theirs = _column_names(table.schema)
    earlier = {new: old for old, new in _EARLIER.items() if old in theirs}
    defaults = {**earlier, **({"observation": _RECORD} if _has_records(table.schema) else {})}
    used = {ours: columns.get(ours, defaults.get(ours, ours)) for ours in (*REQUIRED, *OPTIONAL)}
    missing = [ours for ours in dict.fromkeys((*REQUIRED, *columns)) if used[ours] not in theirs]
    if missing:
        raise DatasetError(_columns_missing(path, missing, used, theirs))
    held = {ours: name for ours, name in used.items() if name in theirs}
    for name in held.values():
        if theirs.count(name) > 1:
            raise DatasetError(f"{path} has {theirs.count(name)} columns {name!r}; rename them")
    return {ours: _column(table, name) for ours, name in held.items()}


def _has_records(schema: pa.Schema) -> bool:
    if _RECORD not in schema.names:
        return False
    kind = schema.field(_RECORD).type
    return bool(pa.types.is_fixed_size_list(kind) and kind.value_type == pa.uint8())


def _column_names(schema: pa.Schema) -> list[str]:
    """Names of columns, and of the fields of structs as ``struct.field``."""
    found = list(schema.names)
    for field in schema:
        if pa.types.is_struct(field.type):
            nested = [f"{field.name}.{part.name}" for part in field.type]
            found += [name for name in nested if name not in schema.names]
    return found


def _column(table: pa.Table, name: str) -> pa.ChunkedArray:
    if name in table.column_names:
        return table.column(name)
    struct, _, field = next(
        (parts for parts in _splits(name) if parts[0] in table.column_names), (name, "", "")
    )
    return pc.struct_field(table.column(struct), [field])


def _splits(name: str) -> Iterator[tuple[str, str, str]]:
    parts = name.split(".")
    for i in range(1, len(parts)):
        yield ".".join(parts[:i]), ".", ".".join(parts[i:])


def _columns_missing(
    path: Path, missing: list[str], used: Mapping[str, str], theirs: list[str]
) -> str:
    lines, hints = [], []
    lower = {name.lower(): name for name in theirs if name not in used.values()}
    for ours in missing:
        known = [name for name in _ELSEWHERE.get(ours, ()) if name in lower]
        close = known or difflib.get_close_matches(used[ours].lower(), lower, n=1, cutoff=0.7)
        hint = f"{ours}={lower[close[0]]}" if close else ""
        lines.append(f"  no column {used[ours]!r} for {ours}")
        if hint:
            lines[-1] += f"; did you mean --columns {hint}?"
            hints.append(hint)
    for ours in OPTIONAL:  # whoever renames columns will want these, too
        if ours not in missing and used[ours] not in theirs:
            hints += [f"{ours}={lower[n]}" for n in _ELSEWHERE.get(ours, ()) if n in lower][:1]
    if len(hints) > 1:
        lines.append(f"  try: --columns {' '.join(hints)}")
    ends = [name for name in theirs if name.lower() in _ENDS]
    if ends and {"terminated", "truncated"} & set(missing):
        lines.append(
            f"  {ends[0]!r} does not say how an episode ended: add columns for terminated (by the "
            "task) and truncated (by the time limit)"
        )
    return "\n".join([f"{path} does not fit:", *lines, f"  it has: {', '.join(theirs)}"])
