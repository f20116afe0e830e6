"""The experiments: every variant can be made and is one of its own; one runs, and runs on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from llm4teach.datasets.workspace import Workspace
from llm4teach.envs.registry import get_training_task
from llm4teach.errors import ConfigError
from llm4teach.flows.experiments.catalog import EXPERIMENTS, find_experiment
from llm4teach.flows.experiments.spec import Experiment, Variant, shifted_tasks, teacher_trial
from llm4teach.flows.experiments.trial import PPO, TEACHER, stored_trials, teacher_of
from llm4teach.flows.runtime.settings import load_settings

NAMES = [experiment.name for experiment in EXPERIMENTS]
SMALL = (
    *("--collect.steps", "512", "--collect.n-envs", "8", "--pretrain.epochs", "1"),
    *("--budget", "1536", "--finetune.n-envs", "8", "--finetune.epochs", "1"),
    *("--evaluate.episodes", "2", "--validation.episodes", "2", "--seeds", "2"),
)


def experiment(workspace: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return run("experiment", *words, place=workspace)


def run(*words: str, place: Path) -> subprocess.CompletedProcess[str]:
    mine = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "LLM4TEACH_"))}
    return subprocess.run(
        [
            *(sys.executable, "-m", "llm4teach"),
            *(*words, "--workspace", str(place)),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        env=mine | {"OMP_NUM_THREADS": "1"},
    )


@pytest.mark.parametrize("name", NAMES)
def test_variants_differ_and_have_the_same_budget(name: str) -> None:
    chosen = find_experiment(name)
    settings = load_settings({}, defaults=chosen.settings)
    for task in chosen.tasks:
        get_training_task(task)
        trials = [variant.trial(settings, task, 3) for variant in chosen.variants]
        assert {trial.settings.seed for trial in trials} == {3}
        identities = [trial.identity(teacher_of(trial.settings)) for trial in trials]
        told = [json.dumps(identity, sort_keys=True) for identity in identities]
        assert len(set(told)) == len(chosen.variants), "each variant trains something of its own"
        whole = {trial.budget for trial in trials}
        assert len(whole) == 1, "nobody has more env steps than the others"
    assert not chosen.shifted or all(shifted_tasks(task) for task in chosen.tasks)


def test_the_same_trials_serve_several_experiments() -> None:
    def identities(name: str) -> set[str]:
        chosen = find_experiment(name)
        settings = load_settings({}, defaults=chosen.settings)
        trials = [variant.trial(settings, "SimpleDoorKey", 0) for variant in chosen.variants]
        return {json.dumps(c.identity(teacher_of(c.settings)), sort_keys=True) for c in trials}

    assert identities("generalization") < identities("ablation")
    assert len(identities("teacher-noise") & identities("teacher-quality")) == 5


def test_a_faulty_teacher_is_another_one_for_each_seed() -> None:
    (variant,) = (v for v in find_experiment("teacher-noise").variants if v.label == "10% random")
    settings = load_settings({}, defaults=find_experiment("teacher-noise").settings)
    first, second = (variant.trial(settings, "SimpleDoorKey", n) for n in (0, 1))
    assert teacher_of(first.settings).teacher_id != teacher_of(second.settings).teacher_id
    own = teacher_trial(second, 0)
    assert own.method == TEACHER and own.settings.seed == 0
    assert teacher_of(own.settings) == teacher_of(second.settings)


def test_what_cannot_be_meant_is_refused() -> None:
    settings = load_settings({})
    with pytest.raises(ConfigError, match="variant 'x'"):
        Variant("x", changes={"finetune": {"kl_off": 7}}).trial(settings, "SimpleDoorKey", 0)
    with pytest.raises(ValueError, match="'b' must be one of"):
        Experiment("e", "?", (Variant("a"),), baseline="b")


@pytest.mark.extended
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "choose one of controls, ablation, schedules"),
        (
            ("nothing",),
            "there is no experiment 'nothing'; choose one of controls, ablation, schedules",
        ),
        (("ablation", "--task", "Nowhere"), "unknown task 'Nowhere'"),
        (("ablation", "--budget", "100"), "--budget is 100: it must exceed the 4000 offline"),
        (
            ("elicitation", "--teacher", "recorded/vicuna-33b"),
            "'sampling' and 'verbalized' would be the same with the teacher recorded/vicuna-33b",
        ),
    ],
)
def test_misuse_is_told_in_one_line(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    done = experiment(tmp_path, *words)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and said in done.stderr


@pytest.mark.extended
@pytest.mark.parametrize("command", ["compare", "experiment"])
def test_a_budget_is_refused(command: str, tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("[label]\nmax_cost = 2.5\n")
    words = ("--config", str(file), "--teacher", "recorded/vicuna-33b")
    done = run(command, *(["ablation"] if command == "experiment" else []), *words, place=tmp_path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "label.max_cost cannot be kept here: compare and experiment" in done.stderr
    assert not list(tmp_path.glob("runs/*")), "nothing was begun"


def test_a_list_says_what_each_answers(tmp_path: Path) -> None:
    listed = experiment(tmp_path, "--list").stdout
    assert all(name in listed for name in NAMES) and "?" in listed


def test_an_earlier_name_still_finds_its_experiment() -> None:
    assert find_experiment("generalisation").name == "generalization"


@pytest.mark.slow
def test_generalization_for_real_and_again_from_its_trials(tmp_path: Path) -> None:
    done = experiment(tmp_path / "w", "generalization", *SMALL, "-o", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    (found,) = json.loads((tmp_path / "out" / "comparison.json").read_text())["comparisons"]
    assert [m["label"] for m in found["methods"]] == ["RL only", "pretraining only", "all"]
    shifted = shifted_tasks("SimpleDoorKey")
    assert all(list(m["shifted"]) == shifted for m in found["methods"])
    assert list(found["teachers"][0]["shifted"]) == shifted
    stored = stored_trials(Workspace(tmp_path / "w"))
    trained = [
        trial for trial in stored if trial.identity["method"] in ("ppo", "pretrain", "teach")
    ]
    assert len(trained) == 3 * 2 + 2 * 2, "a student is trained once, and two have controls"
    assert len(stored) == 10 + 1 + 4 * (6 + 1), "and each teacher plays each shifted task once"
    students = {c.identity["student_run"] for c in stored if c.identity["method"] == "transfer"}
    controls = {run_id for method in found["controls"] for run_id in method["runs"]}
    assert students == {trial.run_id for trial in trained} - controls

    again = experiment(tmp_path / "w", "generalization", *SMALL, "--quiet")
    assert again.stderr == "" and again.stdout.split("files:")[0] in done.stdout
    assert len(stored_trials(Workspace(tmp_path / "w"))) == len(stored)
    assert "--workspace" not in done.stdout and "--budget 1536" in done.stdout


def test_rl_alone_needs_no_teacher_of_its_own() -> None:
    settings = load_settings({})
    assert not Variant("RL only", PPO).trial(settings, "SimpleDoorKey", 0).method.asks
