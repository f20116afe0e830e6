"""Episodes are read one after the other, whatever parts their steps are in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm4teach.datasets import episodes
from llm4teach.datasets.compaction import compact_folder
from llm4teach.datasets.episodes import count_steps, episodes_of, runs_with_steps
from llm4teach.datasets.storage.parquet import part_paths
from llm4teach.datasets.trajectories import read_steps, write_steps
from llm4teach.datasets.workspace import Workspace
from llm4teach.errors import DatasetError

SHAPE = (2, 3)
RUN = "collect-20261101-000000-000000-0000"


def store(folder: Path, lengths: list[int], n_envs: int, part: int) -> None:
    """Write episodes of these lengths as environments side by side would."""
    rng = np.random.default_rng(0)
    waiting = [(i, n) for i, n in enumerate(lengths)]
    running = [[*waiting.pop(0), 0] for _ in range(min(n_envs, len(waiting)))]
    rows: list[tuple[int, int]] = []
    while running:
        for slot in list(running):
            episode, length, t = slot
            rows.append((episode, t))
            slot[2] += 1
            if slot[2] == length:
                running.remove(slot)
                if waiting:
                    running.append([*waiting.pop(0), 0])
    for start in range(0, len(rows), part):
        ids, t = np.array(rows[start : start + part]).T
        n = len(ids)
        columns = {
            "run_id": [RUN] * n,
            "episode_id": ids,
            "t": t,
            "seed": ids + 100,
            "state_key": [f"{i}" for i in ids],
            "state_text": [f"at {step}" for step in t],
            "action": rng.integers(0, 5, n),
            "reward": rng.random(n),
            "terminated": np.zeros(n, bool),
            "truncated": np.zeros(n, bool),
            "behavior": ["student"] * n,
            "action_logprob": rng.random(n),
        }
        write_steps(folder, columns, rng.integers(0, 256, (n, *SHAPE), np.uint8))


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=12),
    n_envs=st.integers(1, 5),
    part=st.integers(4, 30),
    batch=st.integers(1, 30),
    compacts=st.booleans(),
)
def test_every_step_is_in_its_episode(
    lengths: list[int],
    n_envs: int,
    part: int,
    batch: int,
    compacts: bool,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path_factory.mktemp("steps")
    store(folder, lengths, n_envs, part)
    expected = read_steps(folder, SHAPE)
    if compacts:
        compact_folder(folder, "trajectories", grace_s=0)
    monkeypatch.setattr(episodes, "_BATCH", batch)
    found = list(episodes_of(folder, RUN, SHAPE))
    assert [(e.episode_id, len(e.table)) for e in found] == list(enumerate(lengths))
    observations = np.concatenate([episode.observations for episode in found])
    np.testing.assert_array_equal(observations, expected.observations)
    for name in ("episode_id", "t", "seed", "action", "reward", "action_logprob", "state_text"):
        ours = np.concatenate([episode.table.column(name).to_numpy() for episode in found])
        np.testing.assert_array_equal(ours, expected.column(name))


def test_no_more_than_the_running_episodes_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parts' names are random, but they are read in the order of collection."""
    store(tmp_path, [10] * 60, 4, 16)
    monkeypatch.setattr(episodes, "_BATCH", 16)
    most, read = 0, 0
    plain = episodes.read_batches

    def counted(*arguments: object) -> object:
        nonlocal read
        for batch in plain(*arguments):  # type: ignore[arg-type]
            read += len(batch)
            yield batch

    monkeypatch.setattr(episodes, "read_batches", counted)
    returned = 0
    for episode in episodes_of(tmp_path, RUN, SHAPE):
        most = max(most, read - returned)
        returned += len(episode.table)
    assert returned == 600 and most <= 4 * 10 + 16


def test_a_missing_part_and_other_shapes_are_reported(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    folder = tmp_path / "trajectories" / "task=Toy" / f"run={RUN}"
    store(folder, [10] * 6, 2, 16)
    assert runs_with_steps(workspace, "Toy") == [RUN]
    assert count_steps(workspace, "Toy", [RUN], SHAPE) == 60
    with pytest.raises(DatasetError, match=rf"\(3, 2\), but {RUN} has \(2,3\)"):
        count_steps(workspace, "Toy", [RUN], (3, 2))
    with pytest.raises(DatasetError, match="have the shape"):
        count_steps(workspace, "Toy", [RUN], (4,))
    first = next(p for p in part_paths(folder) if pq.read_table(p)["t"][0].as_py() == 0)
    first.unlink()
    with pytest.raises(DatasetError, match="a part of its trajectories is missing"):
        list(episodes_of(folder, RUN, SHAPE))
    part_paths(folder)[0].write_bytes(b"PAR1")
    with pytest.raises(DatasetError, match="not a readable Parquet file"):
        count_steps(workspace, "Toy", [RUN], SHAPE)
