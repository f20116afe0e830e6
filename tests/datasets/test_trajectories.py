"""Trajectories: what was written comes back, in order, without a copy of another shape."""

from typing import Any

import numpy as np
import pytest

from llm4teach.datasets import schema
from llm4teach.datasets.storage.parquet import read_parquet, write_parquet
from llm4teach.datasets.storage.paths import StoragePath
from llm4teach.datasets.trajectories import distinct_states, read_steps, write_steps
from llm4teach.errors import DatasetError

SHAPE = (10, 10, 4)


def steps(n: int, run: str, episode: int) -> dict[str, Any]:
    return {
        "run_id": [run] * n,
        "episode_id": [episode] * n,
        "t": np.arange(n),
        "seed": [3] * n,
        "state_key": [f"k{i % 2}" for i in range(n)],
        "state_text": ["text"] * n,
        "action": np.arange(n) % 7,
        "reward": np.linspace(0, 1, n),
        "terminated": [False] * n,
        "truncated": [False] * (n - 1) + [True],
        "behavior": ["noise"] * n,
        "action_logprob": np.zeros(n),
    }


def test_round_trip_in_order(folder: StoragePath) -> None:
    rng = np.random.default_rng(0)
    later, earlier = (rng.integers(0, 255, (n, *SHAPE), np.uint8) for n in (5, 4))
    write_steps(folder / "run=b", steps(5, "b", 0), later)
    write_steps(folder / "run=a", steps(4, "a", 1), earlier)
    stored = read_steps(folder, SHAPE)
    np.testing.assert_array_equal(stored.observations, np.concatenate([earlier, later]))
    assert stored.column("run_id").tolist() == ["a"] * 4 + ["b"] * 5
    assert stored.column("t").tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 4]
    assert stored.column("truncated").sum() == 2
    keys, observations = distinct_states(stored)
    np.testing.assert_array_equal(observations, earlier[:2])
    assert keys == list(dict.fromkeys(stored.column("state_key")))


def test_none_or_of_another_shape(folder: StoragePath) -> None:
    with pytest.raises(DatasetError, match="no trajectories"):
        read_steps(folder, SHAPE)
    write_steps(folder, steps(2, "a", 0), np.zeros((2, 5, 5, 4), np.uint8))
    with pytest.raises(DatasetError, match="another shape"):
        read_steps(folder, SHAPE)


def test_the_earlier_name_of_a_column_is_read(folder: StoragePath) -> None:
    path = write_steps(folder, steps(4, "a", 0), np.zeros((4, *SHAPE), np.uint8))
    kind = schema.trajectories(SHAPE)
    table = read_parquet(path, kind)
    old = [name if name != "behavior" else "behaviour" for name in table.column_names]
    write_parquet(path, table.rename_columns(old))
    assert set(read_steps(folder, SHAPE).column("behavior")) == {"noise"}
    assert read_parquet(path, kind, ["behavior"]).column_names == ["behavior"]
