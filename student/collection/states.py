"""The distinct states of trajectories: stored when they are collected, read by later stages."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from llm4teach.datasets.storage.paths import StoragePath
from llm4teach.datasets.trajectories import (
    StoredState,
    Trajectories,
    distinct_states,
    read_states,
    states_table,
    write_states,
)
from llm4teach.envs.plan import named_plan
from llm4teach.envs.task import State, Task, describe


class StateTable:
    """The table of distinct states beside one folder's parts.

    Args:
        folder: of the parts; states that are stored there already are kept.
    """

    def __init__(self, folder: StoragePath) -> None:
        self._folder = folder
        self._table: pa.Table | None = None  # read when the first state is added
        self._keys: set[str] = set()  # of its rows

    def add(self, states: Iterable[State]) -> None:
        """Store the states that are new, before the part that refers to them becomes visible."""
        if self._table is None:
            self._table = states_table(read_states(self._folder))
            self._keys = set(self._table.column("state_key").to_pylist())
        new = {
            state.key: StoredState(state.text, tuple(map(str, state.options)))
            for state in states
            if state.key not in self._keys
        }
        if new:
            self._table = pa.concat_tables([self._table, states_table(new)])
            self._keys.update(new)
            write_states(self._folder, self._table)


def states_of(task: Task, trajectories: Trajectories) -> list[State]:
    """Return the distinct states of trajectories, each once, in the order of their observations.

    They are read from the tables beside the parts. States that no table has, as in trajectories of
    version 0.1, are described from an observation.
    """
    keys, observations = distinct_states(trajectories)
    missing = [i for i, key in enumerate(keys) if key not in trajectories.states]
    described = iter(describe(task, observations[missing]) if missing else [])
    return [
        _state(key, trajectories.states[key]) if key in trajectories.states else next(described)
        for key in keys
    ]


def _state(key: str, stored: StoredState) -> State:
    return State(key, stored.text, tuple(map(named_plan, stored.plans)))
