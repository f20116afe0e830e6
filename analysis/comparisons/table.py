"""Findings as Markdown tables, with a word on how their numbers were counted, and as CSV."""

from __future__ import annotations

import csv
from io import StringIO

from llm4teach.analysis.comparisons.results import (
    THRESHOLDS,
    Comparison,
    Findings,
    MethodResult,
    Spread,
    StepsTo,
    TeacherResult,
)
from llm4teach.analysis.statistics import Improvement, Interval

NAME = "comparison"  # of the files that findings are written to, less their endings
_HEADINGS = (
    "method",
    *("sampled: median", "IQM [95%]", "worst seed"),
    *("greedy: median", "IQM [95%]", "worst seed"),
    "P(better)",
    *(f"steps to {level:.0%}" for level in THRESHOLDS),
    *("env steps", "LLM questions", "LLM tokens", "CPU s", f"CPU s to {THRESHOLDS[-1]:.0%}"),
)
_OWN = "its teacher's own policy"
Rows = list[tuple[str, ...]]
_CSV_HEADINGS = (
    *("task", "played_task", "policy", "variant", "seed", "mode"),
    *("success", "success_low", "success_high", "episodes"),
    *("env_steps", "questions", "tokens", "train_cpu_s"),
)


def findings_csv(findings: Findings) -> str:
    """Return the success rates as CSV: a row per task, variant, seed and mode.

    A student's row is one seed; env steps and CPU seconds are medians over the seeds, questions and
    tokens those of all seeds together. A teacher's row has the interval over its episodes.
    """
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_CSV_HEADINGS)
    for comparison in findings.comparisons:
        for method in comparison.methods:
            costs = (method.env_steps, method.questions, method.tokens, method.train_cpu_s)
            levels = [(comparison.task, "sampled", method.sampled)]
            levels += [(comparison.task, "greedy", method.greedy)]
            levels += [(task, "sampled", level) for task, level in method.shifted.items()]
            for played, mode, level in levels:
                for seed, success in zip(comparison.seeds, level.per_seed, strict=True):
                    row = [comparison.task, played, "student", method.label, seed, mode, success]
                    writer.writerow([*row, "", "", method.episodes, *costs])
        for teacher in comparison.teachers:
            rates = [(comparison.task, "sampled", teacher.sampled, teacher.sampled_interval)]
            rates += [(comparison.task, "greedy", teacher.greedy, teacher.greedy_interval)]
            rates += [(task, "sampled", *level) for task, level in teacher.shifted.items()]
            for played, mode, success, interval in rates:
                row = [comparison.task, played, "teacher", teacher.label, "", mode, success]
                spent = [0, teacher.questions, teacher.tokens, ""]
                writer.writerow([*row, *interval, teacher.episodes, *spent])
    return text.getvalue()


def findings_markdown(findings: Findings) -> str:
    """Return everything: the question, a table a task with its notes, command and date."""
    parts = [f"# {findings.name}", findings.question] if findings.question else []
    parts += [f"![success by variant of {findings.name}]({NAME}.svg)"]
    for comparison in findings.comparisons:
        parts += [comparison_markdown(comparison)]
    if table := overall(findings):
        parts += [table]
    parts += [f"{findings.date}:", f"```bash\n{findings.command}\n```"]
    return "\n\n".join(parts) + "\n"


def overall(findings: Findings) -> str:
    """Return who is better over all tasks in one sentence; nothing if there is only one task."""
    if not findings.overall:
        return ""
    one_seed = len(findings.comparisons[0].seeds) == 1
    better = [
        f"{name} {_better(improvement, one_seed)}" for name, improvement in findings.overall.items()
    ]
    baseline = findings.comparisons[0].baseline
    return f"P(better) than {baseline} over all tasks: {'; '.join(better)}."


def comparison_markdown(comparison: Comparison) -> str:
    """Return one task's tables and notes."""
    tables = [_markdown(comparison_rows(comparison))]
    if shifted := shifted_rows(comparison):
        tables += [_markdown(shifted)]
    if measured := measured_rows(comparison):
        note = "Means of the sampled held-out episodes, medians over seeds; length in env steps."
        tables += [f"{_markdown(measured)}\n\n{note}"]
    return "\n\n".join([*tables, notes(comparison)])


def measured_rows(comparison: Comparison) -> Rows:
    """Return the table of what the environment measures besides success; empty if nothing."""
    rows = [(f"{t.label}, its own policy", t.means) for t in comparison.teachers]
    rows += [(method.label, method.means) for method in comparison.methods]
    names = list(rows[0][1]) if rows else []
    if not set(names) - {"length"}:
        return []
    cells = [(label, *(f"{means[name]:.4g}" for name in names)) for label, means in rows]
    return [("method", *names), *cells]


def comparison_rows(comparison: Comparison) -> Rows:
    """Return the main table: headings, a row for the teacher if all have the same, the methods."""
    several = len(comparison.teachers) > 1
    rows = [_row(method, comparison) for method in comparison.methods]
    if several:
        rows = [
            (row[0], _teacher_level(comparison.teacher_of(method)), *row[1:])
            for row, method in zip(rows, comparison.methods, strict=True)
        ]
        return [(_HEADINGS[0], _OWN, *_HEADINGS[1:]), *rows]
    return [_HEADINGS, *(_teacher_row(teacher) for teacher in comparison.teachers), *rows]


def shifted_rows(comparison: Comparison) -> Rows:
    """Return the table of the task's variants: sampled success, IQM [95%]; empty without any.

    Below it, each method's probability of improvement over the baseline there.
    """
    variants = list(comparison.methods[0].shifted) if comparison.methods else []
    if not variants:
        return []
    rows: Rows = [("sampled, IQM [95%]", comparison.task, *variants)]
    for teacher in comparison.teachers:
        rate = (teacher.sampled, teacher.sampled_interval)
        cells = [rate, *(teacher.shifted[name] for name in variants)]
        rows += [
            (f"{teacher.label}, its own policy", *(f"{r:.1%} {_interval(i)}" for r, i in cells))
        ]
    for method in comparison.methods:
        levels = [method.sampled, *(method.shifted[name] for name in variants)]
        rows += [(method.label, *(_spread(level)[1] for level in levels))]
    for method in comparison.methods:
        if method.improvement:
            over = [method.improvement, *(method.shifted_improvement[name] for name in variants)]
            few = len(comparison.seeds) == 1
            label = f"P(better): {method.label} than {comparison.baseline}"
            rows += [(label, *(_better(improvement, few) for improvement in over))]
    return rows


def _markdown(rows: Rows) -> str:
    ruled = [rows[0], ("---",) + ("---:",) * (len(rows[0]) - 1), *rows[1:]]
    return "\n".join("| " + " | ".join(row) + " |" for row in ruled)


def _teacher_row(teacher: TeacherResult) -> tuple[str, ...]:
    cells = [teacher.label + ", its own policy"]
    for rate, interval in (
        (teacher.sampled, teacher.sampled_interval),
        (teacher.greedy, teacher.greedy_interval),
    ):
        cells += [f"{rate:.1%}", _interval(interval), ""]
    cells += [""] * (1 + len(THRESHOLDS))
    cells += ["", f"{teacher.questions:,}", f"{teacher.tokens:,}", "", ""]
    return tuple(cells)


def _teacher_level(teacher: TeacherResult | None) -> str:
    return f"{teacher.sampled:.1%} {_interval(teacher.sampled_interval)}" if teacher else ""


def _row(method: MethodResult, comparison: Comparison) -> tuple[str, ...]:
    n = len(comparison.seeds)
    return (
        method.label,
        *_spread(method.sampled),
        *_spread(method.greedy),
        _better(method.improvement, n == 1) if method.improvement else "",
        *(_steps(steps, n) for steps in method.steps_to),
        f"{method.env_steps:,.0f}",
        f"{method.questions:,}",
        f"{method.tokens:,}",
        f"{method.train_cpu_s:,.0f}",
        "–" if (cpu_s := method.steps_to[-1].cpu_s) is None else f"{cpu_s:,.0f}",
    )


def _spread(values: Spread) -> tuple[str, str, str]:
    has_interval = len(values.per_seed) > 1  # one seed says nothing of the others
    middle = f"{values.iqm:.1%} {_interval(values.interval) if has_interval else '[–]'}"
    return f"{values.median:.1%}", middle, f"{values.worst:.1%}"


def _interval(interval: Interval) -> str:
    return f"[{interval.low:.1%}, {interval.high:.1%}]"


def _better(improvement: Improvement, one_seed: bool) -> str:
    low, high = improvement.interval
    if one_seed:
        return f"{improvement.probability:.2f} [–]"
    return f"{improvement.probability:.2f} [{low:.2f}, {high:.2f}]"


def _steps(steps: StepsTo, seeds: int) -> str:
    return f"– ({steps.reached}/{seeds})" if steps.median is None else f"{steps.median:,.0f}"


def notes(comparison: Comparison) -> str:
    """How the numbers were counted."""
    n = len(comparison.seeds)
    seeds = "1 seed" if n == 1 else f"{n} seeds"
    episodes = comparison.methods[0].episodes if comparison.methods else 0
    return (
        f"{comparison.task}, {seeds} from {comparison.seeds[0]} on, at most "
        f"{comparison.budget:,} env steps for each, the "
        f"{comparison.offline_steps:,} offline ones of a method that pretrains included. Success: "
        f"{episodes} held-out episodes a seed and mode; the interval is the bootstrap's of "
        "the interquartile mean over seeds (a teacher's: Wilson's over its episodes, or where each "
        "seed had another one the bootstrap's of the mean). P(better): that a seed does better "
        f"than one of “{comparison.baseline}”, sampled, with its bootstrap interval. {_few(n)}"
        "Steps to a success rate: the first point of the learning curve at or above it (other "
        "episodes, sampled), median over seeds; – where a seed never got there, with how many did. "
        "LLM questions and tokens: what the method would have cost in an empty workspace, every "
        "distinct state that any of its seeds asked about counted once. CPU s: median of training "
        f"a seed, and until it reached {THRESHOLDS[-1]:.0%}, without labeling, learning curve and "
        "evaluation."
    )


def _few(seeds: int) -> str:
    if seeds == 1:
        return "One seed says nothing of how much others differ: there are no intervals. "
    if seeds < 10:
        return (
            f"A bootstrap of {seeds} seeds stays between the worst and the best of them: its "
            "intervals are too narrow, and ones that overlap decide nothing. "
        )
    return ""
