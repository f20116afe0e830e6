"""Shards: what they store depends on their number alone, and a lost worker costs only its own."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.datasets.runs import Run
from llm4teach.datasets.storage.parquet import part_paths, read_parquet, write_part
from llm4teach.datasets.trajectories import read_steps
from llm4teach.datasets.workspace import Workspace
from llm4teach.envs.registry import get_task
from llm4teach.errors import ConfigError
from llm4teach.flows.runtime.settings import ScaleConfig, Settings
from llm4teach.flows.sharding import collect_shard, label_shard, share_of, task_runner
from llm4teach.student.collection.collect import CollectReport
from llm4teach.student.config import CollectConfig
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.factory import make_teacher

TASK = get_task("SimpleDoorKey")
TEACHER = TeacherConfig(teacher="recorded/vicuna-33b")
STEPS, SHARDS = 1_000, 3


def settings_of(folder: Path) -> Settings:
    """Settings of a collection in a folder, whose run is started."""
    settings = Settings(
        workspace=str(folder),
        task=TASK.name,
        teacher=TEACHER,
        collect=CollectConfig(steps=STEPS, n_envs=8),
        scale=ScaleConfig(shards=SHARDS),
    )
    config = {"task": TASK.name, "collect": settings.collect.model_dump(mode="json")}
    Run(Workspace(str(folder)), "run", "collect").start(config)
    return settings


def collect(settings: Settings, shard: int) -> CollectReport:
    return collect_shard.fn(settings, "run", None, shard)


def content(folder: Path) -> pa.Table:
    steps = read_steps(Workspace(str(folder)).trajectories(TASK.name), TASK.observation_shape)
    return steps.table


def test_shares_add_up() -> None:
    for amount in (0, 1, 7, 1_000):
        assert sum(share_of(amount, k, SHARDS) for k in range(SHARDS)) == amount


def test_order_and_loss_of_shards_change_nothing(tmp_path: Path) -> None:
    one, other = settings_of(tmp_path / "one"), settings_of(tmp_path / "other")
    reports = [collect(one, shard) for shard in (0, 1, 2)]
    for shard in (2, 0, 1):
        collect(other, shard)
    table = content(tmp_path / "one")
    assert table.equals(content(tmp_path / "other"))
    assert len(table) == sum(r.steps for r in reports) == 984, "whole steps of 8 environments"
    episodes = table.select(["episode_id", "seed"]).group_by(["episode_id", "seed"]).aggregate([])
    assert len(set(episodes.column("seed").to_pylist())) == len(episodes), "no seed twice"

    runs = Workspace(str(tmp_path / "one")).trajectories(TASK.name, "run")
    [folder] = [f for f in runs.iterdir() if f.name.startswith("shard-0001")]
    [part] = part_paths(folder)
    whole = read_parquet(part, table.schema)
    part.unlink()
    write_part(folder, whole.slice(0, 40))  # as if its worker had died
    again = [collect(one, shard) for shard in (0, 1, 2)]
    assert content(tmp_path / "one").equals(table)
    assert again == reports, "of a complete shard the same is told"


def test_shards_of_states_label_each_once(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    collect(settings, 0)
    states = set(content(tmp_path).column("state_key").to_pylist())
    runs = [label_shard.fn(settings, shard) for shard in range(SHARDS)]
    assert len(set(runs)) == SHARDS
    info = make_teacher(TEACHER, TASK.family).info
    folder = Workspace(str(tmp_path)).advice(TASK.family, info.slug)
    rows = AdviceStore(folder, info.teacher_id, info.prompt_version).rows()
    keys = [row["state_key"] for row in rows]
    assert set(keys) == states and len(keys) == len(states)


def test_runners_that_cannot_be_had_are_told() -> None:
    with pytest.raises(ConfigError, match="for dask and ray; the runner is threads"):
        task_runner(ScaleConfig(runner="threads", address="tcp://a:1"))
    for runner in ("dask", "ray"):
        try:
            assert task_runner(ScaleConfig(runner=runner)) is not None
        except ConfigError as error:
            assert f"pip install 'llm4teach[{runner}]'" in str(error)


@pytest.mark.parametrize(
    "runner",
    [
        pytest.param("processes", marks=pytest.mark.extended),
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("threads", "dask", "ray")),
    ],
)
def test_as_many_workers_as_you_like(runner: str, tmp_path: Path) -> None:
    if runner in ("dask", "ray"):
        pytest.importorskip(f"prefect_{runner}", reason=f"pip install 'llm4teach[{runner}]'")
    tables = []
    for workers in ("1", "4"):
        folder = tmp_path / workers
        line = [
            sys.executable,
            "-m",
            "llm4teach",
            "collect",
            "--workspace",
            str(folder),
        ]
        flags = ["--collect.steps", "1024", "--collect.n-envs", "8", "--scale.shards", "4"]
        spread = ["--scale.runner", runner, "--scale.workers", workers]
        subprocess.run([*line, *flags, *spread], check=True, timeout=500)
        tables.append(content(folder).drop_columns(["run_id"]))
    assert len(tables[0]) == 1024
    assert tables[0].equals(tables[1])
