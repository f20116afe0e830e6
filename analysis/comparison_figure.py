"""A comparison's figure: success against env steps, a line a method, as PNG and SVG."""

from __future__ import annotations

from typing import Any

from llm4teach.analysis.comparison import Comparison, MethodResult
from llm4teach.analysis.figures import short_number, style
from llm4teach.datasets.parts import replacing
from llm4teach.datasets.places import Place

_INK, _FAINT, _LINE, _SHADE = "#1f2328", "#57606a", "#d8dee4", "#eef1f4"
# Okabe and Ito's colours, told apart by most colour-blind people, and shapes for everybody else.
_LOOKS = (("#CC79A7", "D"), ("#E69F00", "s"), ("#009E73", "^"), ("#0072B2", "o"), ("#56B4E9", "v"))


def write_comparison_figure(comparison: Comparison, png: Place, svg: Place) -> None:
    """Draw interquartile means over the seeds, with bootstrap bands, to two files."""
    import matplotlib  # 0.5 s, so only where a figure is drawn
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    own: Any = {"font.size": 11, "svg.hashsalt": "comparison"}
    with matplotlib.rc_context({**style(_INK, _FAINT, _LINE), **own}):
        figure = Figure(figsize=(7.6, 4.8), layout="constrained")
        FigureCanvasAgg(figure)
        _draw(figure, figure.add_subplot(), comparison)
        for path, options in ((png, {"dpi": 160}), (svg, {"metadata": {"Date": None}})):
            with replacing(path) as temporary:
                kind = path.suffix[1:]
                figure.savefig(temporary, format=kind, facecolor="white", **options)


def _draw(figure: Any, axes: Any, comparison: Comparison) -> None:
    for method, (colour, marker) in zip(comparison.methods, _LOOKS, strict=False):
        _draw_method(axes, method, comparison, colour, marker)
    axes.axhline(
        100 * comparison.reference.sampled,
        color=_INK,
        linewidth=1.4,
        linestyle=(0, (5, 3)),
        label="the teacher itself",
        zorder=1.5,
    )
    if comparison.offline_steps:
        axes.axvspan(0, comparison.offline_steps, color=_SHADE, linewidth=0, zorder=0)
        axes.annotate(
            "offline phase of the\nmethods that pretrain",
            (0, 1.0),
            (5, 3),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            fontsize=8.5,
            color=_FAINT,
            va="bottom",
        )
    axes.set_xlim(0, comparison.budget)
    axes.set_ylim(-3, 103)
    axes.set_xlabel("env steps")
    axes.set_ylabel("success on validation episodes, sampled")
    axes.xaxis.set_major_formatter(lambda value, _: short_number(value))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}%")
    n = len(comparison.seeds)
    over = "one seed" if n == 1 else f"IQM of {n} seeds, bootstrap 95% bands"
    figure.suptitle(f"{comparison.task}, taught by {comparison.teacher}", x=0.01, ha="left")
    axes.set_title(over, fontsize=9.5, color=_FAINT, loc="right")
    figure.legend(loc="outside lower center", ncols=3, frameon=False)


def _draw_method(
    axes: Any, method: MethodResult, comparison: Comparison, colour: str, marker: str
) -> None:
    steps = method.curve_steps
    middle = [100 * point.iqm for point in method.curve]
    low, high = ([100 * point.interval[side] for point in method.curve] for side in (0, 1))
    stops = steps[-1] < 0.9 * comparison.budget  # it learns no more, and needs no more steps
    look = {"linewidth": 4.5, "markersize": 8} if stops else {"markersize": 4.5}  # others begin so
    axes.fill_between(steps, low, high, color=colour, alpha=0.18, linewidth=0)
    axes.plot(steps, middle, color=colour, marker=marker, label=method.label, clip_on=False, **look)
    if stops:
        flat = [steps[-1], comparison.budget]
        axes.plot(flat, [middle[-1]] * 2, color=colour, linewidth=2.4, linestyle=(0, (1, 2)))
