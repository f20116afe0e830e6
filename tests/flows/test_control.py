"""`teach --evaluate.control`: the same student without an LLM, in the same run's table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import llm4teach as lt
from llm4teach.datasets.runs import read_manifest
from llm4teach.datasets.workspace import Workspace
from llm4teach.envs.registry import get_task
from llm4teach.flows.runtime.settings import Settings
from llm4teach.flows.stages import pipeline
from llm4teach.flows.stages.checkpoints import newest_student
from llm4teach.flows.stages.pipeline import Hooks
from llm4teach.flows.teach import teach

SMALL: dict[str, Any] = {
    "teacher": {"teacher": "recorded/vicuna-33b"},
    "collect": {"steps": 320, "rounds": 1},
    "pretrain": {"epochs": 2},
    "finetune": {"steps": 512, "n_envs": 8, "rollout_length": 32},
    "evaluate": {"episodes": 6, "control": True},
}


def settings(folder: Path, **sections: Any) -> Settings:
    return Settings(**{**SMALL, **sections, "workspace": str(folder)})


@pytest.mark.extended
def test_the_control_has_the_same_steps_and_no_llm(tmp_path: Path) -> None:
    result = teach.fn(settings(tmp_path))
    workspace = Workspace(tmp_path)
    rows = {(row["policy"], row["mode"]): row for row in result["table"]}
    assert rows["no-llm", "sampled"]["episodes"] == rows["no-llm", "greedy"]["episodes"] == 6

    mine, controls = (read_manifest(workspace.run(result[n])) for n in ("run_id", "control_run"))
    assert controls["kind"] == "control"
    assert controls["config"]["teacher"]["teacher"] == "none"
    assert controls["config"]["seed"] == mine["config"]["seed"]
    for name in ("collect_steps", "finetune_steps"):
        assert controls["results"][name] == mine["results"][name]
    assert controls["results"]["prompt_tokens"] == 0

    assert newest_student(workspace, get_task("SimpleDoorKey")) == result["run_id"]
    assert workspace.newest_run() == result["run_id"]
    assert lt.load_student(workspace=str(tmp_path)).facts["run_id"] == result["run_id"]


@pytest.mark.extended
@pytest.mark.parametrize("last", ["collect", "finetune"])  # stage that is not reached
def test_a_killed_control_resumes_with_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: str
) -> None:
    whole = teach.fn(settings(tmp_path / "whole"))

    run_pipeline = pipeline.run_pipeline

    def killed(ctx: Any, stages: Any, hooks: Any) -> None:
        def run_stage(name: str, work: Callable[[], Any]) -> None:
            if name == last:
                raise KeyboardInterrupt
            work()

        run_pipeline(ctx, stages, Hooks(run_stage))

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(pipeline, "run_pipeline", killed)
        teach.fn(settings(tmp_path / "cut"))
    workspace = Workspace(tmp_path / "cut")
    (run_id,) = workspace.run_ids(controls=False)
    resumed = teach.fn(settings(tmp_path / "cut"), resume=run_id)
    assert len(workspace.run_ids()) == 2
    assert resumed["table"] == whole["table"]


def test_without_it_nothing_more_is_trained(tmp_path: Path) -> None:
    result = teach.fn(settings(tmp_path, evaluate={"episodes": 2}))
    assert "control_run" not in result
    assert "no-llm" not in {row["policy"] for row in result["table"]}
