"""Findings as Markdown tables, with a word on how their numbers were counted."""

from __future__ import annotations

from llm4teach.analysis.comparisons.crossings import ENOUGH_SEEDS, Bounds, StepsRatio, StepsTo
from llm4teach.analysis.comparisons.results import (
    THRESHOLDS,
    Comparison,
    Findings,
    MethodResult,
    Spread,
    TeacherResult,
    middle_of,
)
from llm4teach.analysis.statistics import Improvement, Interval

NAME = "comparison"  # of the files that findings are written to, less their endings
BEYOND = "> budget"
_LLM = ("LLM questions", "LLM tokens", "LLM s")
_OWN = "its teacher's own policy"
Rows = list[tuple[str, ...]]


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
    if share := share_rows(comparison):
        tables += [f"{_markdown(share)}\n\n{share_notes(comparison)}"]
    if measured := measured_rows(comparison):
        note = "Means of the sampled held-out episodes, medians over seeds; length in env steps."
        tables += [f"{_markdown(measured)}\n\n{note}"]
    return "\n\n".join([*tables, notes(comparison)])


def measured_rows(comparison: Comparison) -> Rows:
    """Return the table of what the environment measures besides success; empty if nothing."""
    rows = [(own_policy(t), t.means) for t in comparison.teachers]
    rows += [(method.label, method.means) for method in comparison.methods]
    names = list(rows[0][1]) if rows else []
    if not set(names) - {"length"}:
        return []
    cells = [(label, *(f"{means[name]:.4g}" for name in names)) for label, means in rows]
    return [("method", *names), *cells]


def comparison_rows(comparison: Comparison) -> Rows:
    """Return the main table: headings, a row for the teacher if all have the same, the methods.

    The teacher `none` of controls has a row of its own.
    """
    several, headings = len(comparison.main_teachers) > 1, _headings(comparison)
    rows = [_row(method, comparison) for method in comparison.methods]
    if several:
        rows = [
            (row[0], _teacher_level(comparison.teacher_of(method)), *row[1:])
            for row, method in zip(rows, comparison.methods, strict=True)
        ]
        return [(headings[0], _OWN, *headings[1:]), *rows]
    return [headings, *(_teacher_row(teacher) for teacher in comparison.teachers), *rows]


def _headings(comparison: Comparison) -> tuple[str, ...]:
    middle = middle_of(len(comparison.seeds))
    return (
        "method",
        *("sampled: median", middle, "worst seed"),
        *("greedy: median", middle, "worst seed"),
        "P(better)",
        *(f"steps to {level:.0%}" for level in THRESHOLDS),
        *("env steps", "validation episodes", "their env steps", *_LLM),
        *("CPU s", f"CPU s to {THRESHOLDS[-1]:.0%}"),
    )


def share_rows(comparison: Comparison) -> Rows:
    """Return the table of the LLM's share: a row per method that asks one; empty if none does."""
    shares = [(method, method.share) for method in comparison.methods if method.share]
    if not shares:
        return []
    n = len(comparison.seeds)
    levels = [f"{level:.0%}" for level in THRESHOLDS]
    columns = [(f"steps to {level}: with / without", "without : with") for level in levels]
    rows: Rows = [
        (
            "method",
            "success at the budget: with / without",
            f"difference, {middle_of(n)}",
            *(heading for pair in columns for heading in pair),
            *_LLM,
        )
    ]
    medians = {m.label: m.sampled.median for m in (*comparison.controls, *comparison.methods)}
    for method, share in shares:
        row = [method.label, f"{method.sampled.median:.1%} / {medians[share.control]:.1%}"]
        row += [_difference(share.difference)]
        for steps in share.steps:
            row += [f"{_or_beyond(steps.with_llm)} / {_or_beyond(steps.without_llm)}"]
            row += [_ratio(steps, n, comparison.budget)]
        row += [f"{method.questions:,}", f"{method.tokens:,}", f"{method.llm_s:,.0f}"]
        rows += [tuple(row)]
    return rows


def share_notes(comparison: Comparison) -> str:
    """How the LLM's share was counted."""
    n = len(comparison.seeds)
    interval = "their range" if n < ENOUGH_SEEDS else "a 95% bootstrap interval over seeds"
    return (
        "The LLM's share: each method beside the same one without an LLM (the teacher `none`: "
        "uniform over the admissible plans), same env steps, paired by seed. Steps: medians over "
        "seeds; without : with is how many times as many the control takes, with "
        f"{interval if n > 1 else 'no interval for one seed'}. {BEYOND}: the rate is never reached "
        "and held without the LLM, so the ratio exceeds the one shown; a ratio of 0: never with it."
    )


def shifted_rows(comparison: Comparison) -> Rows:
    """Return the table of the task's variants: sampled success, IQM [95%]; empty without any.

    Below it, each method's probability of improvement over the baseline there.
    """
    variants = list(comparison.methods[0].shifted) if comparison.methods else []
    if not variants:
        return []
    middle = middle_of(len(comparison.seeds))
    rows: Rows = [(f"sampled, {middle}", comparison.task, *variants)]
    for teacher in comparison.teachers:
        rate = (teacher.sampled, teacher.sampled_interval)
        cells = [rate, *(teacher.shifted[name] for name in variants)]
        rows += [(own_policy(teacher), *(f"{r:.1%} {_interval(i)}" for r, i in cells))]
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
    cells = [own_policy(teacher)]
    for rate, interval in (
        (teacher.sampled, teacher.sampled_interval),
        (teacher.greedy, teacher.greedy_interval),
    ):
        cells += [f"{rate:.1%}", _interval(interval), ""]
    cells += [""] * (1 + len(THRESHOLDS))
    cells += ["", "", "", f"{teacher.questions:,}", f"{teacher.tokens:,}", f"{teacher.llm_s:,.0f}"]
    cells += ["", ""]
    return tuple(cells)


def own_policy(teacher: TeacherResult) -> str:
    """Label of the row of the teacher alone."""
    return f"teacher alone: {teacher.label}"


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
        f"{method.validation_episodes:,.0f}",
        f"{method.validation_steps:,.0f}",
        f"{method.questions:,}",
        f"{method.tokens:,}",
        f"{method.llm_s:,.0f}",
        f"{method.train_cpu_s:,.0f}",
        "–" if (cpu_s := method.steps_to[-1].cpu_s) is None else f"{cpu_s:,.0f}",
    )


def _spread(values: Spread) -> tuple[str, str, str]:
    has_interval = len(values.per_seed) > 1  # one seed says nothing of the others
    middle = f"{values.middle:.1%} {_interval(values.interval) if has_interval else '[–]'}"
    return f"{values.median:.1%}", middle, f"{values.worst:.1%}"


def _interval(interval: Interval) -> str:
    return f"[{interval.low:.1%}, {interval.high:.1%}]"


def _better(improvement: Improvement, one_seed: bool) -> str:
    low, high = improvement.interval
    if one_seed:
        return f"{improvement.probability:.2f} [–]"
    return f"{improvement.probability:.2f} [{low:.2f}, {high:.2f}]"


def _steps(steps: StepsTo, seeds: int) -> str:
    some = f" ({steps.reached}/{seeds})" if steps.reached < seeds else ""
    return f"{_or_beyond(steps.median)}{some}{_bounds(steps.interval, seeds, '{:,.0f}')}"


def _or_beyond(number: float | None, form: str = "{:,.0f}") -> str:
    return BEYOND if number is None else form.format(number)


def _bounds(interval: Bounds, seeds: int, form: str) -> str:
    """An interval to append; one seed has none, and one whose ends are both beyond says nothing."""
    if seeds == 1 or interval == (None, None):
        return ""
    low, high = (_or_beyond(end, form) for end in interval)
    return f" [{low}, {high}]"


def _ratio(steps: StepsRatio, seeds: int, budget: int) -> str:
    if not steps.is_known:
        return "–"
    if steps.ratio is None:
        least = f"> {budget / steps.with_llm:.1f}" if steps.with_llm else BEYOND
        return least + _bounds(steps.interval, seeds, "{:.1f}")
    return f"{steps.ratio:.1f}" + _bounds(steps.interval, seeds, "{:.1f}")


def _difference(values: Spread) -> str:
    """Percentage points."""
    low, high = values.interval
    interval = f" [{100 * low:+.1f}, {100 * high:+.1f}]" if len(values.per_seed) > 1 else ""
    return f"{100 * values.middle:+.1f}{interval}"


def notes(comparison: Comparison) -> str:
    """How the numbers were counted."""
    n = len(comparison.seeds)
    seeds = "1 seed" if n == 1 else f"{n} seeds"
    episodes = comparison.methods[0].episodes if comparison.methods else 0
    middle = "the bootstrap's of the interquartile mean over seeds"
    if n < ENOUGH_SEEDS:
        middle = "the range over seeds, beside their median"
    return (
        f"{comparison.task}, {seeds} from {comparison.seeds[0]} on, at most "
        f"{comparison.budget:,} env steps for each, as many as whole updates take; the "
        f"{comparison.offline_steps:,} offline ones of the whole method included. Success: "
        f"{episodes} held-out episodes per seed and mode; the interval is {middle} (a teacher's: "
        "Wilson's over its episodes, or where each seed had another one the bootstrap's of the "
        "mean). P(better): that a seed does better "
        f"than one of “{comparison.baseline}”, sampled, with its bootstrap interval. {_few(n)}"
        "Steps to a success rate: the first point of the learning curve at or above it whose next "
        "point is so, too (the last one is measured twice). Each point has development episodes, "
        "sampled, of two disjoint sets in turn; they and their env steps are counted apart, per "
        f"seed. Median over seeds{', with the range' if 1 < n < ENOUGH_SEEDS else ''}"
        f"{', with its 95% bootstrap interval' if n >= ENOUGH_SEEDS else ''}; {BEYOND}: half of "
        "the seeds or more never get there, in brackets how many do. "
        "LLM questions, tokens and seconds: what the method would have cost in an empty workspace, "
        "every distinct state that any of its seeds asked about counted once. CPU s: median of "
        f"training per seed, and until it reached {THRESHOLDS[-1]:.0%}, without labeling, learning "
        "curve and evaluation."
    )


def _few(seeds: int) -> str:
    if seeds == 1:
        return "One seed says nothing of how much others differ: there are no intervals. "
    if seeds < ENOUGH_SEEDS:
        return "So few seeds decide nothing where their ranges overlap. "
    if seeds < 10:
        return (
            f"A bootstrap of {seeds} seeds stays between the worst and the best of them: its "
            "intervals are too narrow, and ones that overlap decide nothing. "
        )
    return ""
