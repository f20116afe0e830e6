"""Imports of episodes into a new workspace, and the cases to import."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llm4teach.datasets.trajectories import Trajectories, read_steps
from llm4teach.datasets.workspace import Workspace
from llm4teach.envs.registry import get_task
from llm4teach.errors import DatasetError
from llm4teach.flows.stages.import_episodes import import_episodes

CASES = Path(__file__).parents[1] / "flows" / "cases" / "imports"
TASK = get_task("SimpleDoorKey")


def imported(
    source: Path, folder: Path, columns: Mapping[str, str] | None = None, skip: bool = False
) -> Trajectories:
    """Import a source into a new workspace and return what was stored."""
    workspace = Workspace(folder / "workspace")
    import_episodes(workspace, TASK.name, str(source), columns or {}, skip)
    return read_steps(workspace.trajectories(TASK.name), TASK.observation_shape)


def rejected(
    source: Path, folder: Path, columns: Mapping[str, str] | None = None, skip: bool = False
) -> str:
    """Return why a source is rejected; nothing is stored then."""
    with pytest.raises(DatasetError) as error:
        imported(source, folder, columns, skip)
    assert not (folder / "workspace").exists()
    return str(error.value)


def ok(**columns: Any) -> pa.Table:
    """The three episodes of ok.parquet, with some columns replaced; None takes one away."""
    table = pq.read_table(CASES / "ok.parquet")
    for name, values in columns.items():
        if name in table.column_names:
            table = table.drop_columns([name])
        if values is not None:
            table = table.append_column(name, values)
    return table
