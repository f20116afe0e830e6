"""The table of distinct states beside trajectories: complete, read back, and not needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from llm4teach.datasets.compaction import compact_folder
from llm4teach.datasets.storage.parquet import part_paths
from llm4teach.datasets.storage.paths import StoragePath
from llm4teach.datasets.trajectories import STATES, Trajectories, read_states, read_steps
from llm4teach.envs.registry import get_task
from llm4teach.envs.seeds import training_seeds
from llm4teach.envs.task import State, describe
from llm4teach.student.collection import collect as collecting
from llm4teach.student.collection import states as states_module
from llm4teach.student.collection.behavior import PolicyBehavior
from llm4teach.student.collection.collect import Collector
from llm4teach.student.collection.states import StateTable, states_of
from llm4teach.student.policies import uniform_policy

TASK = get_task("ColoredDoorKey")


def collect(folder: StoragePath, steps: int, first: int = 0) -> Trajectories:
    collector = Collector(
        TASK,
        folder,
        "run",
        n_envs=4,
        action_epsilon=0.0,
        first_episode=first,
        seeds=training_seeds(first, "collect"),
        rng=np.random.default_rng(first),
    )
    collector.collect(steps, [(PolicyBehavior("random", uniform_policy(7)), 1.0)])
    return read_steps(folder, TASK.observation_shape)


def described(stored: Trajectories) -> list[State]:
    """The slow definition: every observation is described; distinct states in their order."""
    return list({state.key: state for state in describe(TASK, stored.observations)}.values())


def test_the_table_holds_what_describing_every_observation_gives(folder: StoragePath) -> None:
    stored = collect(folder, 800)
    assert states_of(TASK, stored) == described(stored)
    assert set(stored.states) == {state.key for state in described(stored)}


def test_nothing_is_described_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = collect(tmp_path, 400)
    wanted = described(stored)
    monkeypatch.delattr(states_module, "describe")
    assert states_of(TASK, stored) == wanted


def test_a_collection_that_goes_on_keeps_the_states_of_the_earlier_one(
    folder: StoragePath,
) -> None:
    before = collect(folder, 80)
    after = collect(folder, 800, first=100)
    assert set(before.states) < set(after.states)
    assert states_of(TASK, after) == described(after)


def test_killed_before_a_part_is_visible_the_table_has_its_states_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(collecting, "write_steps", killed)
        collect(tmp_path, 400)
    assert not part_paths(tmp_path) and read_states(tmp_path)
    stored = collect(tmp_path, 400)
    assert states_of(TASK, stored) == described(stored)


@pytest.mark.parametrize("lost", [True, False])
def test_states_that_no_table_has_are_described(tmp_path: Path, lost: bool) -> None:
    """As in trajectories of version 0.1, alone or beside newer ones."""
    collect(tmp_path / "run=old", 400)
    (tmp_path / "run=old" / STATES).unlink()
    if not lost:
        StateTable(tmp_path / "run=old").add(described(collect(tmp_path / "run=old", 8))[:1])
    stored = read_steps(tmp_path, TASK.observation_shape)
    assert len(stored.states) < len(states_of(TASK, stored))
    assert states_of(TASK, stored) == described(stored)


def test_compaction_leaves_the_table_alone(tmp_path: Path) -> None:
    folder = tmp_path / "trajectories" / "task=x" / "run=run"
    for first in (0, 100):
        collect(folder, 80, first)
    before = read_steps(folder, TASK.observation_shape)
    compact_folder(folder, "trajectories", grace_s=0)
    after = read_steps(folder, TASK.observation_shape)
    assert after.states == before.states and len(after) == len(before)
