"""`llm4teach compare` for real: all methods, interrupted, repeated, in one process and in two."""

from __future__ import annotations

import csv
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from llm4teach.analysis.comparisons.results import read_seed
from llm4teach.analysis.sql.query import run_sql
from llm4teach.datasets.runs import MANIFEST
from llm4teach.datasets.storage.locks import locked
from llm4teach.datasets.storage.parquet import read_json
from llm4teach.datasets.trajectories import read_steps
from llm4teach.datasets.workspace import Workspace
from llm4teach.envs.seeds import HELD_OUT_START
from llm4teach.errors import DatasetError
from llm4teach.flows.cli.experiments import Name
from llm4teach.flows.cli.main import COMMANDS
from llm4teach.flows.cli.parser import parse
from llm4teach.flows.experiments.baselines import VARIANTS, chosen_variants
from llm4teach.flows.experiments.spec import control_trial
from llm4teach.flows.experiments.train_trial import run_trial
from llm4teach.flows.experiments.trial import (
    PPO,
    PRETRAIN,
    TEACH,
    StoredTrial,
    Trial,
    find_trial,
    stored_trials,
    teacher_of,
)
from llm4teach.flows.runtime.settings import Settings, load_settings
from llm4teach.teacher_labeling.config import LiveConfig, TeacherConfig
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
    *("--methods", "ppo", "pretrain", "ppo-kl", "teach"),
)
STUDENTS, CONTROLS = 2 * 4, 2 * 3  # two seeds of four methods, of which three ask
TRIALS = 1 + STUDENTS + CONTROLS  # and the teacher's own


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
    for row in (*found["methods"], *found["controls"], *found["teachers"]):
        for name in ("runs", "train_cpu_s", "validation_cpu_s"):
            row.pop(name, None)
        for seed in row.get("seeds", ()):
            del seed["run_id"], seed["train_cpu_s"]
        for steps in row.get("steps_to", ()):
            del steps["cpu_s"]
    comparison: dict[str, Any] = found
    return comparison


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A workspace in which one comparison ran, and what it printed."""
    workspace = tmp_path_factory.mktemp("compared")
    done = compare(workspace, "-o", str(workspace / "copied"))
    teachers, students, controls = done.stderr.splitlines()
    assert "1 trials, 0 of them known" in teachers
    assert f"{STUDENTS} trials, 0 of them known" in students
    assert f"{CONTROLS} trials, 0 of them known" in controls
    return workspace, done.stdout


def test_files_and_figures(compared: tuple[Path, str]) -> None:
    workspace, printed = compared
    (folder,) = (workspace / "comparisons").iterdir()
    copied = {path.name: path.read_bytes() for path in (workspace / "copied").iterdir()}
    assert copied.keys() == {path.name for path in folder.iterdir()}
    assert copied["comparison.csv"] == (folder / "comparison.csv").read_bytes()
    endings = {path.suffix for path in folder.iterdir()}
    assert endings == {".csv", ".html", ".json", ".md", ".png", ".svg"}
    rows = list(csv.DictReader((folder / "comparison.csv").open(encoding="utf-8")))
    students = {(r["variant"], r["seed"]) for r in rows if r["policy"] == "student"}
    assert len(students) == STUDENTS + CONTROLS
    assert {r["policy"] for r in rows} == {"student", "teacher"}
    assert all("--seeds 2" in r["command"] and "CPUs" in r["machine"] for r in rows)
    assert {r["env_steps"] for r in rows if r["seed"]} == {"1536"}, "all have the same budget"
    assert (folder / "comparison.md").read_text() in printed and str(folder) in printed
    everything = json.loads((folder / "comparison.json").read_text())
    assert str(workspace) not in everything["command"] and "--seeds 2" in everything["command"]
    (found,) = everything["comparisons"]
    plain, offline, unprepared, whole = found["methods"]
    assert [m["env_steps"] for m in found["methods"]] == [1536] * 4
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
    assert offline["curve_steps"] == [0, 768, 1536]
    assert all(m["validation_episodes"] == 2 * (1 + len(m["curve_steps"])) for m in (plain, whole))
    assert all(m["validation_steps"] > 0 for m in found["methods"])
    assert plain["share"] is None
    labels = [f"{method['label']}, no LLM" for method in (offline, unprepared, whole)]
    assert [m["label"] for m in found["controls"]] == labels
    assert [m["share"]["control"] for m in (offline, unprepared, whole)] == labels
    assert all(m["questions"] == m["tokens"] == 0 for m in found["controls"])


def test_what_the_runs_hold(compared: tuple[Path, str]) -> None:
    workspace, _ = compared
    (asked,) = run_sql(workspace, "SELECT count(*) AS n FROM advice").to_pylist()
    assert asked["n"] == 12, "six by seven trials, and the control's answers to the same states"
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
    points = run_sql(
        workspace,
        "SELECT max(value) FILTER (name = 'success_rate') > 0 AS solved, max(value) FILTER (name = "
        "'episode_return') > 0 AS paid FROM metrics WHERE stage = 'validate' GROUP BY run_id, step",
    ).to_pylist()
    assert points and all(point["solved"] == point["paid"] for point in points)
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

    done = compare(tmp_path, "--jobs", "2")
    assert f"{STUDENTS} trials, " in done.stderr
    assert len(done.stderr.splitlines()) == 3, done.stderr
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
    other = load_settings({"finetune": {"clip": 0.3}})
    assert Trial(PRETRAIN, other).identity(INFO) == Trial(PRETRAIN, Settings()).identity(INFO)
    assert Trial(TEACH, other).identity(INFO) != Trial(TEACH, Settings()).identity(INFO)


def test_a_share_of_the_questions_makes_another_trial_with_the_same_control() -> None:
    words = ["compare", "--teacher", "expert", "--task", "MiniGrid-GoToDoor-8x8-v0"]
    whole = Trial(PRETRAIN, load_settings(parse(words, COMMANDS)[1]))
    few = [
        Trial(PRETRAIN, load_settings(parse([*words, "--label.share", "0.1", *more], COMMANDS)[1]))
        for more in ([], ["--label.order", "visits"])
    ]
    told = [json.dumps(trial.identity(INFO), sort_keys=True) for trial in (whole, *few)]
    assert len(set(told)) == 3 and "label" not in whole.identity(INFO)
    assert few[1].identity(INFO)["label"] == {"share": 0.1, "order": "visits"}
    controls = [control_trial(trial) for trial in (whole, *few)]
    assert len({str(control and control.identity(INFO)) for control in controls}) == 1
    plain = load_settings(parse([*words, "--label.share", "0.1"], COMMANDS)[1])
    no_llm, taught = (VARIANTS[name].trial(plain, plain.task, 0) for name in ("no-llm", "teach"))
    control = control_trial(taught)
    assert control is not None and control.identity(INFO) == no_llm.identity(INFO)
    assert Trial(PPO, plain).identity(INFO) == Trial(PPO, whole.settings).identity(INFO)


def test_how_judgments_are_composed_makes_another_trial() -> None:
    def identity(teacher: str, *more: str) -> dict[str, Any]:
        words = ["compare", "--task", "Crafter", "--teacher", teacher, *more]
        return Trial(TEACH, load_settings(parse(words, COMMANDS)[1])).identity(INFO)

    judge, sharp = "recorded/qwen2.5-coder-1.5b-crafter", ("--teacher.softmax-temperature", "0.03")
    assert "composed" not in identity(judge), "as stored by earlier versions"
    assert identity(judge, *sharp)["composed"] == {"softmax_temperature": 0.03}
    assert identity("none", *sharp) == identity("none"), "it answers with plans, not with yes or no"


def test_a_trial_asks_its_share_and_is_found_again(tmp_path: Path) -> None:
    settings = load_settings(
        {
            **{"workspace": str(tmp_path), "teacher": {"teacher": "expert"}},
            "task": "MiniGrid-GoToDoor-8x8-v0",
            "collect": {"steps": 256, "rounds": 1, "n_envs": 8, "ask": False},
            "label": {"share": 0.1, "order": "visits"},
            **{"finetune": {"steps": 0}, "pretrain": {"epochs": 1}},
            **{"validation": {"episodes": 2}, "evaluate": {"episodes": 2}},
        }
    )
    trial = Trial(PRETRAIN, settings)
    run_id = run_trial(trial)
    asked = read_seed(Workspace(tmp_path), run_id).questions
    (states,) = run_sql(Workspace(tmp_path), "SELECT count(*) AS n FROM states").to_pylist()
    assert len(asked) == math.ceil(0.1 * states["n"]) > 1
    identity = trial.identity(teacher_of(settings))
    found = find_trial(trial, identity, stored_trials(Workspace(tmp_path)))
    assert found is not None and found.run_id == run_id and found.complete


def test_fine_tuning_without_questions_is_another_trial_and_asks_nothing(tmp_path: Path) -> None:
    settings = load_settings(
        {
            **{"workspace": str(tmp_path), "teacher": {"teacher": "expert"}},
            "task": "MiniGrid-GoToDoor-8x8-v0",
            "collect": {"steps": 256, "rounds": 1, "n_envs": 8, "ask": False},
            "label": {"share": 0.1, "order": "visits"},
            "live": {"ask": "never"},
            **{"finetune": {"steps": 256, "n_envs": 8, "rollout_length": 32}},
            **{
                "pretrain": {"epochs": 1},
                "validation": {"episodes": 2},
                "evaluate": {"episodes": 2},
            },
        }
    )
    trial = Trial(TEACH, settings)
    run_id = run_trial(trial)
    assert read_json(tmp_path / "runs" / run_id / MANIFEST)["results"]["live_questions"] == 0
    assert len(read_seed(Workspace(tmp_path), run_id).questions) > 1, (
        "the share of the offline ones"
    )
    asks_all = Trial(TEACH, settings.model_copy(update={"live": LiveConfig()}))
    assert "live" not in asks_all.identity(INFO), "as stored by earlier versions"
    identity = trial.identity(teacher_of(settings))
    found = find_trial(trial, identity, stored_trials(Workspace(tmp_path)))
    assert found is not None and found.run_id == run_id
    assert find_trial(asks_all, asks_all.identity(teacher_of(settings)), [found]) is None
    controls = [control_trial(one) for one in (trial, asks_all)]
    assert len({str(control and control.identity(INFO)) for control in controls}) == 1


def test_the_control_asks_no_llm(tmp_path: Path) -> None:
    settings = load_settings(
        {
            "workspace": str(tmp_path),
            "teacher": {"teacher": "none"},
            "collect": {"steps": 256, "rounds": 1, "n_envs": 8},
            "finetune": {"steps": 0},
            "pretrain": {"epochs": 1},
            "validation": {"episodes": 2},
            "evaluate": {"episodes": 2},
        }
    )
    run_id = run_trial(Trial(PRETRAIN, settings))
    assert read_seed(Workspace(tmp_path), run_id).questions == {}


def test_every_method_has_the_same_budget() -> None:
    settings = load_settings({"collect": {"steps": 300}, "finetune": {"steps": 7_000}})
    for variant in VARIANTS.values():
        trial = variant.trial(settings, "SimpleDoorKey", 0)
        assert trial.budget == 7_300, variant.label
    assert Trial(PPO, settings).sections()["finetune"].kl_coef == 0
    assert Trial(PRETRAIN, settings).sections()["collect"].steps == 7_300
    assert Trial(TEACH, settings).sections()["collect"].steps == 300


def test_pretraining_without_online_steps_is_the_trial_of_earlier_versions() -> None:
    """Its budget was collect.steps; with --finetune.steps 0 it still is, and stored runs count."""
    settings = load_settings({"collect": {"steps": 300}, "finetune": {"steps": 0}})
    assert Trial(PRETRAIN, settings).sections()["collect"] == settings.collect


def test_with_the_teacher_none_no_control_is_trained_twice() -> None:
    chosen, _ = chosen_variants([], "none")
    assert not [variant.label for variant in chosen if "no LLM" in variant.label]
    only, _ = chosen_variants(["no-llm"], "none")
    assert [variant.label for variant in only] == ["whole method, no LLM"]
    some, left_out = chosen_variants(["teach", "discrete-bc", "no-llm"], "embedded")
    assert [v.label for v in some] == [
        "DiscreteBC (d3rlpy)",
        "whole method, no LLM",
        "whole method",
    ]
    assert left_out == []
    assert set(get_args(Name)) == set(VARIANTS)


@pytest.mark.slow
def test_every_baseline_has_its_row(tmp_path: Path) -> None:
    """The baselines for real, on one seed: offline ones on the teacher's own trajectories."""
    names = ("hrl", "bc", "discrete-bc", "discrete-cql", "paper", "paper-no-llm")
    words = ("--methods", *names, "--seeds", "1", "--format", "json")
    done = compare(tmp_path, *words)
    (found,) = json.loads(done.stdout)["comparisons"]
    by_label = {method["label"]: method for method in found["methods"]}
    assert list(by_label) == [
        "hierarchical RL",
        "behavior cloning",
        "DiscreteBC (d3rlpy)",
        "DiscreteCQL (d3rlpy)",
        "the paper's method, no LLM",
        "the paper's method (no reweighting)",
    ]
    assert {m["env_steps"] for m in found["methods"]} == {1536}
    paper = by_label["the paper's method (no reweighting)"]
    assert paper["share"]["control"] == "the paper's method, no LLM"
    assert "the paper's method, no LLM" not in [m["label"] for m in found["controls"]]
    assert by_label["hierarchical RL"]["questions"] == 0 and paper["questions"] == 6

    workspace = Workspace(tmp_path)
    cloned, *others = (
        read_steps(workspace.trajectories("SimpleDoorKey", by_label[label]["runs"][0]), (10, 10, 4))
        for label in ("behavior cloning", "DiscreteBC (d3rlpy)", "DiscreteCQL (d3rlpy)")
    )
    behaviors = set(cloned.column("behavior").tolist())
    assert all(name.startswith("option: ") for name in behaviors), "the teacher's own, no noise"
    for other in others:
        assert (other.observations == cloned.observations).all()
        assert (other.column("action") == cloned.column("action")).all()
    weights = run_sql(workspace, "SELECT count(*) AS n FROM reweighting").to_pylist()
    assert weights == [{"n": 0}], "neither the paper's method nor cloning reweights"

    again = compare(tmp_path, *words)
    assert again.stdout == done.stdout
    assert "6 trials, 6 of them known" in again.stderr, "students"
    assert "4 trials, 4 of them known" in again.stderr, "controls"
