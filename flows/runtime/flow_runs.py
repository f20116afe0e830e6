"""Unfinished runs taken up again: by their id, or by the flow run whose worker died."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from llm4teach.datasets.runs import MANIFEST, PROGRESS, read_config
from llm4teach.datasets.storage.parquet import read_json
from llm4teach.datasets.workspace import DatasetError, Workspace
from llm4teach.flows.runtime.prefect_env import has_own_server
from llm4teach.student.config import (
    CollectConfig,
    EvaluateConfig,
    FinetuneConfig,
    PretrainConfig,
    RetrainConfig,
)
from llm4teach.teacher_labeling.config import LabelConfig, LiveConfig, TeacherConfig

_SECTIONS: dict[str, type[BaseModel]] = {
    "teacher": TeacherConfig,
    "label": LabelConfig,
    "live": LiveConfig,
    "collect": CollectConfig,
    "pretrain": PretrainConfig,
    "finetune": FinetuneConfig,
    "evaluate": EvaluateConfig,
    "retrain": RetrainConfig,
}


def resumed_settings(workspace: str, run_id: str) -> dict[str, Any]:
    """Return the settings that an unfinished run was started with, as the flows take them.

    Raises:
        DatasetError: there is no such run, or it is complete.
    """
    folder = Workspace(workspace).existing_run(run_id)
    if (folder / MANIFEST).exists():
        raise DatasetError(f"run {run_id} is complete; there is nothing to resume")
    config = read_config(folder)
    return {name: _SECTIONS[name](**v) if name in _SECTIONS else v for name, v in config.items()}


def own_flow_run() -> str | None:
    """Id of the flow run that this code is part of; None outside, or with a temporary server."""
    if not has_own_server():
        return None
    from prefect.runtime import flow_run

    found: str | None = flow_run.id
    return found


def runs_again() -> bool:
    """Whether the flow run or task run that this code is part of has been running before.

    A worker that died, a task's retry in the same process and "Retry" in the UI all count.
    """
    from prefect.runtime import flow_run, task_run

    return max(flow_run.run_count or 0, task_run.run_count or 0) > 1


def begun_by(workspace: Workspace, flow_run: str | None) -> str | None:
    """The unfinished run of the workspace that this flow run has opened; None if there is none."""
    if flow_run is None:
        return None
    for run_id in reversed(workspace.run_ids()):
        folder = workspace.run(run_id)
        try:
            mine = read_json(folder / PROGRESS).get("flow_run_id") == flow_run
        except DatasetError:  # of a run that died before it noted anything
            continue
        if mine and not (folder / MANIFEST).exists():
            return run_id
    return None
