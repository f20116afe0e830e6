"""The advice store at scale: seconds and peak memory of `commit` and `missing`.

    python benchmarks/advice_store.py
    python benchmarks/advice_store.py --stored 1000000 --rows 100000

Writes rows with a reply of 200 characters each to a temporary folder (about 2 GB at full size),
then, each in a process of its own: commits --rows rows, asks which of --rows keys a store of
--stored rows lacks, half of which it has (first with nothing read yet, then again), and looks up
64 states.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from llm4teach.datasets import schema
from llm4teach.datasets.advice_store import AdviceStore

IDENTITY = ("openai/some/model@main/sampling/n=10,temperature=1,seed=0,max_tokens=200", "a1b2c3d4")
SET_BY_THE_STORE = ("teacher_id", "prompt_version", "created_at")


def keys_of(first: int, count: int) -> list[str]:
    """Distinct keys that lie anywhere among the 64-bit numbers, as hashes do."""
    numbers = np.arange(first, first + count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return [f"{number:016x}" for number in numbers.tolist()]


def row(key: str) -> dict[str, Any]:
    """One answer of about the size that sampling gives."""
    plans = [("go to key > pick up key", 0.7), ("explore", 0.3)]
    return {
        "state_key": key,
        "state_text": f"Agent sees <key>, <door>, holds <nothing>. It is in room {key}.",
        "status": "ok",
        "options": [{"plan": plan, "probability": p} for plan, p in plans],
        "entropy": 0.61,
        "coverage": 1.0,
        "method": "sampling",
        "n_samples": 10,
        "replies": [f"1. The key opens the door {key}. " * 4 + "3. Action: {go to <key>}"],
        "model": "some/model",
        "model_revision": "main",
        "prompt_tokens": 400,
        "completion_tokens": 600,
        "latency_s": 1.5,
        "cost": 0.001,
    }


def batch(first: int, count: int) -> pa.Table:
    """The same as one Arrow table."""
    names = [name for name in schema.ADVICE.names if name not in SET_BY_THE_STORE]
    kept = pa.schema([schema.ADVICE.field(name) for name in names])
    return pa.Table.from_pylist([row(key) for key in keys_of(first, count)], schema=kept)


def fill(folder: Path, stored: int) -> Iterator[str]:
    store = AdviceStore(folder, *IDENTITY)
    for first in range(0, stored, 100_000):
        store.commit(batch(first, min(100_000, stored - first)))
    yield f"{stored:,} rows stored, in {len(list(folder.glob('part-*')))} parts"


def commit_rows(folder: Path, rows: int) -> Iterator[str]:
    """In batches of 2,000 Python rows, as labeling does."""
    store, seconds = AdviceStore(folder / "rows", *IDENTITY), 0.0
    for first in range(0, rows, 2_000):
        made = [row(key) for key in keys_of(first, min(2_000, rows - first))]
        began = time.perf_counter()
        store.commit(made)
        seconds += time.perf_counter() - began
    yield f"commit of {rows:,} rows, 2,000 at a time: {seconds:.1f} s"


def commit_table(folder: Path, rows: int) -> Iterator[str]:
    store, made = AdviceStore(folder / "table", *IDENTITY), batch(0, rows)
    began = time.perf_counter()
    store.commit(made)
    yield f"commit of {rows:,} rows as one table: {time.perf_counter() - began:.1f} s"


def missing(folder: Path, stored: int, rows: int) -> Iterator[str]:
    asked = keys_of(stored - rows // 2, rows)
    store = AdviceStore(folder, *IDENTITY)
    for how in ("nothing read yet", "again"):
        began = time.perf_counter()
        found = store.missing(asked)
        seconds = time.perf_counter() - began
        assert len(found) == rows - rows // 2
        yield f"missing() of {rows:,} keys against {stored:,} rows, {how}: {seconds:.2f} s"


def lookup(folder: Path, stored: int) -> Iterator[str]:
    store = AdviceStore(folder, *IDENTITY)
    store.refresh()
    rng = np.random.default_rng(0)
    asked = [keys_of(int(i), 1)[0] for i in rng.integers(0, stored, 64)]
    for how in ("nothing read yet", "again"):
        began = time.perf_counter()
        assert len(store.lookup(asked, ["options"])) == len(set(asked))
        yield f"lookup of 64 states, {how}: {time.perf_counter() - began:.2f} s"


def measured(call: Callable[..., Iterator[str]], *arguments: Any) -> None:
    """Run in a fresh process and print what it measured, with its peak memory."""
    process = multiprocessing.get_context("spawn").Process(target=_report, args=(call, *arguments))
    process.start()
    process.join()


def _report(call: Callable[..., Iterator[str]], *arguments: Any) -> None:
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for line in call(*arguments):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # MiB, on Linux
        print(f"{line}; peak {peak:,.0f} MiB (imports: {base:,.0f})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stored", type=int, default=10_000_000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        stored = Path(folder) / "stored"
        measured(fill, stored, given.stored)
        measured(commit_rows, Path(folder), given.rows)
        measured(commit_table, Path(folder), given.rows)
        measured(missing, stored, given.stored, given.rows)
        measured(lookup, stored, given.stored)


if __name__ == "__main__":
    main()
