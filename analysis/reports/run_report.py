"""One self-contained HTML page about one run."""

from __future__ import annotations

import base64
import hashlib
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pyarrow as pa
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from llm4teach.analysis.measures import measure_table
from llm4teach.analysis.reports import report_content as content
from llm4teach.analysis.reports.agreement import agreement_map
from llm4teach.analysis.reports.curves import learning_curves
from llm4teach.analysis.reports.figures import interval_figure
from llm4teach.analysis.reports.film_view import film_views
from llm4teach.analysis.summary import success_difference, summary_table
from llm4teach.datasets import schema
from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.datasets.metrics import read_metrics
from llm4teach.datasets.runs import AGREEMENT, CONFIG, EVALUATION, MANIFEST, REPORT, read_films
from llm4teach.datasets.storage.parquet import read_json, read_parquet, replacing
from llm4teach.datasets.storage.paths import StoragePath
from llm4teach.datasets.workspace import Workspace
from llm4teach.envs.registry import get_task
from llm4teach.teacher_labeling.questions import JUDGMENTS

_TEMPLATES = Path(__file__).parents[1] / "templates"
_SCRIPT = (_TEMPLATES / "film_player.js").read_text(encoding="utf-8")
_PACKAGES = ("llm4teach", "torch", "numpy", "gymnasium", "minigrid", "pyarrow", "prefect")


def write_report(
    workspace: Workspace,
    run_id: str,
    results: Mapping[str, Any] | None = None,
    command: str | None = None,
) -> StoragePath:
    """Write ``report.html`` into a run's folder and return its path.

    The page needs no other file and no network. What the run does not have is left out with a
    short note; a page can be written before the run is complete.

    Args:
        workspace: holds the run and its teacher's advice.
        run_id: of a run that is there.
        results: of the run; read from its manifest if None, and empty without one.
        command: how to start this run again; derived from the configuration if None.

    Raises:
        DatasetError: there is no such run, or one of its files is damaged.
    """
    folder = workspace.existing_run(run_id)
    manifest = read_json(folder / MANIFEST) if (folder / MANIFEST).exists() else {}
    started = read_json(folder / CONFIG) if (folder / CONFIG).exists() else {}
    results = manifest.get("results", {}) if results is None else results
    config = started.get("config") or manifest.get("config") or {}
    kind = started.get("kind") or manifest.get("kind") or run_id.split("-")[0]
    task = results.get("task") or config.get("task") or ""

    metrics = read_metrics(folder)
    episodes = _table(folder / EVALUATION, schema.EVALUATIONS)
    rows = summary_table(episodes)
    measured_policies, measures = measure_table(episodes)
    of_teacher = (row["success_rate"] for row in rows if row["policy"] == "teacher")
    teacher_success = next(of_teacher, None)
    advice = content.advice_view(_advice(workspace, results))
    compared = _table(folder / AGREEMENT, schema.AGREEMENT).to_pylist()
    agreement, states = agreement_map(compared, _action_names(task) if compared else [])
    films = film_views(read_films(folder, results), task, advice)
    moving = any(not film.problem for film in films)
    page = (
        page_environment()
        .get_template("report.html")
        .render(
            run_id=run_id,
            kind=kind,
            task=task,
            teacher_id=results.get("teacher_id", ""),
            prompt_version=results.get("prompt_version", ""),
            created_at=manifest.get("created_at")
            or datetime.now(UTC).isoformat(timespec="seconds"),
            wall_s=manifest.get("wall_s"),
            versions=manifest.get("versions") or _versions(),
            python=manifest.get("python") or platform.python_version(),
            rows=rows,
            intervals=interval_figure(rows) if rows else "",
            difference=success_difference(episodes),
            measures=measures,
            measured_policies=measured_policies,
            costs=content.costs(results, metrics),
            advice=advice[: content.MAX_ADVICE],
            judgments=any(row["method"] == JUDGMENTS for row in advice[:1]),
            advice_left_out=max(0, len(advice) - content.MAX_ADVICE),
            chapters=learning_curves(metrics, teacher_success),
            teacher_success=teacher_success,
            agreement=agreement,
            states=states,
            films=films,
            script=Markup(_SCRIPT) if moving else "",  # its own words, not a model's
            script_hash=_hash(_SCRIPT),
            settings=content.settings(config),
            command=command or content.command(kind, workspace.name, config),
        )
    )
    path = folder / REPORT
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def page_environment() -> Environment:
    """Return the templates' environment, with the filters that they use."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,  # a model's words stand on this page
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = _percent
    return environment


def _percent(share: float) -> str:
    """A tenth of a percent is enough, except where it would turn little into nothing."""
    return f"{100 * share:.1f}%" if share == 0 or share >= 0.001 else f"{100 * share:.1g}%"


def _hash(script: str) -> str:
    """What the page's security policy allows to run, and nothing else."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _action_names(task: str) -> Sequence[str]:
    return get_task(task).action_names


def _table(path: StoragePath, kind: pa.Schema) -> pa.Table:
    return read_parquet(path, kind) if path.exists() else kind.empty_table()


def _advice(workspace: Workspace, results: Mapping[str, Any]) -> list[dict[str, Any]]:
    names = ("advice_family", "teacher_slug", "teacher_id", "prompt_version")
    family, slug, teacher_id, prompt_version = (results.get(name, "") for name in names)
    if not (family and slug):
        return []
    return AdviceStore(workspace.advice(family, slug), teacher_id, prompt_version).rows()


def _versions() -> dict[str, str]:
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
