"""What Prefect's UI shows of a run: how far it is, the funnel, learning curves and the report.

Only where flow runs report to the user's own server: nobody looks at a temporary one.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from markupsafe import Markup
from prefect import get_run_logger

from llm4teach.analysis.reports.curves import learning_curves
from llm4teach.analysis.reports.figures import standalone
from llm4teach.analysis.summary import summary_table
from llm4teach.datasets.metrics import read_metrics
from llm4teach.datasets.runs import EVALUATION, Run
from llm4teach.datasets.schema import EVALUATIONS
from llm4teach.datasets.storage.parquet import read_parquet
from llm4teach.datasets.storage.paths import StoragePath
from llm4teach.flows.runtime.flow_runs import own_flow_run

PAUSE_S = 10.0  # between two updates of a progress: each is a request
_FUNNEL = (  # from the many to the few: result of a run, and what it counts
    ("collect_steps", "env steps collected"),
    ("distinct_states", "distinct states among them"),
    ("questions", "questions to the teacher"),
    ("states_left", "states left without advice"),
    ("finetune_steps", "env steps of fine-tuning"),
    ("live_questions", "questions while fine-tuning"),
)


class ProgressArtifact:
    """A stage's progress in the flow run's page; does nothing where there is none."""

    def __init__(self, title: str, unit: str) -> None:
        self._title, self._unit = title, unit
        self._id: Any = None
        self._last = -PAUSE_S if own_flow_run() else float("inf")

    def show(self, done: float, total: float | None, detail: str = "") -> None:
        """Show an amount, unless one was shown just now."""
        if time.monotonic() - self._last >= PAUSE_S:
            amount = f"{done:,.0f} of {total or 0:,.0f} {self._unit}".strip()
            words = f"{amount} ({detail})" if detail else amount
            self._show(100.0 * min(1.0, done / total) if total else 0.0, words)

    def finish(self, summary: str) -> None:
        """Show that the stage is done."""
        if self._last < float("inf"):
            self._show(100.0, summary or "done")

    def _show(self, percent: float, words: str) -> None:
        from prefect.artifacts import create_progress_artifact, update_progress_artifact

        self._last, words = float("inf"), f"{self._title}: {words}"  # silent if this fails
        with _harmless():
            if self._id is None:
                self._id = create_progress_artifact(percent, description=words)
            else:
                update_progress_artifact(self._id, percent, description=words)
            self._last = time.monotonic()


def show_funnel(run: Run, task: str, **more: Any) -> None:
    """A table: from env steps to distinct states, questions and what is left; ``more`` results."""
    results = run.results | more
    rows = [
        {"what": words, "count": results[name], "per env step": _per(results[name], results)}
        for name, words in _FUNNEL
        if results.get(name) is not None
    ]
    if not own_flow_run() or not rows:
        return
    from prefect.artifacts import create_table_artifact

    described = f"Run `{run.run_id}`: how few of the steps the teacher is asked about."
    with _harmless():
        create_table_artifact(rows, key=_key("funnel", task), description=described)


def _per(count: float, results: Mapping[str, Any]) -> str:
    steps = results.get("collect_steps")
    return f"{count / steps:.2%}" if steps else ""


def show_curves(run: Run, task: str) -> None:
    """A page of learning curves and of the success rates, as far as the run has them."""
    if not own_flow_run():
        return
    from prefect.artifacts import create_image_artifact, create_markdown_artifact

    episodes, metrics = run.folder / EVALUATION, read_metrics(run.folder)
    if not len(metrics) and not episodes.exists():
        return
    rows = summary_table(read_parquet(episodes, EVALUATIONS)) if episodes.exists() else []
    teacher = next((row["success_rate"] for row in rows if row["policy"] == "teacher"), None)
    chapters = learning_curves(metrics, teacher)
    page = [f"# {run.run_id}"]
    if rows:
        page += ["", "| policy | mode | success | 95% | episodes |", "|---|---|---|---|---|"]
        page += [
            f"| {row['policy']} | {row['mode']} | {row['success_rate']:.1%} "
            f"| {row['success_low']:.1%} to {row['success_high']:.1%} | {row['episodes']} |"
            for row in rows
        ]
    for chapter in chapters:
        page += ["", f"## {chapter.title}", ""]
        page += [f"![{_alt(figure)}]({data_url(figure)})" for figure in chapter.figures]
    figures = [figure for chapter in chapters for figure in chapter.figures]
    described = f"Run `{run.run_id}`"
    with _harmless():
        create_markdown_artifact(
            "\n".join(page), key=_key("learning-curves", task), description=described
        )
        if shown := next((f for f in figures if _alt(f).startswith("Success rate")), None):
            create_image_artifact(
                data_url(shown), key=_key("success-rate", task), description=_alt(shown)
            )


def show_report(run: Run, task: str, path: StoragePath) -> None:
    """A link to the report. A browser opens a local file's only if it is given the address."""
    if not own_flow_run():
        return
    from prefect.artifacts import create_link_artifact

    local = path.resolve() if isinstance(path, Path) else None
    with _harmless():
        create_link_artifact(
            local.as_uri() if local else str(path),
            link_text=f"report of {run.run_id}",
            key=_key("report", task),
            description=f"`{local or path}`: one file; `llm4teach report {run.run_id}` renews it.",
        )


@contextmanager
def _harmless() -> Iterator[None]:
    """Let a run go on without its pictures where the server does not take them."""
    try:
        yield
    except Exception as error:
        get_run_logger().warning("Prefect's page of this run could not be written: %s", error)


def data_url(figure: Markup) -> str:
    """A figure as an address that is the figure itself, for pages that hold no files."""
    content = base64.b64encode(standalone(figure).encode()).decode()
    return f"data:image/svg+xml;base64,{content}"


def _alt(figure: Markup) -> str:
    label = re.search(r'aria-label="([^"]*)"', str(figure))
    return re.sub(r"[\[\]]", "", label[1]) if label else ""


def _key(what: str, task: str) -> str:
    """Prefect's keys: lower-case letters, digits and dashes. One a task, so that runs line up."""
    return re.sub(r"[^a-z0-9]+", "-", f"{what}-{task}".lower()).strip("-")
