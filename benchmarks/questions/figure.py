"""Which questions are worth asking: a table and a figure of success by order and number.

    python benchmarks/questions/figure.py docs/results/questions/*/comparison.csv \\
        --svg docs/results/questions/questions.svg

Reads what `llm4teach experiment questions` has written. Success is that of students on held-out
episodes, sampled: median and range over seeds. Questions are those of a student, on average.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

from llm4teach.analysis.reports.figures import (
    FAINT,
    INK,
    RANDOM,
    STUDENT,
    TEACHER,
    draw_figure,
    standalone,
)

LOOKS = {  # color and line of each order
    "first": (FAINT, "-"),
    "random": (FAINT, "--"),
    "visits": (STUDENT, "-"),
    "change": (STUDENT, "--"),
    "spread": (RANDOM, "-"),
    "uncertain": (TEACHER, "-"),
}
Row = dict[str, str]


@dataclass(frozen=True)
class Point:
    """Students of one share of the questions, asked in one order."""

    task: str
    share: str  # such as 5%; "" for all questions, and without an LLM
    order: str  # "" likewise
    asks: bool
    questions: float  # per seed
    success: tuple[float, float, float]  # median, worst, best
    seeds: int


def points(comparison: Sequence[Row]) -> list[Point]:
    """Return the points of one task's comparison, in its order; of the controls only one."""
    students = [row for row in comparison if row["policy"] == "student"]
    found = []
    for name in dict.fromkeys(row["variant"] for row in students):
        rows = [row for row in students if row["variant"] == name]
        share, _, order = name.partition(" ")
        rates = [float(row["success"]) for row in rows]
        asks, is_part = bool(rows[0]["control"]), order in LOOKS
        if asks or all(point.asks for point in found):
            found.append(
                Point(
                    *(rows[0]["task"], share if is_part else "", order if is_part else "", asks),
                    fmean(float(row["questions"] or 0) for row in rows),
                    (median(rates), min(rates), max(rates)),
                    len(rows),
                )
            )
    return found


def table(found: Sequence[Point]) -> list[str]:
    """Return the lines of a Markdown table of one task: a row per order, a column per share."""
    shares = list(dict.fromkeys(point.share for point in found if point.share))
    numbers = {s: fmean(p.questions for p in found if p.share == s) for s in shares}
    head = ["order", *(f"{share}: {numbers[share]:.0f} questions" for share in shares)]
    lines = [f"| {' | '.join(head)} |", "| --- |" + " ---: |" * len(shares)]
    for order in LOOKS:
        cells = {p.share: _told(p) for p in found if p.order == order}
        if cells:
            lines.append(f"| {order} | {' | '.join(cells.get(s, '') for s in shares)} |")
    for point in found:
        if not point.order:
            name = f"all {point.questions:.0f} questions" if point.asks else "no LLM"
            lines.append(f"| {name} | {_told(point)}{' |' * len(shares)}")
    return lines


def _told(point: Point) -> str:
    middle, worst, best = point.success
    return f"{middle:.1%} [{worst:.1%}, {best:.1%}]"


def figure(found: Sequence[Point]) -> str:
    """Return an SVG: a panel per task, a line per order, success against questions."""
    tasks = list(dict.fromkeys(point.task for point in found))

    def panel(axes: Any, task: str) -> None:
        ours = [point for point in found if point.task == task]
        for point in ours:
            if not point.order:
                axes.axhline(point.success[0], color=INK if point.asks else FAINT, linewidth=0.8)
                name = f"all {point.questions:.0f}" if point.asks else "no LLM"
                axes.annotate(
                    name,
                    (1, point.success[0]),
                    xycoords=("axes fraction", "data"),
                    ha="right",
                    va="bottom",
                    color=FAINT,
                )
        for order, (color, line) in LOOKS.items():
            drawn = [point for point in ours if point.order == order]
            if drawn:
                x = [point.questions for point in drawn]
                rates = [point.success[0] for point in drawn]
                axes.plot(x, rates, line, marker="o", color=color, label=order, markersize=4)
        axes.set_title(task)
        axes.set_xscale("log")
        ticks = sorted({round(point.questions) for point in ours if point.order == "random"})
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel("questions per student")
        axes.set_ylim(0, 1.05)
        axes.yaxis.set_major_formatter("{x:.0%}")

    def draw(whole: Any) -> None:
        grid = whole.subplots(1, len(tasks), squeeze=False)[0]
        for axes, task in zip(grid, tasks, strict=True):
            panel(axes, task)
        grid[0].set_ylabel("success of students")
        grid[0].legend(loc=(0.6, 0.22), frameon=False)

    words = "; ".join(
        f"{p.task}, {p.share or 'all'} {p.order or 'questions'}: {p.success[0]:.0%}"
        for p in found
        if p.asks
    )
    width = 1.0 + 4.2 * len(tasks)
    return standalone(draw_figure(width, 3.8, "questions", f"Success. {words}.", draw))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("csv", nargs="+", type=Path, help="comparison.csv of tasks")
    parser.add_argument("--svg", type=Path, help="where to draw the figure")
    arguments = parser.parse_args()
    found = []
    for path in arguments.csv:
        with path.open(newline="", encoding="utf-8") as file:
            found.append(points(list(csv.DictReader(file))))
    for one in found:
        print(f"\n{one[0].task}, {one[0].seeds} seeds\n", *table(one), sep="\n")
    if arguments.svg:
        arguments.svg.write_text(figure([p for one in found for p in one]), encoding="utf-8")


if __name__ == "__main__":
    main()
