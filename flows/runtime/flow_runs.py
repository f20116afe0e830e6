"""The flow run that code is part of, and the run that it resumes after its worker died."""

from __future__ import annotations

from llm4teach.datasets.runs import MANIFEST, PROGRESS
from llm4teach.datasets.storage.parquet import read_json
from llm4teach.datasets.workspace import Workspace
from llm4teach.errors import DatasetError
from llm4teach.flows.runtime.prefect_env import has_own_server


def own_flow_run() -> str | None:
    """Id of the flow run that this code is part of; None outside, or with a temporary server."""
    if not has_own_server():
        return None
    from prefect.runtime import flow_run

    run_id: str | None = flow_run.id
    return run_id


def runs_again() -> bool:
    """Whether the flow run that this code is part of has been running before.

    After its worker died, or by "Retry" in the UI.
    """
    from prefect.runtime import flow_run

    return (flow_run.run_count or 0) > 1


def begun_by(workspace: Workspace, flow_run: str | None) -> str | None:
    """The unfinished run of the workspace that this flow run has started; None if there is none."""
    if flow_run is None:
        return None
    for run_id in reversed(workspace.run_ids()):
        folder = workspace.run(run_id)
        try:
            is_ours = read_json(folder / PROGRESS).get("flow_run_id") == flow_run
        except DatasetError:  # of a run that died before it noted anything
            continue
        if is_ours and not (folder / MANIFEST).exists():
            return run_id
    return None
