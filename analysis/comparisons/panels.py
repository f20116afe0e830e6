"""Panels of a comparison's figure: curves, final levels, levels by teacher, shifted variants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from llm4teach.analysis.comparisons.results import Comparison, MethodResult
from llm4teach.analysis.reports.figures import lines_of_percent, short_number
from llm4teach.analysis.statistics import Interval

_DASHES = (0, (5, 3))
_LIMITS = (-3, 103)  # of an axis of percentages
# Okabe and Ito's colors but for black and yellow, told apart by most color-blind people, and
# shapes for everybody else.
_COLORS = ("#CC79A7", "#E69F00", "#009E73", "#0072B2", "#56B4E9", "#D55E00", "#8C6BB1", "#8A8A8A")
_MARKERS = ("D", "s", "^", "o", "v", "P", "X", "<", ">", "h")


class Theme(NamedTuple):
    """Colors that are not a method's own."""

    ink: str
    faint: str


class Look(NamedTuple):
    """How one method is drawn, the same in every panel."""

    color: str
    marker: str


Panel = Callable[[Any, Comparison, Theme], None]  # fills axes


def looks(comparison: Comparison) -> dict[str, Look]:
    """Return each method's look, by its label."""
    return {
        method.label: Look(_COLORS[i % len(_COLORS)], _MARKERS[i % len(_MARKERS)])
        for i, method in enumerate(comparison.methods)
    }


def curves(axes: Any, comparison: Comparison, theme: Theme) -> None:
    """Success on validation episodes against env steps: middle of the seeds, with bands."""
    if comparison.offline_steps and any(m.curve_steps[-1] for m in comparison.methods):
        axes.axvspan(0, comparison.offline_steps, color=theme.faint, alpha=0.1, linewidth=0)
    for method in comparison.methods:
        steps, look = method.curve_steps, looks(comparison)[method.label]
        middle = [100 * point.middle for point in method.curve]
        _band(axes, steps, method, look)
        size = 7 if len(steps) == 1 or steps[-1] < 0.9 * comparison.budget else 4
        axes.plot(
            steps, middle, color=look.color, marker=look.marker, markersize=size, clip_on=False
        )
        if steps[-1] < 0.9 * comparison.budget:  # it learns no more, and needs no more steps
            flat = [steps[-1], comparison.budget]
            axes.plot(flat, [middle[-1]] * 2, color=look.color, linestyle=(0, (1, 2)))
    axes.set_xlim(0, comparison.budget)
    _success_by(axes, comparison, theme, "env steps", "success while training")


def tokens(axes: Any, comparison: Comparison, theme: Theme) -> None:
    """Success on validation episodes against the LLM tokens spent by then, medians."""
    for method in comparison.methods:
        if not any(method.token_curve):
            continue
        look = looks(comparison)[method.label]
        middle = [100 * point.middle for point in method.curve]
        axes.plot(
            method.token_curve,
            middle,
            color=look.color,
            marker=look.marker,
            markersize=4,
            clip_on=False,
        )
    axes.set_xlim(left=0)
    _success_by(axes, comparison, theme, "LLM tokens", "success by tokens spent")


def _success_by(axes: Any, comparison: Comparison, theme: Theme, what: str, title: str) -> None:
    """Label the axes of success against ``what``, and draw the teachers' own."""
    _teacher_lines(axes, comparison, theme)
    axes.set_xlabel(what)
    axes.set_title(title)
    _percent_axis(axes.yaxis)
    axes.set_ylim(*_LIMITS)
    axes.xaxis.set_major_formatter(lambda value, _: short_number(value))


def finals(axes: Any, comparison: Comparison, theme: Theme) -> None:
    """Held-out success of each method: middle, interval, every seed; and its teacher's."""
    names = [method.label for method in comparison.methods]
    for place, method in enumerate(comparison.methods):
        look, level = looks(comparison)[method.label], method.sampled
        _bar(axes, place, level.interval, look.color)
        dots = [100 * value for value in level.per_seed]
        axes.plot(dots, [place] * len(dots), "o", color=look.color, alpha=0.35, markersize=3)
        axes.plot(100 * level.middle, place, look.marker, color=look.color, markersize=7)
        if len(comparison.main_teachers) > 1 and (teacher := comparison.teacher_of(method)):
            axes.plot(100 * teacher.sampled, place, "|", color=theme.ink, markersize=13)
    if len(comparison.main_teachers) == 1:
        teacher = comparison.main_teachers[0]
        names.append("the teacher itself")
        _bar(axes, len(names) - 1, teacher.sampled_interval, theme.ink)
        axes.plot(100 * teacher.sampled, len(names) - 1, "|", color=theme.ink, markersize=13)
    lines_of_percent(axes, names)
    axes.set_title("success at the end, held-out")


def levels(axes: Any, comparison: Comparison, theme: Theme) -> None:
    """Each student's level above that of its teacher; above the diagonal it is the better one."""
    axes.plot([0, 100], [0, 100], color=theme.faint, linewidth=1, linestyle=_DASHES)
    for method in comparison.methods:
        look, level = looks(comparison)[method.label], method.sampled
        teacher = comparison.teacher_of(method)
        if teacher is None:  # a level to compare with, whatever a teacher can do
            axes.axhline(100 * level.middle, color=look.color, linewidth=1.4, linestyle=(0, (1, 2)))
            continue
        x, low, high = (100 * value for value in (teacher.sampled, *level.interval))
        axes.plot([x, x], [low, high], color=look.color, linewidth=2, clip_on=False)
        axes.plot(x, 100 * level.middle, look.marker, color=look.color, markersize=7, clip_on=False)
    axes.set_xlim(*_LIMITS)
    axes.set_ylim(*_LIMITS)
    axes.set_xlabel("success of the teacher's own policy")
    axes.set_title("success of the student")
    for axis in (axes.xaxis, axes.yaxis):
        _percent_axis(axis)


def shifts(axes: Any, comparison: Comparison, theme: Theme) -> None:
    """Success on the task and on its variants, which nothing was trained on."""
    variants = list(comparison.methods[0].shifted)
    n = len(comparison.methods) + 1
    for m, method in enumerate(comparison.methods):
        look = looks(comparison)[method.label]
        spreads = [method.sampled, *(method.shifted[name] for name in variants)]
        for row, level in enumerate(spreads):
            place = row + 0.7 * (m / (n - 1) - 0.5)
            _bar(axes, place, level.interval, look.color)
            axes.plot(
                100 * level.middle,
                place,
                look.marker,
                color=look.color,
                markersize=6,
                label=method.label if row == 0 else None,
            )
    for teacher in comparison.main_teachers[:1]:
        teacher_rate = (teacher.sampled, teacher.sampled_interval)
        for row, (rate, interval) in enumerate(
            [teacher_rate, *(teacher.shifted[v] for v in variants)]
        ):
            _bar(axes, row + 0.35, interval, theme.ink)
            name = "the teacher itself" if row == 0 else None
            axes.plot(100 * rate, row + 0.35, "|", color=theme.ink, markersize=11, label=name)
    short = [name.removeprefix(f"{comparison.task}-") for name in variants]
    lines_of_percent(axes, [comparison.task, *short])
    axes.set_title("success in rooms that nothing was trained on")
    axes.legend(loc="upper center", bbox_to_anchor=(0.4, -0.1), ncols=2, frameon=False)


def _bar(axes: Any, place: float, interval: Interval, color: str) -> None:
    axes.plot([100 * edge for edge in interval], [place, place], color=color, linewidth=2.2)


def _band(axes: Any, steps: Sequence[int], method: MethodResult, look: Look) -> None:
    low, high = ([100 * point.interval[side] for point in method.curve] for side in (0, 1))
    alpha = 0.18 if len(steps) > 1 else 0
    axes.fill_between(steps, low, high, color=look.color, alpha=alpha, linewidth=0)


def _teacher_lines(axes: Any, comparison: Comparison, theme: Theme) -> None:
    if len(comparison.main_teachers) == 1:
        level = 100 * comparison.main_teachers[0].sampled
        axes.axhline(level, color=theme.ink, linewidth=1.2, linestyle=_DASHES, zorder=1.5)


def _percent_axis(axis: Any) -> None:
    axis.set_major_formatter(lambda value, _: f"{value:g}%")
