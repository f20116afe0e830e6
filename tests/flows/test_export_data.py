"""`export-data`: what is written is what is stored, and comes back; or nothing is written."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from advised_steps import RUNS, by_episode, store_advice, store_steps, teacher
from counter_task import Memory, counter, describe_memory

import llm4teach as lt
from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.datasets.trajectories import Trajectories, read_steps, write_steps
from llm4teach.datasets.workspace import Workspace
from llm4teach.envs.registry import _registered, get_task, register_task
from llm4teach.envs.task import Task
from llm4teach.errors import ConfigError, DatasetError, TaskError, TeacherError
from llm4teach.flows.cli.main import main
from llm4teach.flows.stages.import_episodes import import_episodes
from llm4teach.teacher_labeling.labeling.writer import plans_of

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SUPPORT = Path(__file__).resolve().parents[1] / "support"
ID = "llm4teach/test-v0"
SAME = ("seed", "t", "state_key", "state_text", "action", "reward", "terminated", "truncated")


def own_task() -> Task:
    task = counter(view=Memory, describe=describe_memory, name="Remembered", success="terminated")
    register_task(task)
    return task


def taxi() -> Task:
    return get_task("taxi:task")


TASKS = {"grid": lambda: get_task("SimpleDoorKey"), "own": own_task, "taxi": taxi}


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("LLM4TEACH_QUIET", "1")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield
    _registered.clear()


Stored = tuple[Workspace, Trajectories, AdviceStore]


def stored(folder: Path, task: Task) -> Stored:
    workspace = Workspace(folder / "ws")
    steps = store_steps(workspace, task, RUNS[0])
    return workspace, steps, store_advice(workspace, task, steps)


def advice_on(store: AdviceStore, key: str) -> dict[str, float]:
    row = store.lookup([key]).get(key)
    return {str(plan): p for plan, p in plans_of(row)} if row else {}


@pytest.mark.parametrize("name", TASKS)
def test_minari_there_and_back(name: str, tmp_path: Path) -> None:
    minari = pytest.importorskip("minari")
    task = TASKS[name]()
    workspace, steps, store = stored(tmp_path, task)
    place = lt.export_trajectories(
        ID, task.name, teacher, str(workspace.root), format="minari", author="A. Person"
    )
    assert place == tmp_path / "minari" / ID
    assert list(minari.list_local_datasets()) == [ID]

    dataset = minari.load_dataset(ID)
    metadata = dataset.storage.metadata
    about = metadata["llm4teach"]
    assert metadata["author"] == {"A. Person"} and "Episodes of" in metadata["description"]
    assert about["teacher"]["teacher_id"] == teacher.info.teacher_id
    assert dataset.observation_space.shape == task.student_shape
    assert dataset.action_space.n == len(task.action_names)
    assert dataset.total_steps == len(steps)
    policy = lt.TeacherPolicy(str(workspace.root), task.name, teacher)
    with_advice = 0
    for episode, rows in zip(dataset.iterate_episodes(), by_episode(steps), strict=True):
        n, infos = len(rows), episode.infos
        records = steps.observations[rows]
        seen = task.student_observations(records)
        np.testing.assert_array_equal(episode.observations[:-1], seen)
        assert episode.observations.dtype == np.uint8
        assert all(len(values) == n + 1 for values in infos.values())
        np.testing.assert_array_equal(episode.actions, steps.column("action")[rows])
        np.testing.assert_array_equal(episode.rewards, steps.column("reward")[rows])
        np.testing.assert_array_equal(episode.terminations, steps.column("terminated")[rows])
        np.testing.assert_array_equal(episode.truncations, steps.column("truncated")[rows])
        np.testing.assert_array_equal(
            infos["teacher_probs"][:-1], policy.teacher_probs(np.ascontiguousarray(records))
        )
        for t, row in enumerate(rows):
            key = infos["state_key"][t].decode()
            assert key == steps.column("state_key")[row]
            assert infos["state_text"][t].decode() == steps.column("state_text")[row]
            named = zip(about["plans"], infos["plan_probs"][t].tolist(), strict=True)
            advice = {plan: p for plan, p in named if p}
            assert advice == advice_on(store, key)  # to the last bit
            assert infos["has_advice"][t] == bool(advice)
            with_advice += bool(advice)
        env = task.make_env()
        last, _ = env.reset(seed=int(steps.column("seed")[rows[0]]))
        for action in episode.actions:
            last, *_ = env.step(int(action))
        np.testing.assert_array_equal(
            episode.observations[-1], task.student_observations(last[None])[0]
        )
    assert 0 < with_advice == about["steps_with_advice"] < len(steps)
    facts = list(dataset.storage.get_episode_metadata(dataset.episode_indices))
    assert {fact["final_observation"] for fact in facts} == {"replayed"}

    again = Workspace(tmp_path / "again")
    taken = import_episodes(again, task.name, ID, {}, False)
    assert (taken["collect_steps"], taken["refused"]) == (len(steps), 0)
    assert_same(again, task, steps)


def assert_same(again: Workspace, task: Task, steps: Trajectories) -> None:
    back = read_steps(again.trajectories(task.name), task.observation_shape)
    np.testing.assert_array_equal(back.observations, steps.observations)
    for column in (*SAME, "behavior", "action_logprob"):
        np.testing.assert_array_equal(back.column(column), steps.column(column), column)
    assert dict(back.states) == dict(steps.states)


@pytest.mark.parametrize("name", ["grid", "own"])
def test_parquet_there_and_back(name: str, tmp_path: Path) -> None:
    task = TASKS[name]()
    workspace, steps, store = stored(tmp_path, task)
    place = lt.export_trajectories(str(tmp_path / "out"), task.name, teacher, str(workspace.root))
    rows = pq.read_table(place / "data").to_pylist()
    policy = lt.TeacherPolicy(str(workspace.root), task.name, teacher)
    probs = policy.teacher_probs(steps.observations)
    seen = task.student_observations(steps.observations).reshape(len(steps), -1)
    for i, row in enumerate(rows):
        assert row["observation"] == seen[i].tolist()
        assert {o["plan"]: o["probability"] for o in row["advice"]} == advice_on(
            store, row["state_key"]
        )
        np.testing.assert_array_equal(np.float32(row["teacher_probs"]), probs[i])
    ends = [r["final_observation"] is not None for r in rows]
    assert [i for i, end in enumerate(ends) if end] == [e[-1] for e in by_episode(steps)]
    advised = duckdb.sql(f"SELECT avg(has_advice::int) FROM '{place}/data/*.parquet'").fetchall()

    _, header, text = (place / "README.md").read_text().split("---\n", 2)
    card = yaml.safe_load(header)
    assert card["configs"][0]["data_files"] == [{"split": "train", "path": "data/*.parquet"}]
    assert card["license"] == "unknown" and card["size_categories"] == ["n<1K"]
    assert f"| steps | {len(steps)} |" in text and f"({advised[0][0]:.1%})" in text
    assert all(f"| `{column}` |" in text for column in rows[0])
    assert teacher.info.teacher_id in text and RUNS[0] in text
    import_episodes(Workspace(tmp_path / "again"), task.name, str(place), {}, False)
    assert_same(Workspace(tmp_path / "again"), task, steps)


def test_runs_and_behaviors_are_chosen(tmp_path: Path) -> None:
    task = get_task("SimpleDoorKey")
    workspace, *_ = stored(tmp_path, task)
    store_steps(workspace, task, RUNS[1], seed=1)

    def exported(name: str, **options: Any) -> pa.Table:
        root = str(workspace.root)
        place = lt.export_trajectories(str(tmp_path / name), task.name, None, root, **options)
        return pq.read_table(place / "data")

    everything = exported("all")
    assert set(everything["run_id"].to_pylist()) == set(RUNS)
    assert not any(everything["has_advice"].to_pylist())
    ids = everything["episode_id"].to_numpy()
    assert sorted(set(ids)) == list(range(ids.max() + 1)) and (np.diff(ids) >= 0).all()
    one = exported("one", runs=[RUNS[1]])
    assert set(one["run_id"].to_pylist()) == {RUNS[1]}
    counts = {}
    for behavior in ("student", "option"):
        table = exported(behavior, behaviors=[behavior])
        kinds = {name.partition(":")[0] for name in table["behavior"].to_pylist()}
        assert kinds == {behavior, "noise"}
        counts[behavior] = len(table)
    assert sum(counts.values()) == len(everything)
    with pytest.raises(DatasetError, match="only the behavior imported: there are option, student"):
        exported("x", behaviors=["imported"])
    assert not (tmp_path / "x").exists()


def test_unknown_seeds_and_other_worlds_have_no_final_observation(tmp_path: Path) -> None:
    """It is left empty, and said; never invented."""
    minari = pytest.importorskip("minari")
    task = get_task("SimpleDoorKey")
    workspace = Workspace(tmp_path / "ws")
    steps = store_steps(workspace, task, RUNS[0])
    rows = list(by_episode(steps))
    names = [name for name in steps.table.column_names if name != "observation"]
    columns = {name: steps.column(name).copy() for name in names}
    columns["seed"][rows[0]] = -1  # as in a log without seeds
    columns["seed"][rows[1]] += 1  # another episode than the one that was recorded
    other = Workspace(tmp_path / "other")
    write_steps(other.trajectories(task.name, RUNS[0]), columns, steps.observations)
    place = lt.export_trajectories(str(tmp_path / "out"), task.name, None, str(other.root))
    table = pq.read_table(place / "data")
    known = {r["episode_id"] for r in table.to_pylist() if r["final_observation"] is not None}
    assert known == set(range(2, len(rows)))
    assert table["seed"][0].as_py() is None
    lt.export_trajectories(ID, task.name, None, str(other.root), format="minari")
    dataset = minari.load_dataset(ID)
    facts = [f["final_observation"] for f in dataset.storage.get_episode_metadata(range(3))]
    assert facts == ["unknown", "unknown", "replayed"]
    first = dataset[0]
    np.testing.assert_array_equal(first.observations[-1], first.observations[-2])
    assert first.infos["state_key"][-1] == b""
    place = lt.export_trajectories(
        str(tmp_path / "none"), task.name, None, str(workspace.root), replay=False
    )
    assert pq.read_table(place / "data")["final_observation"].null_count == len(steps)


def test_errors_name_what_to_do(tmp_path: Path) -> None:
    task = get_task("SimpleDoorKey")
    workspace, *_ = stored(tmp_path, task)
    root, out = str(workspace.root), str(tmp_path / "out")

    def fails(kind: type[Exception], words: str, *words_of: Any, **options: Any) -> None:
        with pytest.raises(kind, match=words):
            lt.export_trajectories(*words_of, **options)
        assert not (tmp_path / "out").exists()

    fails(TaskError, "unknown task 'Nowhere'", out, "Nowhere", None, root)
    fails(DatasetError, "no trajectories of LavaDoorKey", out, "LavaDoorKey", None, root)
    fails(DatasetError, "run 'x' has no trajectories", out, task.name, None, root, runs=["x"])
    fails(TeacherError, r"there is of: weights|function", out, task.name, "none", root)
    fails(ConfigError, "is a URL", "s3://bucket/out", task.name, None, root)
    pytest.importorskip("minari")
    for wrong in ("noversion", "a b/c-v0", "../x-v0", "/tmp/x-v0", ""):
        fails(
            ConfigError, "no id of a Minari dataset", wrong, task.name, None, root, format="minari"
        )
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("mine")
    with pytest.raises(DatasetError, match="taken exists already"):
        lt.export_trajectories(str(tmp_path / "taken"), task.name, None, root)
    assert (tmp_path / "taken" / "file").read_text() == "mine"
    lt.export_trajectories(ID, task.name, None, root, format="minari")
    with pytest.raises(DatasetError, match="exists already"):
        lt.export_trajectories(ID, task.name, None, root, format="minari")


def test_without_minari_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "minari", None)
    with pytest.raises(DatasetError, match=r"pip install 'llm4teach\[import\]'"):
        lt.export_trajectories(ID, "SimpleDoorKey", None, str(tmp_path), format="minari")


def words_of(kind: str, workspace: Workspace, out: Path) -> list[str]:
    target = ID if kind == "minari" else str(out)
    words = ["export-data", target, "--format", kind, "--without-advice", "--quiet"]
    return [*words, "--workspace", str(workspace.root)]


@pytest.mark.extended
@pytest.mark.parametrize("kind", ["parquet", "minari"])
def test_a_killed_export_is_not_there(kind: str, tmp_path: Path) -> None:
    if kind == "minari":
        pytest.importorskip("minari")
    workspace = Workspace(tmp_path / "ws")
    store_steps(workspace, get_task("SimpleDoorKey"), RUNS[0])
    words = words_of(kind, workspace, tmp_path / "out")
    line = [sys.executable, str(SUPPORT / "export_child.py"), *words]
    killed = subprocess.run(line, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    place = tmp_path / "minari" / ID if kind == "minari" else tmp_path / "out"
    assert not place.exists()
    seen = {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")}
    assert seen <= {"ws", "minari"}
    assert main(words) == 0 and place.is_dir()


@pytest.mark.extended
@pytest.mark.parametrize("kind", ["parquet", "minari"])
def test_a_full_disk_is_reported_and_nothing_left(kind: str, tmp_path: Path) -> None:
    if kind == "minari":
        pytest.importorskip("minari")
    if subprocess.run(["unshare", "-rm", "true"], check=False).returncode:
        pytest.skip("no disk of its own can be mounted here")
    workspace, disk = Workspace(tmp_path / "ws"), tmp_path / "minari"
    store_steps(workspace, get_task("SimpleDoorKey"), RUNS[0])
    disk.mkdir()
    words = words_of(kind, workspace, disk / "out")
    command = shlex.join([sys.executable, "-m", "llm4teach", *words])
    mount = f"mount -t tmpfs -o size={8 if kind == 'parquet' else 1200}k none {disk}"
    script = f"{mount} && {command}; code=$?; ls -A {disk}; exit $code"
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and not done.stdout
    assert "cannot be written: No space left on device; nothing was left there" in done.stderr
    assert len(done.stderr.splitlines()) == 1
