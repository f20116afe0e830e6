"""Resuming: a run resumes only as what it is, and with the settings that are stored with it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from llm4teach.datasets.compaction import compact_workspace
from llm4teach.datasets.metrics import read_metrics
from llm4teach.datasets.runs import Run
from llm4teach.datasets.trajectories import COLLECTION, read_steps, write_steps
from llm4teach.datasets.workspace import Workspace
from llm4teach.errors import ConfigError, DatasetError
from llm4teach.flows.cli.main import main
from llm4teach.flows.finetune_student import finetune_student
from llm4teach.flows.runtime.settings import ScaleConfig, Settings
from llm4teach.flows.sharding import collect_shard
from llm4teach.flows.stages.collect import collect
from llm4teach.flows.stages.context import opened
from llm4teach.flows.stages.pipeline import Stages, run_pipeline
from llm4teach.flows.stages.run_settings import (
    SECTIONS,
    check_resumed,
    overridden,
    resumed_settings,
)
from llm4teach.student.collection import collect as collecting
from llm4teach.student.config import CollectConfig, FinetuneConfig, PretrainConfig
from llm4teach.teacher_labeling.config import TeacherConfig

TEACHER = TeacherConfig(teacher="recorded/vicuna-33b")
ROOT = Path(__file__).parents[2]
SHAPE = (10, 10, 4)  # of SimpleDoorKey's observations


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


def test_a_run_with_a_setting_that_is_gone_resumes(tmp_path: Path) -> None:
    run_id = started(tmp_path, "retrain")
    path = Workspace(tmp_path).run(run_id) / "config.json"
    content = json.loads(path.read_text())
    content["config"]["retrain"] |= {"gate_lead": 0.5, "confidence": 0.9}
    path.write_text(json.dumps(content))
    stored = resumed_settings(Settings(workspace=str(tmp_path)), "retrain", run_id)
    assert stored.retrain.confidence == 0.9


def test_overrides_are_nested_and_checked() -> None:
    settings = Settings(seed=5, finetune=FinetuneConfig(epochs=3))
    changed = overridden(settings, {"task": "LavaDoorKey", "finetune": {"clip": 0.3}})
    assert (changed.task, changed.seed) == ("LavaDoorKey", 5)
    assert (changed.finetune.clip, changed.finetune.epochs) == (0.3, 3)
    assert overridden(settings, None) is settings
    with pytest.raises(ConfigError, match=r"overrides: finetune\.clip is -1"):
        overridden(settings, {"finetune": {"clip": -1}})


class Killed(BaseException):
    """Ends a collection as a kill does: nothing of ours may catch it."""


class Kill:
    """Ends the process's collection when its part of this number is written.

    Args:
        part: counts from 1.
        is_stored: whether the kill comes after the part, or between the table of states and it.
    """

    def __init__(self, part: int, is_stored: bool) -> None:
        self.part, self.is_stored, self._written = part, is_stored, 0

    def __call__(self, *arguments: Any) -> Any:
        self._written += 1
        if self._written < self.part:
            return write_steps(*arguments)
        if self.is_stored:
            write_steps(*arguments)
        raise Killed


def stored_bytes(workspace: Path) -> list[bytes]:
    """The contents of all parts and tables of states; the names of parts are random."""
    folder = workspace / "trajectories"
    assert not list(folder.rglob("*.tmp"))
    return sorted(path.read_bytes() for path in folder.rglob("*.parquet"))


def begin(workspace: Path, **changes: Any) -> Settings:
    """Settings of a pipeline's run, which is started under the id ``run``."""
    settings = Settings(workspace=str(workspace), **{"teacher": TEACHER, **changes})
    names = ("task", "teacher", "seed", *SECTIONS["teach"])
    config = settings.model_dump(mode="json")
    Run(Workspace(workspace), "run", "teach").start({name: config[name] for name in names})
    return settings


def learn(settings: Settings) -> None:
    """Let the run collect and pretrain in its rounds, after what it has stored."""
    with opened("teach", settings, join="run") as ctx:
        run_pipeline(ctx, Stages(settings.collect, settings.pretrain, None))


def finished(work: Callable[[], Any], kills: Sequence[Kill], patch: pytest.MonkeyPatch) -> int:
    """Do the work, again after each kill, to its end; return how many kills struck."""
    struck = 0
    for kill in kills:
        patch.setattr(collecting, "write_steps", kill)
        try:
            work()
        except Killed:
            struck += 1
    patch.setattr(collecting, "write_steps", write_steps)
    work()
    return struck


PIPELINE: dict[str, Any] = {"pretrain": PretrainConfig(epochs=1)}
WHOLE = {"collect": CollectConfig(steps=1_400, rounds=2, n_envs=8), **PIPELINE}


@pytest.mark.extended
@pytest.mark.parametrize(
    ("task", "teacher", "n_envs", "workers"),
    [
        ("SimpleDoorKey", "recorded/vicuna-33b", 4, 0),
        ("SimpleDoorKey", "recorded/vicuna-33b", 16, 0),
        ("LavaDoorKey", "recorded/vicuna-33b", 7, 0),
        ("MiniGrid-DoorKey-5x5-v0-parsed", "none", 5, 0),
        ("MiniGrid-DoorKey-5x5-v0-parsed", "none", 5, 2),
    ],
)
def test_kills_in_collection_rounds_change_nothing(
    task: str,
    teacher: str,
    n_envs: int,
    workers: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first round follows random plans, the second the student and the reweighted advice."""
    monkeypatch.setattr(collecting, "WRITE_EVERY", 200)
    changes = {
        "task": task,
        "teacher": TeacherConfig(teacher=teacher),
        "collect": CollectConfig(steps=1_400, rounds=2, n_envs=n_envs, workers=workers),
        **PIPELINE,
    }
    whole = tmp_path / "whole"
    settings = begin(whole, **changes)
    learn(settings)
    expected = stored_bytes(whole)
    assert len(expected) > 6, "several parts in either round"
    results = Run(Workspace(whole), "run", "teach").results
    for is_stored in (True, False):
        for part in (1, 2, 3):
            killed = tmp_path / f"{part}-{is_stored}"
            again = begin(killed, **changes)
            kills = [Kill(part, is_stored) for _ in range(2 if is_stored else 1)]
            assert finished(partial(learn, again), kills, monkeypatch) == len(kills)
            assert stored_bytes(killed) == expected
            students = [f / "runs/run/pretrained.safetensors" for f in (whole, killed)]
            assert students[0].read_bytes() == students[1].read_bytes()
            now = Run(Workspace(killed), "run", "teach").results
            assert now["collect_steps"] == results["collect_steps"]


def test_a_collection_of_6000_steps_killed_after_its_first_part_stores_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def collect_all(settings: Settings) -> None:
        with opened("collect", settings, join="run") as ctx:
            collect(ctx, settings.collect, None, 6_000)

    changes = {"collect": CollectConfig(steps=6_000)}
    whole, killed = begin(tmp_path / "whole", **changes), begin(tmp_path / "killed", **changes)
    collect_all(whole)
    finished(lambda: collect_all(killed), [Kill(1, True)], monkeypatch)
    steps = read_steps(tmp_path / "killed" / "trajectories", SHAPE)
    assert len(set(steps.column("episode_id").tolist())) == 126
    assert stored_bytes(tmp_path / "killed") == stored_bytes(tmp_path / "whole")
    logged = [
        read_metrics(Workspace(tmp_path / name).run("run")).to_pylist()
        for name in ("whole", "killed")
    ]
    for rows in logged:
        assert {row["name"] for row in rows} == {"success_rate", "episodes"}
    assert [row["value"] for row in logged[0]] == [row["value"] for row in logged[1]]


def test_killed_after_its_last_step_it_counts_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "WRITE_EVERY", 400)
    settings = begin(tmp_path, collect=CollectConfig(steps=800, n_envs=8))
    reports = []
    for kill in (Kill(2, True), write_steps):
        monkeypatch.setattr(collecting, "write_steps", kill)
        with contextlib.suppress(Killed), opened("collect", settings, join="run") as ctx:
            collect(ctx, settings.collect, None, 800)
            reports.append(ctx.run.results["collect_steps"])
    assert reports == [800]
    values = {
        row["name"]: row["value"]
        for row in read_metrics(Workspace(tmp_path).run("run")).to_pylist()
    }
    steps = read_steps(tmp_path / "trajectories", SHAPE)
    ends = steps.column("terminated") | steps.column("truncated")
    assert values["episodes"] == ends.sum() > 0


@pytest.mark.extended
def test_a_process_that_is_killed_outright_resumes(tmp_path: Path) -> None:
    """SIGKILL while a part is in place and the next one is being collected."""
    script = """
import os, signal, sys
from llm4teach.student.collection import collect as collecting
from tests.flows.test_resuming import begin, learn, WHOLE
kept = collecting.write_steps
def write_steps(*arguments):
    kept(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
collecting.WRITE_EVERY = 200
from pathlib import Path
from llm4teach.flows.runtime.settings import Settings
if sys.argv[2] == "kill":
    collecting.write_steps = write_steps
settings = Settings(workspace=sys.argv[1], **WHOLE)
learn(settings)
"""
    ends = []
    for name, modes in (("whole", ["run"]), ("killed", ["kill"] * 3 + ["run"])):
        begin(tmp_path / name, **WHOLE)
        for mode in modes:
            line = [sys.executable, "-c", script, str(tmp_path / name), mode]
            status = subprocess.run(line, cwd=ROOT, timeout=300, capture_output=True).returncode
            ends.append(status)
    assert ends == [0, -9, -9, -9, 0]
    assert stored_bytes(tmp_path / "killed") == stored_bytes(tmp_path / "whole")


@pytest.mark.parametrize("from_run", [None, "run"])
def test_kills_in_shards_change_nothing(
    from_run: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "WRITE_EVERY", 100)
    reports = []
    for name in ("whole", "killed"):
        changes = {
            "collect": CollectConfig(steps=700, n_envs=8, rounds=1),
            "scale": ScaleConfig(shards=2),
            **PIPELINE,
        }
        settings = begin(tmp_path / name, **changes)
        if from_run:
            learn(settings)
        kills = [] if name == "whole" else [Kill(1, True), Kill(2, False), Kill(2, True)]
        for shard in (0, 1):
            work = partial(collect_shard.fn, settings, "run", from_run, shard)
            finished(work, kills, monkeypatch)
            reports.append(work())
    assert reports[:2] == reports[2:], "of a complete shard the same is reported"
    assert stored_bytes(tmp_path / "killed") == stored_bytes(tmp_path / "whole")


def test_a_compaction_between_kill_and_resuming_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "WRITE_EVERY", 160)
    tables = []
    for name in ("whole", "killed"):
        settings = begin(tmp_path / name, collect=CollectConfig(steps=800, n_envs=8))
        if name == "killed":
            monkeypatch.setattr(collecting, "write_steps", Kill(3, True))
            with pytest.raises(Killed), opened("collect", settings, join="run") as ctx:
                collect(ctx, settings.collect, None, 800)
            monkeypatch.setattr(collecting, "write_steps", write_steps)
            [done] = compact_workspace(Workspace(tmp_path / name), grace_s=0)
            assert (done.parts_before, done.parts_after) == (3, 1)
        with opened("collect", settings, join="run") as ctx:
            collect(ctx, settings.collect, None, 800)
        tables.append(read_steps(tmp_path / name / "trajectories", SHAPE).table)
    assert tables[0].equals(tables[1])


def test_what_an_earlier_version_left_unfinished_goes_on_with_new_episodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its parts do not say where their collection stood."""
    monkeypatch.setattr(collecting, "WRITE_EVERY", 400)
    settings = begin(tmp_path, collect=CollectConfig(steps=800, n_envs=8))

    def collect_all() -> None:
        with opened("collect", settings, join="run") as ctx:
            collect(ctx, settings.collect, None, 800)

    monkeypatch.setattr(collecting, "write_steps", Kill(1, True))
    with pytest.raises(Killed):
        collect_all()
    [part] = (tmp_path / "trajectories").rglob("part-*.parquet")
    table = pq.read_table(part)
    metadata = {k: v for k, v in table.schema.metadata.items() if k != COLLECTION}
    pq.write_table(table.replace_schema_metadata(metadata), part)
    finished(collect_all, [], monkeypatch)
    steps = read_steps(tmp_path / "trajectories", SHAPE)
    assert len(steps) == 800
    starts = steps.column("episode_id")[steps.column("t") == 0].tolist()
    assert len(set(starts)) == len(starts) == len(set(steps.column("episode_id").tolist()))
    assert len(set(steps.column("seed").tolist())) == len(starts)
