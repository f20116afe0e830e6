"""Labelling runs that are killed at random moments lose nothing and ask next to nothing twice."""

import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import labelling_children
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llm4teach.datasets.parts import flat_part_names


@pytest.mark.parametrize(
    ("kills", "n_states"), [(40, 4_000), pytest.param(300, 20_000, marks=pytest.mark.slow)]
)
def test_killed_at_random_moments(tmp_path: Path, kills: int, n_states: int) -> None:
    command = [sys.executable, labelling_children.__file__, str(tmp_path), str(n_states)]
    subprocess.run([*command, str(kills), "0"], check=True, timeout=300)

    states = labelling_children.made_up_states(n_states)
    store = labelling_children.store_in(tmp_path)
    parts = [pq.read_table(store.folder / name) for name in flat_part_names(store.folder)]
    raw = pa.concat_tables(parts)  # as it lies on the disk, before any reader tidies up
    assert sorted(raw["state_key"].to_pylist()) == sorted(state.key for state in states)
    for row in raw.to_pylist():
        assert row["replies"] == [f"reply to {row['state_key']}"] and row["status"] == "ok"
    leftovers = [p for p in store.folder.rglob("*") if p.suffix in (".tmp", ".jsonl", ".lease")]
    assert not leftovers and not store.missing(state.key for state in states)

    killed = {int(pid) for pid in (tmp_path / "killed.log").read_text().split()}
    assert len(killed) >= kills
    by_process: dict[int, list[str]] = defaultdict(list)
    for line in (tmp_path / "asked.log").read_text().splitlines():
        pid, key = line.split()
        by_process[int(pid)].append(key)
    times = Counter(key for keys in by_process.values() for key in keys)
    in_flight = Counter(
        key for pid in killed for key in by_process[pid][-labelling_children.IN_FLIGHT :]
    )
    assert set(times) == {state.key for state in states}
    assert all(times[key] <= 1 + in_flight[key] for key in times)
    again = sum(times.values()) - n_states
    assert len(by_process.keys() & killed) > kills / 3, "or hardly anything was interrupted"
    print(f"{len(killed)} kills, {n_states} states, {again} asked again, {len(parts)} parts")
