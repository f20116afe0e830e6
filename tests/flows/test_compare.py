"""`llm4teach compare` for real: all methods, interrupted, repeated, in one process and in two."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llm4teach.analysis.comparisons.results import read_seed
from llm4teach.analysis.sql.query import run_sql
from llm4teach.datasets.storage.locks import locked
from llm4teach.datasets.workspace import Workspace
from llm4teach.envs.seeds import HELD_OUT_START
from llm4teach.errors import DatasetError
from llm4teach.flows.experiments.train_trial import run_trial
from llm4teach.flows.experiments.trial import PPO, PRETRAIN, TEACH, StoredTrial, Trial, find_trial
from llm4teach.flows.runtime.settings import Settings, load_settings
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.factory import make_teacher
from llm4teach.teacher_labeling.teacher import TeacherInfo

pytestmark = pytest.mark.extended

FLAGS = (
    *("--task", "SimpleDoorKey", "--teacher", "recorded/vicuna-33b", "--seeds", "2"),
    *("--collect.steps", "512", "--collect.rounds", "2", "--collect.n-envs", "8"),
    *("--pretrain.epochs", "1", "--finetune.steps", "1024", "--finetune.n-envs", "8"),
    *("--finetune.epochs", "1", "--finetune.checkpoint-every", "1"),
    *("--finetune.rollout-length", "32"),
    *("--evaluate.episodes", "2", "--validation.episodes", "2"),
)
TRIALS = 1 + 2 * 4  # the teacher, and two seeds of four methods


def command(workspace: Path, *more: str) -> list[str]:
    words = ("compare", *FLAGS, "--workspace", str(workspace), *more)
    return [sys.executable, "-m", "llm4teach", *words]


def environment() -> dict[str, str]:
    mine = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "LLM4TEACH_"))}
    return mine | {"OMP_NUM_THREADS": "1"}


def compare(workspace: Path, *more: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command(workspace, *more), capture_output=True, text=True, timeout=300, env=environment()
    )
    assert done.returncode == 0, done.stderr
    return done


def result(workspace: Path) -> dict[str, Any]:
    """The stored comparison, less what differs from one time to the next."""
    (path,) = workspace.glob("comparisons/*/comparison.json")
    (found,) = json.loads(path.read_text())["comparisons"]
    for row in (*found["methods"], *found["teachers"]):
        for name in ("runs", "train_cpu_s", "validation_cpu_s"):
            row.pop(name, None)
    comparison: dict[str, Any] = found
    return comparison


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A workspace in which one comparison ran, and what it printed."""
    workspace = tmp_path_factory.mktemp("compared")
    done = compare(workspace)
    teachers, students = done.stderr.splitlines()
    assert "1 trials, 0 of them known" in teachers
    assert f"{TRIALS - 1} trials, 0 of them known" in students
    return workspace, done.stdout


def test_files_and_figures(compared: tuple[Path, str]) -> None:
    workspace, printed = compared
    (folder,) = (workspace / "comparisons").iterdir()
    endings = {path.suffix for path in folder.iterdir()}
    assert endings == {".csv", ".html", ".json", ".md", ".png", ".svg"}
    rows = list(csv.DictReader((folder / "comparison.csv").open(encoding="utf-8")))
    students = {(r["variant"], r["seed"], r["mode"]) for r in rows if r["policy"] == "student"}
    assert len(students) == 4 * 2 * 2 and {r["policy"] for r in rows} == {"student", "teacher"}
    assert (folder / "comparison.md").read_text() in printed and str(folder) in printed
    everything = json.loads((folder / "comparison.json").read_text())
    assert str(workspace) not in everything["command"] and "--seeds 2" in everything["command"]
    (found,) = everything["comparisons"]
    plain, offline, unprepared, whole = found["methods"]
    assert [m["env_steps"] for m in found["methods"]] == [1536, 512, 1536, 1536]
    assert plain["questions"] == 0 and offline["questions"] == whole["questions"] == 6
    assert 0 < unprepared["questions"] <= 6
    assert [teacher["sampled"] for teacher in found["teachers"]] == [1.0]
    taught = {method["teacher"] for method in (offline, unprepared, whole)}
    assert taught == {found["teachers"][0]["label"]} and plain["teacher"] is None
    assert plain["improvement"] is None and len(whole["improvement"]) == 2
    for method in (plain, unprepared, whole):
        assert [s for s in method["curve_steps"] if not 0 < s <= 512] == [0, 1024, 1536]
        assert len(method["runs"]) == len(method["sampled"]["per_seed"]) == 2
        assert method["train_cpu_s"] > 0
    assert offline["curve_steps"] == [0, 256, 512]
    shared = [whole["curve_steps"].index(step) for step in offline["curve_steps"]]
    assert [whole["curve"][i]["per_seed"] for i in shared] == [
        point["per_seed"] for point in offline["curve"]
    ], "the whole method begins with that very pretraining"


def test_what_the_runs_hold(compared: tuple[Path, str]) -> None:
    workspace, _ = compared
    (asked,) = run_sql(workspace, "SELECT count(*) AS n FROM advice").to_pylist()
    assert asked["n"] == 6, "in spite of seven trials that needed it"
    weights = run_sql(
        workspace,
        "SELECT config->>'method' AS method, max(value) AS kl_coef FROM metrics "
        "JOIN runs USING (run_id) WHERE name = 'kl_coef' GROUP BY ALL ORDER BY ALL",
    ).to_pylist()
    assert [(w["method"], w["kl_coef"] > 0) for w in weights] == [
        ("ppo", False),
        ("ppo-kl", True),
        ("teach", True),
    ]
    (seeds,) = run_sql(workspace, "SELECT max(seed) AS trained FROM trajectories").to_pylist()
    assert seeds["trained"] < HELD_OUT_START


def test_repeated_it_trains_nothing_and_prints_json(compared: tuple[Path, str]) -> None:
    workspace, _ = compared
    before = {path: path.stat().st_mtime_ns for path in (workspace / "runs").rglob("*")}
    done = compare(workspace, "--format", "json", "--quiet")
    assert done.stderr == ""
    assert [m["label"] for m in json.loads(done.stdout)["comparisons"][0]["methods"]] == [
        "plain PPO",
        "pretraining only",
        "PPO + KL, no pretraining",
        "whole method",
    ]
    assert {path: path.stat().st_mtime_ns for path in (workspace / "runs").rglob("*")} == before


def test_interrupted_twice_it_ends_with_the_same_figures(
    compared: tuple[Path, str], tmp_path: Path
) -> None:
    """Killed in the midst of a trial, stopped in two processes by Ctrl-C, then completed."""
    runs = tmp_path / "runs"

    def complete() -> int:
        return len(list(runs.glob("*/manifest.json")))

    def start(jobs: str, until: Callable[[], bool]) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            command(tmp_path, "--jobs", jobs),
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        deadline = time.monotonic() + 500
        while not until():
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.01)
        return process

    def nothing_is_left(group: int) -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                os.killpg(group, 0)
            except ProcessLookupError:
                return
            time.sleep(0.05)
        os.killpg(group, signal.SIGKILL)
        raise AssertionError("processes outlived their parent")

    killed = start("1", lambda: any(runs.glob("*/resume.safetensors")))
    killed.kill()
    killed.communicate()
    assert complete() == 1, "the teacher's own"

    stopped = start("2", lambda: complete() >= 4)
    os.killpg(stopped.pid, signal.SIGINT)
    _, said = stopped.communicate(timeout=300)
    assert stopped.returncode == 130
    assert said.decode().splitlines()[-1] == "llm4teach: interrupted"
    assert b"Traceback" not in said
    nothing_is_left(stopped.pid)
    known = complete()
    assert known < TRIALS

    done = compare(tmp_path)
    assert f"{TRIALS - 1} trials, {known - 1} of them known" in done.stderr
    begun = [folder for folder in runs.iterdir() if (folder / "progress.json").exists()]
    assert complete() == TRIALS == len(begun), "taken up, not begun again"
    assert result(tmp_path) == result(compared[0])


def test_a_trial_that_fails_is_told_in_one_line(tmp_path: Path) -> None:
    teacher = make_teacher(TeacherConfig(teacher="recorded/vicuna-33b"), "SimpleDoorKey")
    folder = Workspace(tmp_path).advice("SimpleDoorKey", teacher.info.slug)
    folder.mkdir(parents=True)
    name = f"part-{0:032x}.parquet"
    (folder / name).write_bytes(b"PAR1")
    done = subprocess.run(
        command(tmp_path, "--jobs", "2"),
        capture_output=True,
        text=True,
        timeout=120,
        env=environment(),
    )
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("llm4teach: error: ")
    assert ", seed 0: " in done.stderr and f"{name} is not a readable" in done.stderr


def test_a_run_that_another_process_works_on_is_left_alone(tmp_path: Path) -> None:
    settings = Settings(
        workspace=str(tmp_path), teacher=TeacherConfig(teacher="recorded/vicuna-33b")
    )
    run_id = "compare-20261120-120000-ab12"
    with (
        locked(tmp_path / "runs" / f".{run_id}.lock"),
        pytest.raises(DatasetError, match=f"another process is working on run {run_id}"),
    ):
        run_trial(Trial(PPO, settings), run_id)


INFO = TeacherInfo("recorded", "m", "1", "recorded", prompt_version="p")


def stored(trial: Trial, run_id: str, complete: bool = True, **changes: Any) -> StoredTrial:
    identity = {"teacher": [INFO.teacher_id, "p"], **trial.identity(INFO), **changes}
    return StoredTrial(run_id, json.loads(json.dumps(identity)), complete)


def test_a_trial_is_found_by_what_its_outcome_depends_on() -> None:
    trial = Trial(TEACH, Settings())
    assert find_trial(trial, trial.identity(INFO), [stored(trial, "a")]) is not None
    for changes in (
        {"task": "Other"},
        {"seed": 1},
        {"method": "ppo-kl"},
        {"teacher": [INFO.teacher_id, "another prompt"]},
        {"finetune": {**Settings().finetune.model_dump(), "clip": 0.3}},
    ):
        assert find_trial(trial, trial.identity(INFO), [stored(trial, "a", **changes)]) is None
    runs = [stored(trial, "old"), stored(trial, "new", complete=False)]
    found = find_trial(trial, trial.identity(INFO), runs)
    assert found is not None and found.run_id == "old", "a complete one before an unfinished one"


def test_a_trial_does_not_depend_on_settings_it_does_not_use() -> None:
    plain = Trial(PPO, Settings())
    found = find_trial(plain, plain.identity(INFO), [stored(plain, "a", teacher=["another", ""])])
    assert found is not None, "plain PPO has no teacher"
    longer = load_settings({"finetune": {"steps": 9_000}})
    assert Trial(PRETRAIN, longer).identity(INFO) == Trial(PRETRAIN, Settings()).identity(INFO)
    assert Trial(TEACH, longer).identity(INFO) != Trial(TEACH, Settings()).identity(INFO)


def test_the_control_asks_no_llm(tmp_path: Path) -> None:
    settings = load_settings(
        {
            "workspace": str(tmp_path),
            "teacher": {"teacher": "none"},
            "collect": {"steps": 256, "rounds": 1, "n_envs": 8},
            "pretrain": {"epochs": 1},
            "validation": {"episodes": 2},
            "evaluate": {"episodes": 2},
        }
    )
    run_id = run_trial(Trial(PRETRAIN, settings))
    assert read_seed(Workspace(tmp_path), run_id).tokens == {}


def test_every_method_has_the_same_budget() -> None:
    settings = load_settings({"collect": {"steps": 300}, "finetune": {"steps": 7_000}})
    assert Trial(PPO, settings).budget == Trial(TEACH, settings).budget == 7_300
    assert Trial(PPO, settings).sections()["finetune"].kl_coef == 0
    assert Trial(PRETRAIN, settings).budget == 300
