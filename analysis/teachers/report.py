"""One self-contained HTML page about the teachers of a workspace: are they any good?"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from io import StringIO
from typing import Any

from markupsafe import Markup

from llm4teach.analysis.reports.figures import (
    FAINT,
    INK,
    RANDOM,
    TEACHER,
    draw_svg,
    lines_of_percent,
)
from llm4teach.analysis.reports.run_report import page_environment
from llm4teach.datasets.storage.parquet import replacing
from llm4teach.datasets.storage.paths import StoragePath
from llm4teach.datasets.workspace import Workspace

_SUCCESS = ("success", "success_low", "success_high")
PAGE, DATA, TABLE = "report.html", "diagnostics.json", "diagnostics.csv"
_CSV_COLUMNS = (  # of a teacher's diagnostics, nested names with a dot
    *("label", "method", "states", "advised_states", "entropy", "coverage", "tokens", "usd"),
    *(f"calibration.{n}" for n in ("n", "accuracy", "confidence", "error", "brier", "entropy_auc")),
    *(f"{p}.{n}" for p in ("own", "cautious", "noisy") for n in _SUCCESS),
    *(f"{m}.value" for m in ("importance_sampling", "fitted_q")),
)


def diagnostics_csv(diagnostics: Mapping[str, Any]) -> str:
    """Return the main figures of `diagnose` as CSV, one row per teacher; unknown ones are empty."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(name.replace(".", "_") for name in _CSV_COLUMNS)
    for teacher in diagnostics["teachers"]:
        row = []
        for name in _CSV_COLUMNS:
            value: Any = teacher
            for key in name.split("."):
                value = value.get(key) if isinstance(value, Mapping) else None
            row.append("" if value is None else value)
        writer.writerow(row)
    return text.getvalue()


def write_teacher_report(
    workspace: Workspace, diagnostics: dict[str, Any], command: str
) -> StoragePath:
    """Write the page, and beside it the same as JSON and a table as CSV; return the page's path.

    Args:
        workspace: in which they go to ``teachers/<task>/``.
        found: by `teacher_diagnostics.diagnose`.
        command: that makes the page again.
    """
    folder = workspace.root / "teachers" / str(diagnostics["task"])
    with replacing(folder / TABLE) as temporary:
        temporary.write_text(diagnostics_csv(diagnostics), encoding="utf-8")
    with replacing(folder / DATA) as temporary:
        temporary.write_text(json.dumps(diagnostics, indent=1, allow_nan=False), encoding="utf-8")
    page = (
        page_environment()
        .get_template("teacher_report.html")
        .render(
            **diagnostics,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            values=success_figure(diagnostics),
            diagrams=[
                (t["label"], reliability_figure(t["label"], t["calibration"]))
                for t in diagnostics["teachers"]
                if t["calibration"]
            ],
            told=sum(state["tells"] for state in diagnostics["states"]),
            command=command,
        )
    )
    path = folder / PAGE
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def success_figure(diagnostics: dict[str, Any]) -> Markup:
    """Success rates with their intervals: filled the own policy, hollow only where certain."""
    played = [("options, no teacher", diagnostics["baseline"], None)]
    played += [(t["label"], t["own"], t["cautious"]) for t in diagnostics["teachers"]]

    def draw(axes: Any) -> None:
        for place, (_, own, cautious) in enumerate(played):
            color = RANDOM if cautious is None else TEACHER
            for truth, shift, fill in ((own, -0.12, color), (cautious, 0.16, "none")):
                if truth is None:
                    continue
                low, high = 100 * truth["success_low"], 100 * truth["success_high"]
                y = place + (shift if cautious else 0)
                axes.plot([low, high], [y, y], color=color, linewidth=1.8)
                x = 100 * truth["success"]
                axes.plot(x, y, "o", color=color, markerfacecolor=fill, markersize=6)
        lines_of_percent(axes, [name for name, *_ in played])

    description = "; ".join(
        f"{name}: {own['success']:.1%}"
        + (f", {cautious['success']:.1%} only where certain" if cautious else "")
        for name, own, cautious in played
    )
    longest = max(len(name) for name, *_ in played)
    return draw_svg(
        3.2 + 0.07 * longest, 0.5 + 0.4 * len(played), "success", f"{description}.", draw
    )


def reliability_figure(label: str, calibration: dict[str, Any]) -> Markup:
    """Accuracy against confidence, with Wilson's intervals; the diagonal is perfect calibration."""
    bins = calibration["bins"]

    def draw(axes: Any) -> None:
        axes.plot([0, 100], [0, 100], color=FAINT, linewidth=1, linestyle=(0, (5, 3)))
        for _, _, n, confidence, accuracy, (low, high) in bins:
            x = 100 * confidence
            axes.plot([x, x], [100 * low, 100 * high], color=TEACHER, linewidth=1.6)
            axes.plot(x, 100 * accuracy, "o", color=TEACHER, markersize=4 + min(n, 16) ** 0.5)
            axes.annotate(
                str(n), (x, 100 * accuracy), (6, 4), textcoords="offset points", color=INK
            )
        axes.set(xlim=(-3, 103), ylim=(-3, 103), xlabel="confidence", ylabel="right")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda value, _: f"{value:g}%")

    description = "; ".join(
        f"{100 * b[3]:.0f}% sure, {100 * b[4]:.0f}% right in {b[2]} states" for b in bins
    )
    return draw_svg(
        3.4, 3.0, f"reliability {label}", f"Reliability of {label}: {description}.", draw
    )
