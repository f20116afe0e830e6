"""Labeling processes that are killed at random moments lose nothing and ask little twice."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import labeling_children
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from counting_server import counting_server

from llm4teach.datasets.storage.parquet import flat_part_names


def kill(folder: Path, kills: int, n_states: int, *url: str) -> None:
    command = [sys.executable, labeling_children.__file__, str(folder), str(n_states)]
    subprocess.run([*command, str(kills), "0", *url], check=True, timeout=1500)


def check(folder: Path, n_states: int, in_flight: int) -> None:
    """One whole row a state; asked again at most so many of what a killed process had asked."""
    states = labeling_children.made_up_states(n_states)
    advice = folder / "advice"
    parts = [pq.read_table(advice / name) for name in flat_part_names(advice)]
    raw = pa.concat_tables(parts)  # as it lies on the disk, before any reader tidies up
    assert sorted(raw["state_key"].to_pylist()) == sorted(state.key for state in states)
    for row in raw.to_pylist():
        assert f"reply to {row['state_key']}" in row["replies"][0] and row["status"] == "ok"
    leftovers = [p for p in advice.rglob("*") if p.suffix in (".tmp", ".jsonl")]
    assert not leftovers

    killed = {int(pid) for pid in (folder / "killed.log").read_text().split()}
    assert killed
    asked = [tuple(line.split()) for line in (folder / "asked.log").read_text().splitlines()]
    assert len(set(asked)) == len(asked), "a process asked one state twice"
    answered_by = {key: pid for pid, key in asked}  # the last to ask
    assert set(answered_by) == {state.key for state in states}
    lost = Counter(int(pid) for pid, key in asked if answered_by[key] != pid)
    assert set(lost) <= killed and max(lost.values(), default=0) <= in_flight
    again = lost.total()
    print(f"{len(killed)} kills, {n_states} states, {again} asked again, {len(parts)} parts")


@pytest.mark.extended
@pytest.mark.parametrize(
    ("kills", "n_states"), [(40, 6_000), pytest.param(300, 40_000, marks=pytest.mark.slow)]
)
def test_killed_at_random_moments(tmp_path: Path, kills: int, n_states: int) -> None:
    kill(tmp_path, kills, n_states)
    check(tmp_path, n_states, labeling_children.IN_FLIGHT)


@pytest.mark.extended
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("kills", "n_states"), [(20, 6_000), pytest.param(250, 20_000, marks=pytest.mark.slow)]
)
def test_killed_while_a_server_answers(tmp_path: Path, kills: int, n_states: int) -> None:
    """Over real sockets. In flight is what has been asked and is not in the journal yet: beside
    what is on the wire, as many answers that are on their way to it."""
    with counting_server(tmp_path / "asked.log") as url:
        kill(tmp_path, kills, n_states, url)
    check(tmp_path, n_states, 2 * labeling_children.IN_FLIGHT)
