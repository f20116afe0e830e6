"""Teacher size against what it is worth: one table, and one figure of five panels.

    python benchmarks/teacher_sizes/figure.py docs/results/teacher-sizes/*/comparison.csv \\
        --agreement docs/results/teacher-sizes/agreement.csv \\
        --own-policy docs/results/teacher-sizes/own_policy.csv \\
        --svg docs/results/teacher-sizes/sizes.svg

Reads what `llm4teach experiment teacher-sizes`, `agreement.py` and `benchmarks/own_policy.py` have
written. Students: medians and ranges over seeds. LLM seconds are those of a seed, per percentage
point that its student gains over the one without an LLM.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

from llm4teach.analysis.reports.figures import INK, STUDENT, TEACHER, draw_figure, standalone

PARAMETERS = {  # in billions, by the experiment's labels
    "SmolLM2-135M": 0.135,
    "Qwen2.5-Coder-0.5B": 0.494,
    "Qwen2.5-Coder-1.5B": 1.54,
}
TEACHERS = {  # as `own_policy.py` calls them
    "embedded/smollm2-135m": "SmolLM2-135M",
    "embedded/qwen2.5-coder-0.5b": "Qwen2.5-Coder-0.5B",
    "embedded/qwen2.5-coder-1.5b": "Qwen2.5-Coder-1.5B",
    "recorded/qwen2.5-coder-1.5b-go-to-door": "Qwen2.5-Coder-1.5B",
    "recorded/qwen2.5-coder-1.5b-fetch": "Qwen2.5-Coder-1.5B",
    "expert": "hand-written rules",
}
Row = dict[str, str]
Bar = tuple[float, float, float]  # value, low, high


@dataclass(frozen=True)
class Size:
    """A teacher on a task."""

    task: str
    teacher: str
    agreement: Bar | None
    own_policy: Bar | None
    success: Bar  # of its students: median, worst, best
    steps_to_80: float  # env steps, median; infinite if never
    budget: float  # env steps
    questions: float  # per seed
    llm_s: float  # per seed
    points: float  # that its students gain

    @property
    def seconds_per_point(self) -> float:
        """LLM seconds per percentage point gained; not a number without any."""
        return self.llm_s / self.points if self.llm_s and self.points > 0 else math.nan


def sizes(comparison: Sequence[Row], agreement: Sequence[Row], own: Sequence[Row]) -> list[Size]:
    """Return the teachers of one task's comparison, the smallest first."""
    students = [row for row in comparison if row["policy"] == "student"]
    task, found = students[0]["task"], []
    for name in dict.fromkeys(row["variant"] for row in students if row["control"]):
        rows = [row for row in students if row["variant"] == name]
        control = [row for row in students if row["variant"] == rows[0]["control"]]
        rates = [float(row["success"]) for row in rows]
        gained = 100 * (fmean(rates) - fmean(float(row["success"]) for row in control))
        found.append(
            Size(
                *(task, name),
                _bar(agreement, task, name, lambda row: row["teacher"], "agreement", ""),
                _bar(own, task, name, lambda row: TEACHERS.get(row["teacher"], ""), "success"),
                (median(rates), min(rates), max(rates)),
                median(float(row["steps_to_80"] or math.inf) for row in rows),
                float(rows[0]["env_steps"]),
                fmean(float(row["questions"]) for row in rows),
                fmean(float(row["llm_s"]) for row in rows),
                gained,
            )
        )
    return sorted(found, key=lambda size: PARAMETERS.get(size.teacher, math.inf))


def _bar(
    rows: Sequence[Row], task: str, name: str, name_of: Any, column: str, prefix: str = "success_"
) -> Bar | None:
    """Return a figure with its interval, if there is one of this teacher on this task."""
    row = next((row for row in rows if row["task"] == task and name_of(row) == name), None)
    if row is None:
        return None
    return float(row[column]), float(row[f"{prefix}low"]), float(row[f"{prefix}high"])


def table(found: Sequence[Size]) -> list[str]:
    """Return the lines of the Markdown table."""
    names = (
        *("task", "teacher", "agreement", "own policy", "student", "steps to 80%"),
        *("questions per seed", "LLM s per seed", "LLM s per point"),
    )
    lines = [f"| {' | '.join(names)} |", "| --- | --- |" + " ---: |" * (len(names) - 2)]
    for size in found:
        never = math.isinf(size.steps_to_80)
        cells = (
            *(size.task, size.teacher, _told(size.agreement), _told(size.own_policy)),
            _told(size.success),
            f"> {size.budget:,.0f}" if never else f"{size.steps_to_80:,.0f}",
            *(f"{size.questions:.0f}", f"{size.llm_s:,.0f}"),
            "–" if math.isnan(size.seconds_per_point) else f"{size.seconds_per_point:.1f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _told(bar: Bar | None) -> str:
    return "" if bar is None else f"{bar[0]:.1%} [{bar[1]:.1%}, {bar[2]:.1%}]"


def figure(found: Sequence[Size]) -> str:
    """Return an SVG: a panel per measure, a line per task, a point per model."""
    models = [size for size in found if size.teacher in PARAMETERS]
    tasks = list(dict.fromkeys(size.task for size in models))
    colors = dict(zip(tasks, (STUDENT, TEACHER, INK), strict=False))

    def panel(axes: Any, title: str, values: Any) -> None:
        for task in tasks:
            ours = [size for size in models if size.task == task and values(size) is not None]
            x = [PARAMETERS[size.teacher] for size in ours]
            y = [values(size) for size in ours]
            color = colors[task]
            if ours and isinstance(y[0], tuple):
                axes.vlines(x, [low for _, low, _ in y], [high for _, _, high in y], color=color)
                y = [value for value, _, _ in y]
            axes.plot(x, y, "o-", color=color, label=task, markersize=5)
        axes.set_title(title)
        axes.set_xscale("log")
        axes.set_xticks(list(PARAMETERS.values()), ["0.135", "0.5", "1.5"])
        axes.minorticks_off()

    def steps(size: Size) -> float:
        return min(size.steps_to_80, 1.25 * size.budget)

    def draw(whole: Any) -> None:
        grid = whole.subplots(2, 3)
        for axes, title, values in zip(
            grid.flat,
            (
                *("agreement with the best plan", "teacher's own policy", "student's success"),
                *("student's env steps to 80%", "LLM seconds per point"),
            ),
            (
                *(lambda s: s.agreement, lambda s: s.own_policy, lambda s: s.success),
                *(steps, lambda s: s.seconds_per_point),
            ),
            strict=False,
        ):
            panel(axes, title, values)
        for axes in grid[0]:
            axes.set_ylim(0, 1.05)
            axes.yaxis.set_major_formatter("{x:.0%}")
        budget = max(size.budget for size in models)
        ticks = [0, budget / 2, budget, 1.25 * budget]
        grid[1, 0].set_yticks(ticks, [*(f"{tick:,.0f}" for tick in ticks[:-1]), "never"])
        grid[1, 1].set_ylim(bottom=0)
        for axes in (grid[0, 2], *grid[1, :2]):
            axes.set_xlabel("parameters, billions")
        handles, labels = grid[0, 0].get_legend_handles_labels()
        grid[1, 2].axis("off")
        grid[1, 2].legend(handles, labels, loc="center", frameon=False)

    words = "; ".join(
        f"{s.teacher} on {s.task}: students {s.success[0]:.0%}, "
        f"{s.seconds_per_point:.1f} LLM seconds per point"
        for s in models
    )
    return standalone(draw_figure(9.4, 5.2, "teacher-sizes", f"Teacher sizes. {words}.", draw))


def read(path: Path | None) -> list[Row]:
    """Return the rows of a CSV file; none without a file."""
    if path is None:
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("csv", nargs="+", type=Path, help="comparison.csv of tasks")
    parser.add_argument("--agreement", type=Path, help="what agreement.py has written")
    parser.add_argument("--own-policy", type=Path, help="what own_policy.py has written")
    parser.add_argument("--svg", type=Path, help="where to draw the figure")
    arguments = parser.parse_args()
    agreement, own = read(arguments.agreement), read(arguments.own_policy)
    found = [size for path in arguments.csv for size in sizes(read(path), agreement, own)]
    print(*table(found), sep="\n")
    if arguments.svg:
        arguments.svg.write_text(figure(found), encoding="utf-8")


if __name__ == "__main__":
    main()
