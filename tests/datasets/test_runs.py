"""Runs: several stages write one run in turn; the manifest makes it complete."""

import pytest

from llm4teach.datasets import schema
from llm4teach.datasets.runs import METRICS, Run, read_config, read_manifest
from llm4teach.datasets.storage.parquet import read_parquet
from llm4teach.datasets.storage.paths import StoragePath
from llm4teach.datasets.workspace import DatasetError, Workspace


def test_stages_share_a_run(folder: StoragePath) -> None:
    workspace = Workspace(folder)
    owner = Run(workspace, "teach-1", "teach")
    owner.start({"task": "T"})
    with pytest.raises(DatasetError, match="unfinished"):
        read_manifest(owner.folder)
    for _ in range(2):
        stage = Run(workspace, "teach-1", "teach")
        stage.count(questions=3)
        stage.note(task="T")
        stage.log("finetune", 64, {"kl": 0.5, "entropy": 1})
        stage.flush()
    owner.finish()
    manifest = read_manifest(owner.folder)
    assert manifest["results"] == {"questions": 6, "task": "T"}
    assert manifest["config"] == read_config(owner.folder) == {"task": "T"}
    assert manifest["versions"]["torch"]
    assert read_parquet(owner.folder / METRICS, schema.METRICS).num_rows == 4


def test_forgetting_what_came_after_a_checkpoint(folder: StoragePath) -> None:
    run = Run(Workspace(folder), "r", "finetune")
    run.start({})
    for step in (10, 20, 30):
        run.log("finetune", step, {"kl": 0})
        run.log("collect", step, {"kl": 0})
    run.flush()
    run.forget_after("finetune", 20)
    table = read_parquet(run.folder / METRICS, schema.METRICS).to_pylist()
    steps = [(row["stage"], row["step"]) for row in table]
    assert ("finetune", 30) not in steps and ("finetune", 20) in steps and ("collect", 30) in steps


def test_a_run_that_failed_at_once_leaves_nothing(folder: StoragePath) -> None:
    workspace = Workspace(folder)
    for name in ("label-1", "finetune-1"):
        Run(workspace, name, "x").start({})
    Run(workspace, "finetune-1", "x").flush()  # has measured something: kept
    for name in ("label-1", "finetune-1"):
        Run(workspace, name, "x").discard_if_empty()
    assert workspace.run_ids() == ["finetune-1"]
