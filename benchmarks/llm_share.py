"""What the LLM contributes, over all comparisons: one table, and one figure.

    python benchmarks/llm_share.py docs/results/*/*.csv docs/results/*/*/*.csv \\
                                   docs/results/*/*/*/*.csv \\
                                   --svg docs/results/llm_share.svg

Reads what `llm4teach compare -o` has written; other CSV files are left out. A row is a variant that
asks a teacher, beside the same variant without an LLM: same env steps, paired by seed. The
difference has the bootstrap's 95% interval of its mean from five seeds on, and the range with
fewer. "Steps to 80%" says how many times as many env steps the control takes (medians). LLM seconds
are those of a seed, per percentage point that it gains.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

from variants_table import Row, of, ratio, read

from llm4teach.analysis.reports.figures import FAINT, LINE, STUDENT, draw_svg, standalone
from llm4teach.analysis.statistics import bootstrap_mean_interval

RATE, FEWEST = 80, 5  # % of the steps that are compared; seeds for a bootstrap
SPENT = ("questions", "tokens", "llm_s")
METHODS = {  # the others are parts of these, or baselines
    "whole method": "reweighted",
    "pretraining only": "reweighted, no fine-tuning",
    "the paper's method (no reweighting)": "not reweighted",
}


@dataclass(frozen=True)
class Share:
    """What a variant has with the LLM and without it, over seeds."""

    task: str
    method: str
    env_steps: int
    taught: float  # median success
    control: float
    points: float  # mean difference, percentage points
    interval: tuple[float, float]
    ratio: str  # env steps to the rate, without the LLM : with it
    questions: float  # per seed
    tokens: float
    llm_s: float

    @property
    def label(self) -> str:
        """Task and method."""
        return f"{self.task}, {self.method}"

    def cells(self) -> list[str]:
        """The row of the table."""
        low, high = self.interval
        dear = f"{self.llm_s / self.points:.1f}" if self.points > 0 and self.llm_s else "–"
        return [
            *(self.task, self.method, f"{self.env_steps:,}", f"{self.taught:.1%}"),
            *(f"{self.control:.1%}", f"{self.points:+.1f} [{low:+.1f}, {high:+.1f}]", self.ratio),
            *(f"{self.questions:,.0f}", f"{self.tokens:,.0f}", f"{self.llm_s:,.0f}", dear),
        ]


def shares(rows: Sequence[Row]) -> Iterator[Share]:
    """Yield the methods of one comparison that have a control."""
    if not rows or "control" not in rows[0]:
        return
    for variant, method in METHODS.items():
        taught = of(rows, variant)
        if not taught or not taught[0]["control"]:
            continue
        control = of(rows, taught[0]["control"])
        ours, theirs = ([float(row["success"]) for row in some] for some in (taught, control))
        gains = [100 * (one - other) for one, other in zip(ours, theirs, strict=True)]
        few = len(gains) < FEWEST
        interval = (min(gains), max(gains)) if few else bootstrap_mean_interval(gains)
        spent = (fmean(float(row[name]) for row in taught) for name in SPENT)
        yield Share(
            *(taught[0]["task"], method, int(float(taught[0]["env_steps"]))),
            *(median(ours), median(theirs), fmean(gains), interval, ratio(taught, control, RATE)),
            *spent,
        )


HEADINGS = (
    *("task", "advice", "env steps", "with the LLM", "without", "points", f"steps to {RATE}%"),
    *("questions", "tokens", "LLM s", "LLM s per point"),
)


def table(found: Sequence[Share]) -> list[str]:
    """Return the lines of the Markdown table."""
    lines = [f"| {' | '.join(HEADINGS)} |", "| --- | --- |" + " ---: |" * (len(HEADINGS) - 2)]
    return [*lines, *(f"| {' | '.join(share.cells())} |" for share in found)]


def figure(found: Sequence[Share]) -> str:
    """Return an SVG: a line per row of the table, from the control to the student of the LLM."""
    words = "; ".join(f"{s.label}: {s.control:.0%} without, {s.taught:.0%} with" for s in found)

    def draw(axes: Any) -> None:
        for place, share in enumerate(reversed(found)):
            axes.plot(
                [share.control, share.taught], [place, place], color=LINE, linewidth=4, zorder=1
            )
        places = range(len(found))
        axes.scatter(
            [s.control for s in reversed(found)], places, color=FAINT, label="no LLM", zorder=2
        )
        axes.scatter(
            [s.taught for s in reversed(found)], places, color=STUDENT, label="LLM", zorder=3
        )
        axes.set_yticks(places, [share.label for share in reversed(found)])
        axes.set_xlim(-0.02, 1.02)
        axes.xaxis.set_major_formatter("{x:.0%}")
        axes.set_xlabel("student's success, median of the seeds")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)

    height = 1.3 + 0.32 * len(found)
    return standalone(draw_svg(8.2, height, "llm-share", f"Success. {words}.", draw))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("csv", nargs="+", type=Path, help="comparison.csv of tasks")
    parser.add_argument("--svg", type=Path, help="where to draw the figure")
    arguments = parser.parse_args()
    found = sorted(
        (share for path in arguments.csv for share in shares(read(path))),
        key=lambda share: -share.points,
    )
    if not found:
        parser.error("none of these files has a variant beside its control without an LLM")
    print(*table(found), sep="\n")
    if arguments.svg:
        arguments.svg.write_text(figure(found), encoding="utf-8")


if __name__ == "__main__":
    main()
