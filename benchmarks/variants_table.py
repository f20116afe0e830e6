"""Several comparisons as one table: a row per variant, a column per task.

    python benchmarks/variants_table.py docs/results/rooms/*/*.csv

Reads what `llm4teach compare -o` has written; a task may have several files. A cell is the median
over seeds of the sampled success rate, in brackets the worst seed. The last rows are the LLM's
share of the whole method, or else of the last variant that has a control without an LLM: its
success less the control's, paired by seed (median and range), and how many times as many env steps
the control takes to 95% (medians).
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import median

RATE = 95  # %, of the steps that are compared
WHOLE = "whole method"
Row = dict[str, str]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("csv", nargs="+", type=Path, help="comparison.csv of a task")
    print(*table(by_task([read(path) for path in parser.parse_args().csv])), sep="\n")


def read(path: Path) -> list[Row]:
    """Return the rows of a comparison."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def by_task(comparisons: Sequence[Sequence[Row]]) -> list[list[Row]]:
    """Return the rows of each task, those that several comparisons have only once."""
    merged: dict[str, dict[tuple[str, ...], Row]] = {}
    for rows in comparisons:
        for row in rows:
            same = tuple(row[name] for name in ("policy", "variant", "seed"))
            merged.setdefault(row["task"], {}).setdefault(same, row)
    return [list(rows.values()) for rows in merged.values()]


def table(comparisons: Sequence[Sequence[Row]]) -> list[str]:
    """Return the lines of the Markdown table."""
    tasks = [rows[0]["task"] for rows in comparisons]
    variants = list(dict.fromkeys(name_of(row) for rows in comparisons for row in rows))
    lines = [f"| variant | {' | '.join(tasks)} |", "| --- |" + " ---: |" * len(tasks)]
    for variant in variants:
        cells = [cell([row for row in rows if name_of(row) == variant]) for rows in comparisons]
        lines.append(f"| {variant} | {' | '.join(cells)} |")
    pairs = [with_control(rows) for rows in comparisons]
    for label, share in (
        ("LLM's share: points", points),
        (f"LLM's share: steps to {RATE}%", ratio),
    ):
        lines.append(f"| {label} | {' | '.join(share(*pair) for pair in pairs)} |")
    steps = [f"{median(int(row['env_steps']) for row in method):,.0f}" for method, _ in pairs]
    return [*lines, f"| env steps | {' | '.join(steps)} |"]


def with_control(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Return the rows of the whole method, or else of the last variant that has a control, and the
    control's, by seed.
    """
    having = [row for row in rows if row["control"]]
    last = next((row for row in having if row["variant"] == WHOLE), having[-1])
    return of(rows, last["variant"]), of(rows, last["control"])


def name_of(row: Row) -> str:
    """Return what a row of the table is called."""
    teacher = "no LLM alone" if row["variant"].startswith("none") else "teacher alone"
    return teacher if row["policy"] == "teacher" else row["variant"]


def of(rows: Sequence[Row], variant: str) -> list[Row]:
    """Return a variant's rows, by seed."""
    return sorted((r for r in rows if r["variant"] == variant), key=lambda row: int(row["seed"]))


def cell(rows: Sequence[Row]) -> str:
    """Return median and worst success; nothing without rows."""
    rates = [float(row["success"]) for row in rows]
    if not rates:
        return ""
    worst = f" ({min(rates):.1%})" if len(rates) > 1 else ""
    return f"{median(rates):.1%}{worst}"


def points(whole: Sequence[Row], control: Sequence[Row]) -> str:
    """Return the difference in success, paired by seed, in percentage points."""
    gains = [
        100 * (float(one["success"]) - float(other["success"]))
        for one, other in zip(whole, control, strict=True)
    ]
    return f"{median(gains):+.1f} [{min(gains):+.1f}, {max(gains):+.1f}]"


def ratio(whole: Sequence[Row], control: Sequence[Row], rate: int = RATE) -> str:
    """Return how many times as many env steps the control takes to the rate (medians)."""
    mine, others = (
        median(float(row[f"steps_to_{rate}"] or math.inf) for row in rows)
        for rows in (whole, control)
    )
    if math.isinf(mine):
        return "never" if math.isinf(others) else "the control only"
    if math.isinf(others):
        return f"> {float(whole[0]['env_steps']) / mine:.1f}"
    return f"{others / mine:.1f}"


if __name__ == "__main__":
    main()
