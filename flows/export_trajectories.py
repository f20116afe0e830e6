"""Exporting trajectories with advice: all of it, in one step, or nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from llm4teach.analysis.exports.advice import StoredAdvice
from llm4teach.analysis.exports.card import card, summary_line
from llm4teach.analysis.exports.facts import Facts
from llm4teach.analysis.exports.trajectories import layout_of, write_episodes
from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.datasets.episodes import count_steps, runs_with_steps
from llm4teach.datasets.exporters.minari_dataset import (
    MinariWriter,
    dataset_folder,
    register_namespace,
)
from llm4teach.datasets.exporters.parquet_files import ParquetWriter
from llm4teach.datasets.storage.parquet import new_folder
from llm4teach.datasets.storage.paths import folder_names
from llm4teach.datasets.trajectories import read_states
from llm4teach.datasets.workspace import Workspace
from llm4teach.envs.registry import get_task
from llm4teach.errors import ConfigError, DatasetError, TeacherError
from llm4teach.flows.runtime.progress import stage
from llm4teach.flows.runtime.settings import Settings
from llm4teach.flows.runtime.teacher_access import advice_of, resolve_teacher
from llm4teach.teacher_labeling.factory import questions_of, teacher_info
from llm4teach.teacher_labeling.questions import JUDGMENTS
from llm4teach.teacher_labeling.teacher import TeacherInfo

Format = Literal["parquet", "minari"]
_PROVENANCE = ("author", "author_email", "code_permalink")  # that Minari's metadata has


@dataclass(frozen=True)
class Export:
    """What to export, and what its metadata says of its makers.

    Args:
        format: of the dataset.
        runs: ids; none for every run of the task.
        behaviors: as in `write_episodes`.
        advice: whether to add the teacher's.
        replay: whether to play episodes again for the observation after their last step.
        author, author_email, code_permalink, license: for the metadata; empty: left out.
    """

    format: Format = "parquet"
    runs: Sequence[str] = ()
    behaviors: Sequence[str] = ()
    advice: bool = True
    replay: bool = True
    author: str = ""
    author_email: str = ""
    code_permalink: str = ""
    license: str = ""


def export_trajectories(target: str, settings: Settings, export: Export) -> Path:
    """Write a task's stored trajectories as a new dataset; return its folder.

    Args:
        target: the folder to make, or the id of a Minari dataset.
        settings: name task, workspace and teacher.
        export: what to write.

    Raises:
        ConfigError: the target is no folder or id.
        TaskError: there is no such task.
        TeacherError: the teacher has no advice on the task.
        DatasetError: there are no such trajectories, they are damaged, or the target exists
            already or cannot be written; then nothing is left there.
    """
    folder = _folder(target, export.format)
    task, workspace = get_task(settings.task), Workspace(settings.workspace)
    runs = _chosen_runs(workspace, task.name, export.runs)
    steps = count_steps(workspace, task.name, runs, task.observation_shape)
    if not steps:
        raise DatasetError(
            f"no trajectories of {task.name} in {workspace.root}; collect some first (llm4teach "
            "collect)"
        )
    info, store = _stored_advice(settings, workspace, task.family) if export.advice else (None,) * 2
    questions, options = None, set[str]()
    if info is not None:
        questions = questions_of(task, settings.teacher, info)
    if info is not None and info.method == JUDGMENTS:
        tables = (read_states(workspace.trajectories(task.name, run)) for run in runs)
        options = {plan for table in tables for state in table.values() for plan in state.plans}
    advice = StoredAdvice(task, store, questions, options)
    layout = layout_of(task, advice.plans)
    with new_folder(folder) as place, stage("export", steps, "steps") as shown:
        writer = (
            ParquetWriter(place, layout)
            if export.format == "parquet"
            else MinariWriter(place, target, layout)
        )
        try:
            facts = write_episodes(
                writer,
                workspace,
                task,
                runs,
                advice,
                behaviors=export.behaviors,
                replay=export.replay,
                on_steps=shown.advance,
            )
        finally:
            writer.close()
        spent = advice.spent_on(facts.states)
        if isinstance(writer, MinariWriter):
            provenance = _provenance(export)
            writer.describe({**provenance, **_about(facts)}, _origin(facts, info, spent))
            register_namespace(target)
        else:
            text = card(facts, layout, info, spent, export.license)
            (place / "README.md").write_text(text, encoding="utf-8")
        shown.summary = summary_line(facts)
    return folder


def _folder(target: str, kind: Format) -> Path:
    if kind == "minari":
        return dataset_folder(target)
    if "://" in target:
        raise ConfigError(f"{target} is a URL; give a folder on this machine, then copy it")
    return Path(target).expanduser().resolve()


def _chosen_runs(workspace: Workspace, task: str, chosen: Sequence[str]) -> list[str]:
    stored = runs_with_steps(workspace, task)
    unknown = [run for run in chosen if run not in stored]
    if unknown:
        newest = ", ".join(stored[-5:]) or "none"
        raise DatasetError(
            f"run {unknown[0]!r} has no trajectories of {task} in {workspace.root}; these have: "
            f"{newest}"
        )
    return list(dict.fromkeys(chosen)) or stored


def _stored_advice(
    settings: Settings, workspace: Workspace, family: str
) -> tuple[TeacherInfo, AdviceStore]:
    info = teacher_info(resolve_teacher(settings.teacher), family)
    store = advice_of(info, workspace, family)
    store.refresh()
    if not len(store):
        slugs = folder_names(workspace.advice(family, "").parent)
        others = ", ".join(slug.removeprefix("teacher=") for slug in slugs) or "none"
        raise TeacherError(
            f"there is no advice of {info.teacher_id} on {family} in {workspace.root} (there is "
            f"of: {others}); choose another --teacher, label the states first, or leave the "
            "advice out (--without-advice)"
        )
    return info, store


def _provenance(export: Export) -> dict[str, Any]:
    found: dict[str, Any] = {n: getattr(export, n) for n in _PROVENANCE if getattr(export, n)}
    for name in ("author", "author_email"):  # of which Minari keeps a set
        if name in found:
            found[name] = {found[name]}
    return found | ({"license": export.license} if export.license else {})


def _about(facts: Facts) -> dict[str, str]:
    policies = [name for name, _ in facts.behaviors.most_common()]
    return {
        "algorithm_name": f"LLM4Teach behavior policies: {', '.join(policies)}",
        "description": (
            f"Episodes of {facts.task.name} with a teacher's advice in `infos`, whose rows are "
            "aligned with the observations (one more than the actions); the key `llm4teach` of "
            "the metadata says what each is. An episode that is neither terminated nor truncated "
            "was still running when its collection stopped. The episode's metadata say whether "
            "the last observation was `replayed` from the seed, or is `unknown`: then the one "
            "before stands in its place."
        ),
    }


def _origin(
    facts: Facts,
    info: TeacherInfo | None,
    spent: Mapping[str, float],
) -> dict[str, Any]:
    from importlib.metadata import version

    teacher = {}
    if info is not None:
        names = ("teacher_id", "model", "model_revision", "method", "settings", "prompt_version")
        teacher = {name: getattr(info, name) for name in names}
    return {
        "version": version("llm4teach"),
        "task": facts.task.name,
        "family": str(facts.task.family),
        "runs": list(facts.steps_of),
        "teacher": teacher,
        **spent,
        "distinct_states": len(facts.states),
        "steps_with_advice": facts.advised_steps,
        "episodes_ended": len(facts.returns),
        "successes": facts.successes,
        "mean_return": sum(facts.returns) / len(facts.returns) if facts.returns else None,
    }
