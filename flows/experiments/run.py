"""An experiment from its arms to its findings: cells are trained, played, and summed up."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from llm4teach.analysis.comparisons import results
from llm4teach.analysis.comparisons.figure import write_findings_figure
from llm4teach.analysis.comparisons.page import write_findings_page
from llm4teach.analysis.comparisons.results import Comparison, Findings, MethodResult, TeacherResult
from llm4teach.analysis.comparisons.table import NAME, findings_markdown
from llm4teach.datasets.runs import read_manifest
from llm4teach.datasets.storage.parquet import replacing, write_json
from llm4teach.datasets.storage.paths import StoragePath
from llm4teach.datasets.workspace import Workspace
from llm4teach.flows.experiments.scheduler import run_cells
from llm4teach.flows.experiments.spec import Experiment, on_task, shifted_variants, teacher_cell
from llm4teach.flows.experiments.trial import Cell, teacher_of
from llm4teach.flows.runtime.settings import ConfigError, Settings
from llm4teach.teacher_labeling.label_config import LabelConfig

Key = tuple[str, str, int]  # task, label of the arm, seed
Grid = Mapping[Key, Cell]


@dataclass(frozen=True)
class _Played:
    """Runs by cell, of students and of the teachers that play by themselves."""

    cells: Grid
    students: dict[Key, str]
    teachers: dict[Key, str]  # where the arm has one
    variants: dict[str, dict[Key, str]]  # students on variants of their task, by variant
    teachers_variants: dict[str, dict[Key, str]]


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
        experiment: its arms.
        settings: of everything that an arm does not change; its ``seed`` is the first one.
        tasks: to run all arms on.
        seeds: how many.
        jobs: processes to train in.
        command: that makes the findings again.

    Raises:
        ConfigError: an arm does not go with the settings, or these have a budget.
        TaskError, TeacherError: there is no such task or teacher.
        TrialError: training failed. What is complete stays, what is not is taken up again.
    """
    _refuse_a_budget(settings.label)
    workspace = Workspace(settings.workspace)
    numbers = [settings.seed + i for i in range(seeds)]
    cells = {
        (task, arm.label, n): arm.cell(settings, task, n)
        for task in tasks
        for n in numbers  # every arm's first seed before any second one
        for arm in experiment.arms
    }

    _must_differ(experiment, [cells[tasks[0], arm.label, numbers[0]] for arm in experiment.arms])

    def run(title: str, grid: Grid) -> dict[Key, str]:
        return dict(zip(grid, run_cells(title, list(grid.values()), workspace, jobs), strict=True))

    # Where no arm has a teacher, the one of the settings is shown all the same.
    none_asks = not any(cell.method.asks for cell in cells.values())
    asking = {
        key: teacher_cell(cell, settings.seed)
        for key, cell in cells.items()
        if cell.method.asks or none_asks
    }
    teachers = run("teachers", asking)
    students = run("students", cells)
    variants, teachers_variants = {}, {}
    for task in tasks if experiment.shifted else ():
        here = {key: cell for key, cell in cells.items() if key[0] == task}
        for name in shifted_variants(task):
            played = {key: on_task(cell, name, students[key]) for key, cell in here.items()}
            variants[name] = run(f"on {name}", played)
            own = {key: on_task(asking[key], name) for key in here if key in asking}
            teachers_variants[name] = run(f"on {name}", own)
    played_all = _Played(cells, students, teachers, variants, teachers_variants)
    comparisons = [_comparison(workspace, experiment, task, numbers, played_all) for task in tasks]
    every = [run_id for runs in (students, *variants.values()) for run_id in runs.values()]
    ends = [read_manifest(workspace.run(run_id))["finished_at"] for run_id in every]
    return Findings(
        name=experiment.name,
        question=experiment.question,
        figure=experiment.figure,
        command=command,
        date=max(ends).replace("T", " ").replace("+00:00", " UTC"),
        comparisons=comparisons,
        overall=results.overall_improvements(comparisons),
    )


def _must_differ(experiment: Experiment, cells: Sequence[Cell]) -> None:
    """Refuse arms that would train the same, because their teacher ignores what sets them apart."""
    known: dict[str, str] = {}
    for arm, cell in zip(experiment.arms, cells, strict=True):
        identity = json.dumps(cell.identity(teacher_of(cell.settings)), sort_keys=True)
        other = known.setdefault(identity, arm.label)
        if other != arm.label:
            raise ConfigError(
                f"{experiment.name}: {other!r} and {arm.label!r} would be the same with the "
                f"teacher {cell.settings.teacher.teacher}, which ignores what they differ in; "
                "choose another --teacher"
            )


def _refuse_a_budget(label: LabelConfig) -> None:
    """Cells run side by side, in any order: which of them did without advice would be chance."""
    names = ("max_requests", "max_tokens", "max_cost")
    if limited := [f"label.{name}" for name in names if getattr(label, name) is not None]:
        raise ConfigError(
            f"{' and '.join(limited)} cannot be kept here: compare and experiment have no budget, "
            "as every method must get the advice that it asks for; leave it out of the "
            "configuration file (or give another one with --config) and the environment"
        )


def write_findings(findings: Findings, folder: StoragePath) -> None:
    """Write ``comparison.md``, ``.json``, ``.svg``, ``.png`` and ``.html`` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_findings_figure(findings, folder / f"{NAME}.svg", folder / f"{NAME}.png")
    write_json(folder / f"{NAME}.json", asdict(findings))
    with replacing(folder / f"{NAME}.md") as temporary:
        temporary.write_text(findings_markdown(findings), encoding="utf-8")
    write_findings_page(findings, folder / f"{NAME}.html")


def _comparison(
    workspace: Workspace, experiment: Experiment, task: str, numbers: Sequence[int], played: _Played
) -> Comparison:
    labels = [arm.label for arm in experiment.arms]
    keys = {label: [(task, label, n) for n in numbers] for label in labels}
    own = {label: _teachers(played, keys[label]) for label in labels}  # keys, one a teacher
    names = _teacher_names(played, own)
    by_name = {names[label]: teacher_keys for label, teacher_keys in own.items() if teacher_keys}
    methods = [
        replace(_method(workspace, label, keys[label], task, played), teacher=names.get(label))
        for label in labels
    ]
    first, whole = played.cells[keys[labels[0]][0]], [c for k, c in played.cells.items()]
    return Comparison(
        task=task,
        seeds=list(numbers),
        budget=max(cell.budget for cell in whole),
        offline_steps=first.settings.collect.steps,
        methods=results.with_improvements(methods, experiment.baseline),
        teachers=[
            _teacher(workspace, name, teacher_keys, task, played)
            for name, teacher_keys in by_name.items()
        ],
        baseline=experiment.baseline,
    )


def _teachers(played: _Played, keys: Sequence[Key]) -> tuple[Key, ...]:
    """One key for each distinct teacher that an arm's seeds had."""
    found = {played.teachers[key]: key for key in reversed(keys) if key in played.teachers}
    return tuple(reversed(found.values()))


def _teacher_names(played: _Played, own: Mapping[str, tuple[Key, ...]]) -> dict[str, str]:
    """What each arm's teacher is called: by its model if all have the same, else like the arm."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for label, keys in own.items():
        if keys:
            groups.setdefault(tuple(played.teachers[key] for key in keys), []).append(label)
    if len(groups) == 1:
        (arms,) = groups.values()
        info = teacher_of(played.cells[own[arms[0]][0]].settings)
        return dict.fromkeys(arms, f"{info.backend}/{info.model}")
    return {label: arms[0] for arms in groups.values() for label in arms}


def _method(
    workspace: Workspace, label: str, keys: Sequence[Key], task: str, played: _Played
) -> MethodResult:
    seeds = [results.read_seed(workspace, played.students[key]) for key in keys]
    shifted = {
        name: results.spread([one.success["sampled"] for one in there])
        for name, there in _on_variants(workspace, played.variants, keys, task)
    }
    return replace(results.method_result(label, seeds), shifted=shifted)


def _teacher(
    workspace: Workspace, label: str, keys: Sequence[Key], task: str, played: _Played
) -> TeacherResult:
    found = [results.read_seed(workspace, played.teachers[key]) for key in keys]
    shifted = {
        name: results.rate([one.success["sampled"] for one in there], there)
        for name, there in _on_variants(workspace, played.teachers_variants, keys, task)
    }
    return replace(results.teacher_result(label, found), shifted=shifted)


def _on_variants(
    workspace: Workspace,
    variants: Mapping[str, Mapping[Key, str]],
    keys: Sequence[Key],
    task: str,
) -> Iterator[tuple[str, list[results.SeedResult]]]:
    """What the players of these keys did in each of the task's variants."""
    for name, runs in variants.items():
        if name.startswith(f"{task}-"):
            yield name, [results.read_seed(workspace, runs[key]) for key in keys]
