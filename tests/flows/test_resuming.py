"""Resuming: a run resumes only as what it is, and with the settings that are stored with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llm4teach.datasets.runs import Run
from llm4teach.datasets.workspace import Workspace
from llm4teach.errors import ConfigError, DatasetError
from llm4teach.flows.cli.main import main
from llm4teach.flows.finetune_student import finetune_student
from llm4teach.flows.runtime.settings import Settings
from llm4teach.flows.stages.run_settings import (
    SECTIONS,
    check_resumed,
    overridden,
    resumed_settings,
)
from llm4teach.student.config import FinetuneConfig
from llm4teach.teacher_labeling.config import TeacherConfig

TEACHER = TeacherConfig(teacher="recorded/vicuna-33b")


def started(workspace: Path, kind: str, **changes: Any) -> str:
    """The id of an unfinished run of this kind."""
    settings = Settings(teacher=TEACHER, **changes).model_dump(mode="json")
    names = ("task", "teacher", "seed", *SECTIONS.get(kind, ()))
    run = Run(Workspace(workspace), f"{kind}-1", kind)
    run.start({name: settings[name] for name in names} | ({} if kind in SECTIONS else changes))
    run.note(task="SimpleDoorKey")
    return run.run_id


@pytest.mark.parametrize(
    ("kind", "hint"),
    [
        ("teach", "resume it with `llm4teach teach --resume teach-1`"),
        ("retrain", "resume it with `llm4teach retrain --resume retrain-1`"),
        ("collect", "repeat that command"),
    ],
)
def test_a_run_resumes_only_as_what_it_is(
    kind: str, hint: str, own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = started(own_folder, kind)
    before = sorted(own_folder.rglob("*"))
    assert main(["finetune", "--resume", run_id, "--workspace", str(own_folder)]) == 1
    shown = capsys.readouterr().err
    assert f"run {run_id} is no finetune run" in shown and hint in shown
    assert len(shown.splitlines()) == 1
    with pytest.raises(DatasetError, match=f"run {run_id} is no finetune run"):
        finetune_student.fn(Settings(workspace=str(own_folder)), resume=run_id)
    assert sorted(own_folder.rglob("*")) == before, "nothing is written"


def test_a_flag_that_contradicts_a_resumed_run_is_an_error(
    own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = started(own_folder, "finetune", finetune=FinetuneConfig(steps=4096), seed=3)
    words = ["finetune", "--resume", run_id, "--workspace", str(own_folder)]
    for flags, named in (
        (["--finetune.steps", "8192"], "--finetune.steps is 8192"),
        (["--seed", "4"], "--seed is 4"),
        (["--teacher", "embedded"], "--teacher is embedded"),
    ):
        assert main([*words, *flags]) == 2
        shown = capsys.readouterr().err
        assert named in shown and f"run {run_id} was started with" in shown
        assert len(shown.splitlines()) == 1


def test_flags_that_say_the_same_or_are_not_stored_are_no_error(tmp_path: Path) -> None:
    run_id = started(tmp_path, "finetune", finetune=FinetuneConfig(steps=4096), seed=3)
    flags = {"finetune": {"steps": "4096"}, "seed": "3", "patience": {"retries": "9"}}
    now = overridden(Settings(workspace=str(tmp_path)), flags)
    stored = resumed_settings(now, "finetune", run_id)
    check_resumed(flags, stored, run_id)
    assert (stored.finetune.steps, stored.seed, stored.patience.retries) == (4096, 3, 9)
    assert stored.teacher == TEACHER, "that of the run"


def test_overrides_are_nested_and_checked() -> None:
    settings = Settings(seed=5, finetune=FinetuneConfig(epochs=3))
    changed = overridden(settings, {"task": "LavaDoorKey", "finetune": {"clip": 0.3}})
    assert (changed.task, changed.seed) == ("LavaDoorKey", 5)
    assert (changed.finetune.clip, changed.finetune.epochs) == (0.3, 3)
    assert overridden(settings, None) is settings
    with pytest.raises(ConfigError, match=r"overrides: finetune\.clip is -1"):
        overridden(settings, {"finetune": {"clip": -1}})
