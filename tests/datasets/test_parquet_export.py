"""Exported Parquet holds exactly what it was given, in bounded row groups and files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm4teach.datasets.exporters import parquet_files
from llm4teach.datasets.exporters.episode import AdvisedEpisode, Layout
from llm4teach.datasets.exporters.parquet_files import ParquetWriter, steps_schema

PLANS = ("explore", "go to key", "open door")


def random_episode(
    rng: np.random.Generator, layout: Layout, n: int, final: bool, number: int
) -> AdvisedEpisode:
    length, n_actions = n + final, len(layout.action_names)
    plan_probs = rng.random((length, len(layout.plans))) * rng.integers(0, 2, (length, 1))
    plan_probs[plan_probs < 0.3] = 0
    return AdvisedEpisode(
        run_id=f"run-{number % 2}",
        number=number,
        seed=None if rng.random() < 0.3 else int(rng.integers(1 << 40)),
        actions=rng.integers(0, n_actions, n).astype(np.int8),
        rewards=rng.standard_normal(n).astype(np.float32),
        terminated=np.arange(n) == n - 1,
        truncated=np.zeros(n, np.bool_),
        behaviors=[str(rng.choice(["student", "noise", "option: go to key"])) for _ in range(n)],
        action_logprobs=np.where(rng.random(n) < 0.5, np.nan, -rng.random(n)).astype(np.float32),
        observations=rng.integers(0, 256, (length, *layout.observation_shape), np.uint8),
        records=None
        if layout.record_shape is None
        else rng.integers(0, 256, (length, *layout.record_shape), np.uint8),
        state_keys=[f"{rng.integers(9):016x}" for _ in range(length)],
        state_texts=["a key, \"here\" | 'ñ'\n"] * length,
        plan_probs=plan_probs,
        teacher_probs=rng.random((length, n_actions)).astype(np.float32),
    )


def joined(episodes: list[AdvisedEpisode], name: str) -> np.ndarray:
    return np.concatenate([getattr(e, name)[: len(e)] for e in episodes])


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=8),
    shapes=st.sampled_from([((3,), None), ((2, 2, 3), (5,)), ((1,), (2, 2))]),
    plans=st.integers(0, 3),
    group=st.integers(1, 3_000),
    file=st.integers(1, 6_000),
    seed=st.integers(0, 99),
)
def test_random_episodes_come_back(
    lengths: list[int],
    shapes: Any,
    plans: int,
    group: int,
    file: int,
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, rng = tmp_path_factory.mktemp("export"), np.random.default_rng(seed)
    layout = Layout(*shapes, action_names=("left", "right", "wait"), plans=PLANS[:plans])
    episodes = [
        random_episode(rng, layout, n, bool(rng.integers(2)), i) for i, n in enumerate(lengths)
    ]
    monkeypatch.setattr(parquet_files, "ROW_GROUP_BYTES", group)
    monkeypatch.setattr(parquet_files, "FILE_BYTES", file)
    writer = ParquetWriter(folder, layout)
    writer.write(episodes[:2])
    writer.write(episodes[2:])
    writer.close()

    table = pq.read_table(folder / "data")
    assert table.schema.equals(steps_schema(layout))
    n = sum(lengths)
    assert len(table) == n
    expected = {
        "episode_id": np.repeat(np.arange(len(lengths)), lengths),
        "t": np.concatenate([np.arange(k) for k in lengths]),
        "run_episode_id": np.repeat(np.arange(len(lengths)), lengths),
        "action": joined(episodes, "actions"),
        "reward": joined(episodes, "rewards"),
        "terminated": joined(episodes, "terminated"),
        "truncated": joined(episodes, "truncated"),
        "action_logprob": joined(episodes, "action_logprobs"),
        "has_advice": joined(episodes, "plan_probs").any(1),
    }
    for name, values in expected.items():
        np.testing.assert_array_equal(table.column(name).to_numpy(), values, name)
    assert table.column("seed").to_pylist() == [e.seed for e in episodes for _ in range(len(e))]
    for name, field in (("behavior", "behaviors"), ("state_key", "state_keys")):
        values = [value for e in episodes for value in getattr(e, field)[: len(e)]]
        assert table.column(name).to_pylist() == values
    arrays = [("observation", "observations"), ("teacher_probs", "teacher_probs")]
    arrays += [("record", "records")] if layout.record_shape else []
    for name, field in arrays:
        values = joined(episodes, field).reshape(n, -1)
        found = np.array(table.column(name).to_pylist(), values.dtype)
        np.testing.assert_array_equal(found, values)
    finals = table.column("final_observation").to_pylist()
    ends = np.cumsum(lengths) - 1
    for i, final in enumerate(finals):
        episode = episodes[int(np.searchsorted(ends, i))]
        if i in ends and episode.has_final:
            np.testing.assert_array_equal(final, episode.observations[-1].ravel())
        else:
            assert final is None
    for row, probs in zip(
        table.column("advice").to_pylist(), joined(episodes, "plan_probs"), strict=True
    ):
        assert {o["plan"]: o["probability"] for o in row} == {
            plan: p for plan, p in zip(layout.plans, probs.tolist(), strict=True) if p
        }
        shares = [option["probability"] for option in row]
        assert shares == sorted(shares, reverse=True)
    files = sorted((folder / "data").glob("steps-*.parquet"))
    longest = max(lengths)
    for path in files:
        metadata = pq.ParquetFile(path).metadata
        for i in range(metadata.num_row_groups):
            assert metadata.row_group(i).num_rows <= longest + group  # a row has a byte at least
    query = f"SELECT count(*), sum(len(advice)), sum(observation[1]) FROM '{folder}/data/*.parquet'"
    counts = duckdb.sql(query).fetchall()
    first = int(joined(episodes, "observations").reshape(n, -1)[:, 0].sum())
    assert counts == [(n, int(np.count_nonzero(joined(episodes, "plan_probs"))), first)]


def test_large_exports_have_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout((30,), None, ("left", "right"), PLANS)
    monkeypatch.setattr(parquet_files, "ROW_GROUP_BYTES", 4_000)
    monkeypatch.setattr(parquet_files, "FILE_BYTES", 20_000)
    rng = np.random.default_rng(0)
    writer = ParquetWriter(tmp_path, layout)
    for i in range(40):
        writer.write([random_episode(rng, layout, 10, True, i)])
    writer.close()
    files = sorted(path.name for path in (tmp_path / "data").iterdir())
    assert len(files) > 2 and files[:2] == ["steps-00000.parquet", "steps-00001.parquet"]
    ids = pq.read_table(tmp_path / "data").column("episode_id").to_numpy()
    np.testing.assert_array_equal(ids, np.repeat(np.arange(40), 10))
