"""An experiment from its variants to its findings: trials are trained, played, and summed up."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from llm4teach.analysis.comparisons import results
from llm4teach.analysis.comparisons.figure import write_findings_figure
from llm4teach.analysis.comparisons.page import write_findings_page
from llm4teach.analysis.comparisons.results import Comparison, Findings, MethodResult, TeacherResult
from llm4teach.analysis.comparisons.seed_rows import findings_csv
from llm4teach.analysis.comparisons.table import NAME, findings_markdown
from llm4teach.datasets.runs import read_manifest
from llm4teach.datasets.storage.parquet import replacing, write_json
from llm4teach.datasets.storage.paths import StoragePath
from llm4teach.datasets.workspace import Workspace
from llm4teach.errors import ConfigError
from llm4teach.flows.experiments.baselines import chosen_variants, has_d3rlpy
from llm4teach.flows.experiments.scheduler import run_trials
from llm4teach.flows.experiments.spec import (
    Experiment,
    control_trial,
    on_task,
    shifted_tasks,
    teacher_trial,
)
from llm4teach.flows.experiments.trial import TEACH, Trial, teacher_of
from llm4teach.flows.runtime.origin import machine, source_commit
from llm4teach.flows.runtime.progress import say
from llm4teach.flows.runtime.settings import Settings
from llm4teach.flows.runtime.teacher_access import resolve_teacher
from llm4teach.teacher_labeling.config import LabelConfig
from llm4teach.teacher_labeling.factory import check_installed
from llm4teach.teacher_labeling.teacher import NO_LLM

Key = tuple[str, str, int]  # task, label of the variant, seed
Grid = Mapping[Key, Trial]


@dataclass(frozen=True)
class _Played:
    """Runs by trial, of students and of the teachers that play by themselves."""

    trials: Grid
    students: dict[Key, str]
    teachers: dict[Key, str]  # where the variant has one
    controls: dict[Key, str]  # students of the same trials without the LLM, where there is one
    shifted: dict[str, dict[Key, str]]  # students on shifted tasks, by task
    teachers_shifted: dict[str, dict[Key, str]]


def run_experiment(
    experiment: Experiment,
    settings: Settings,
    tasks: Sequence[str],
    seeds: int,
    jobs: int,
    command: str,
) -> Findings:
    """Train and play whatever is not in the workspace yet, and sum everything up.

    Args:
        experiment: its variants.
        settings: of everything that a variant does not change; its ``seed`` is the first one.
        tasks: to run all variants on.
        seeds: how many.
        jobs: processes to train in.
        command: that makes the findings again.

    Raises:
        ConfigError: a variant does not go with the settings, or these have a budget.
        TaskError, TeacherError: there is no such task or teacher.
        TrialError: training failed. Complete trials stay, others resume with the next command.
    """
    _refuse_a_budget(settings.label)
    _need_d3rlpy(experiment)
    settings = settings.model_copy(update={"teacher": resolve_teacher(settings.teacher)})
    workspace = Workspace(settings.workspace)
    numbers = [settings.seed + i for i in range(seeds)]
    trials = {
        (task, variant.label, n): variant.trial(settings, task, n)
        for task in tasks
        for n in numbers  # every variant's first seed before any second one
        for variant in experiment.variants
    }

    _must_differ(
        experiment, [trials[tasks[0], variant.label, numbers[0]] for variant in experiment.variants]
    )

    def run(title: str, grid: Grid) -> dict[Key, str]:
        return dict(zip(grid, run_trials(title, list(grid.values()), workspace, jobs), strict=True))

    # Where no variant has a teacher, the one of the settings is shown all the same.
    none_asks = not any(trial.method.asks for trial in trials.values())
    asking = {
        key: teacher_trial(trial, settings.seed)
        for key, trial in trials.items()
        if trial.method.asks or none_asks
    }
    for teacher in {trial.settings.teacher for trial in asking.values()}:
        check_installed(teacher)
    teachers = run("teachers", asking)
    students = run("students", trials)
    without = {key: control for key, trial in trials.items() if (control := control_trial(trial))}
    controls = run("controls without an LLM", without) if without else {}
    shifted, teachers_shifted = {}, {}
    for task in tasks if experiment.shifted else ():
        task_trials = {key: trial for key, trial in trials.items() if key[0] == task}
        for name in shifted_tasks(task):
            played = {
                key: on_task(trial, name, students[key]) for key, trial in task_trials.items()
            }
            shifted[name] = run(f"on {name}", played)
            advisors = {key: on_task(asking[key], name) for key in task_trials if key in asking}
            teachers_shifted[name] = run(f"on {name}", advisors)
    played_all = _Played(trials, students, teachers, controls, shifted, teachers_shifted)
    comparisons = [_comparison(workspace, experiment, task, numbers, played_all) for task in tasks]
    grids = (students, controls, *shifted.values())
    every = [run_id for runs in grids for run_id in runs.values()]
    ends = [read_manifest(workspace.run(run_id))["finished_at"] for run_id in every]
    return Findings(
        name=experiment.name,
        question=experiment.question,
        figure=experiment.figure,
        command=command,
        date=max(ends).replace("T", " ").replace("+00:00", " UTC"),
        comparisons=comparisons,
        overall=results.overall_improvements(comparisons),
        commit=source_commit(),
        machine=machine(),
    )


def _must_differ(experiment: Experiment, trials: Sequence[Trial]) -> None:
    """Refuse variants that would train the same: their teacher ignores what sets them apart."""
    labels: dict[str, str] = {}
    for variant, trial in zip(experiment.variants, trials, strict=True):
        identity = json.dumps(trial.identity(teacher_of(trial.settings)), sort_keys=True)
        other = labels.setdefault(identity, variant.label)
        if other != variant.label:
            raise ConfigError(
                f"{experiment.name}: {other!r} and {variant.label!r} would be the same with the "
                f"teacher {trial.settings.teacher.teacher}, which ignores what they differ in; "
                "choose another --teacher"
            )


def _need_d3rlpy(experiment: Experiment) -> None:
    labels = [variant.label for variant in experiment.variants if variant.method.algorithm]
    if labels and not has_d3rlpy():
        raise ConfigError(
            f"{' and '.join(labels)}: there is no d3rlpy; pip install 'llm4teach[offline-rl]', "
            "or leave them out (`compare --methods`)"
        )


def _refuse_a_budget(label: LabelConfig) -> None:
    """Trials run side by side, in any order: which of them did without advice would be chance."""
    names = ("max_requests", "max_tokens", "max_cost")
    if limited := [f"label.{name}" for name in names if getattr(label, name) is not None]:
        raise ConfigError(
            f"{' and '.join(limited)} cannot be kept here: compare and experiment have no budget, "
            "as every method must get the advice that it asks for; leave it out of the "
            "configuration file (or give another one with --config) and the environment"
        )


def write_findings(findings: Findings, folder: StoragePath) -> None:
    """Write ``comparison.md``, ``.csv``, ``.json``, ``.svg``, ``.png`` and ``.html``."""
    folder.mkdir(parents=True, exist_ok=True)
    write_findings_figure(findings, folder / f"{NAME}.svg", folder / f"{NAME}.png")
    write_json(folder / f"{NAME}.json", asdict(findings))
    texts = {"md": findings_markdown(findings), "csv": findings_csv(findings)}
    for kind, text in texts.items():
        with replacing(folder / f"{NAME}.{kind}") as temporary:
            temporary.write_text(text, encoding="utf-8")
    write_findings_page(findings, folder / f"{NAME}.html")


def _comparison(
    workspace: Workspace, experiment: Experiment, task: str, numbers: Sequence[int], played: _Played
) -> Comparison:
    labels = [variant.label for variant in experiment.variants]
    keys = {label: [(task, label, n) for n in numbers] for label in labels}
    teacher_keys = {label: _teachers(played, keys[label]) for label in labels}  # one per teacher
    names = _teacher_names(played, teacher_keys)
    by_name = {names[label]: own_keys for label, own_keys in teacher_keys.items() if own_keys}
    methods = [
        replace(_method(workspace, label, keys[label], task, played), teacher=names.get(label))
        for label in labels
    ]
    methods, controls = _with_shares(workspace, methods, keys, played)
    first, whole = played.trials[keys[labels[0]][0]], [c for k, c in played.trials.items()]
    return Comparison(
        task=task,
        seeds=list(numbers),
        budget=max(trial.budget for trial in whole),
        offline_steps=first.settings.collect.steps,
        methods=results.with_improvements(methods, experiment.baseline),
        teachers=[_teacher(workspace, name, one, task, played) for name, one in by_name.items()],
        baseline=experiment.baseline,
        controls=controls,
    )


def _with_shares(
    workspace: Workspace,
    methods: Sequence[MethodResult],
    keys: Mapping[str, Sequence[Key]],
    played: _Played,
) -> tuple[list[MethodResult], list[MethodResult]]:
    """Return the methods with the LLM's share, and the controls that are none of them."""
    by_runs = {tuple(method.runs): method for method in methods}
    controls: list[MethodResult] = []
    shared = []
    for method in methods:
        runs = tuple(played.controls[k] for k in keys[method.label] if k in played.controls)
        if runs and runs not in by_runs:
            seeds = [results.read_seed(workspace, run_id) for run_id in runs]
            controls += [results.method_result(f"{method.label}, no LLM", seeds)]
            by_runs[runs] = controls[-1]
        share = results.llm_share(method, by_runs[runs]) if runs else None
        shared += [replace(method, share=share)]
    return shared, controls


def _teachers(played: _Played, keys: Sequence[Key]) -> tuple[Key, ...]:
    """One key for each distinct teacher that a variant's seeds had."""
    key_of = {played.teachers[key]: key for key in reversed(keys) if key in played.teachers}
    return tuple(reversed(key_of.values()))


def _teacher_names(played: _Played, teacher_keys: Mapping[str, tuple[Key, ...]]) -> dict[str, str]:
    """Name each variant's teacher: by its model if all but controls share it, else by the label."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for label, keys in teacher_keys.items():
        if keys:
            groups.setdefault(tuple(played.teachers[key] for key in keys), []).append(label)
    infos = {
        runs: teacher_of(played.trials[teacher_keys[variants[0]][0]].settings)
        for runs, variants in groups.items()
    }
    controls = {runs for runs, info in infos.items() if info.teacher_id.startswith(NO_LLM)}
    names: dict[str, str] = {}
    for runs, variants in groups.items():
        info, is_only = infos[runs], len(groups.keys() - controls) <= 1
        name = f"{info.backend}/{info.model}" if is_only or runs in controls else variants[0]
        names |= dict.fromkeys(variants, name)
    return names


def _method(
    workspace: Workspace, label: str, keys: Sequence[Key], task: str, played: _Played
) -> MethodResult:
    seeds = [results.read_seed(workspace, played.students[key]) for key in keys]
    shifted = {
        name: results.spread([one.success["sampled"] for one in there])
        for name, there in _on_shifted(workspace, played.shifted, keys, task)
    }
    return replace(results.method_result(label, seeds), shifted=shifted)


def _teacher(
    workspace: Workspace, label: str, keys: Sequence[Key], task: str, played: _Played
) -> TeacherResult:
    seeds = [results.read_seed(workspace, played.teachers[key]) for key in keys]
    shifted = {
        name: results.rate([one.success["sampled"] for one in there], there)
        for name, there in _on_shifted(workspace, played.teachers_shifted, keys, task)
    }
    return replace(results.teacher_result(label, seeds), shifted=shifted)


def _on_shifted(
    workspace: Workspace,
    shifted: Mapping[str, Mapping[Key, str]],
    keys: Sequence[Key],
    task: str,
) -> Iterator[tuple[str, list[results.SeedResult]]]:
    """What the players of these keys did in each of the task's shifted versions."""
    for name, runs in shifted.items():
        if name.startswith(f"{task}-"):
            yield name, [results.read_seed(workspace, runs[key]) for key in keys]


def compare(
    settings: Settings,
    seeds: int,
    jobs: int,
    only: Sequence[str] = (),
    command: str = "",
    output: str | None = None,
) -> tuple[Findings, StoragePath]:
    """Train whatever is not in the workspace yet; write table and figure into a folder of it.

    Args:
        settings: of the whole method; its ``seed`` is the first one.
        seeds: how many.
        jobs: processes to train in.
        only: names of the variants (`baselines.VARIANTS`); none for all.
        command: that makes the comparison again.
        output: folder for one more copy of the results.

    Returns:
        The findings, and the folder of ``comparison.md``, ``.csv``, ``.json``, ``.png``, ``.svg``
        and ``.html``.

    Raises:
        TrialError: training failed. Complete trials stay, others resume with the next command.
    """
    variants, left_out = chosen_variants(only, settings.teacher.teacher)
    if left_out:
        say(f"llm4teach: without {' and '.join(left_out)}: pip install 'llm4teach[offline-rl]'")
    experiment = Experiment("compare", "", variants, baseline=variants[0].label)
    findings = run_experiment(experiment, settings, [settings.task], seeds, jobs, command)
    info = teacher_of(settings)
    identity = [Trial(TEACH, settings).identity(info), seeds, *sorted(only)]
    name = f"{settings.task}-{info.backend}/{info.model}-{seeds}-seeds"
    folder = results_folder(Workspace(settings.workspace), name, identity)
    write_findings(findings, folder)
    if output:
        write_findings(findings, Path(output))
    return findings, folder


def results_folder(
    workspace: Workspace, name: str, identity: Sequence[Mapping[str, Any] | Any]
) -> StoragePath:
    """Return the same folder for the same comparison, another one for any other."""
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    return workspace.comparison(re.sub(r"[^A-Za-z0-9.]+", "-", f"{name}-{digest}"))
