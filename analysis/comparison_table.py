"""A comparison as a Markdown table, with a word on how its numbers were counted."""

from __future__ import annotations

from llm4teach.analysis.comparison import THRESHOLDS, Comparison, MethodResult, Spread, StepsTo
from llm4teach.analysis.statistics import Interval

_HEADINGS = (
    "method",
    *("sampled: median", "IQM [95%]", "worst seed"),
    *("greedy: median", "IQM [95%]", "worst seed"),
    *(f"steps to {level:.0%}" for level in THRESHOLDS),
    *("env steps", "LLM questions", "LLM tokens", "CPU s"),
)


def comparison_markdown(comparison: Comparison) -> str:
    """Return the table and its notes."""
    rows = [_HEADINGS, ("---",) + ("---:",) * (len(_HEADINGS) - 1)]
    rows += [_teacher_row(comparison), *(_row(m, comparison) for m in comparison.methods)]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([*lines, "", _notes(comparison), *_means(comparison)]) + "\n"


def _means(comparison: Comparison) -> list[str]:
    """A second table where the environment measures more than success."""
    rows = [(comparison.teacher + ", its own policy", comparison.reference.means)]
    rows += [(method.label, method.means) for method in comparison.methods]
    names = list(rows[0][1])
    if not set(names) - {"length"}:
        return []
    lines = [("method", *names), ("---",) + ("---:",) * len(names)]
    lines += [(label, *(f"{means[name]:.4g}" for name in names)) for label, means in rows]
    told = "Means of the sampled held-out episodes, medians over seeds; length in env steps."
    return ["", *("| " + " | ".join(line) + " |" for line in lines), "", told]


def _teacher_row(comparison: Comparison) -> tuple[str, ...]:
    teacher = comparison.reference
    cells = [comparison.teacher + ", its own policy"]
    for rate, interval in (
        (teacher.sampled, teacher.sampled_interval),
        (teacher.greedy, teacher.greedy_interval),
    ):
        cells += [f"{rate:.1%}", _interval(interval), ""]
    cells += [""] * len(THRESHOLDS) + ["", f"{teacher.questions:,}", f"{teacher.tokens:,}", ""]
    return tuple(cells)


def _row(method: MethodResult, comparison: Comparison) -> tuple[str, ...]:
    n = len(comparison.seeds)
    return (
        method.label,
        *_spread(method.sampled),
        *_spread(method.greedy),
        *(_steps(steps, n) for steps in method.steps_to),
        f"{method.env_steps:,.0f}",
        f"{method.questions:,}",
        f"{method.tokens:,}",
        f"{method.train_cpu_s:,.0f}",
    )


def _spread(values: Spread) -> tuple[str, str, str]:
    middle = f"{values.iqm:.1%} {_interval(values.interval)}"
    return f"{values.median:.1%}", middle, f"{values.worst:.1%}"


def _interval(interval: Interval) -> str:
    return f"[{interval.low:.1%}, {interval.high:.1%}]"


def _steps(steps: StepsTo, seeds: int) -> str:
    return f"– ({steps.reached}/{seeds})" if steps.median is None else f"{steps.median:,.0f}"


def _notes(comparison: Comparison) -> str:
    n, teacher = len(comparison.seeds), comparison.reference
    seeds = "1 seed" if n == 1 else f"{n} seeds"
    return (
        f"{comparison.task}, {seeds}, at most {comparison.budget:,} env steps for each, the "
        f"{comparison.offline_steps:,} offline ones of a method that pretrains included. Success: "
        f"{teacher.episodes} held-out episodes a seed and mode; the interval is the bootstrap's of "
        "the interquartile mean over seeds (the teacher's: Wilson's over its episodes). Steps to a "
        "success rate: the first point of the learning curve at or above it (other episodes, "
        "sampled), median over seeds; – where a seed never got there, with how many did. LLM "
        "questions and tokens: what the method would have cost in an empty workspace, every "
        "distinct state that any of its seeds asked about counted once. CPU s: median of training "
        "a seed, without labelling, learning curve and evaluation."
    )
