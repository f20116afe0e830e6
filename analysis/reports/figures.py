"""Figures as inline SVG that takes its colors and its font from the page around it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from io import StringIO
from typing import Any

from markupsafe import Markup, escape

from llm4teach.analysis.summary import SummaryRow

# Colors that matplotlib writes, and the page's variables that replace them, so that one figure
# does for light, dark and print.
INK, FAINT, LINE, STUDENT, TEACHER, RANDOM = (f"#0{i}0{i}0{i}" for i in range(1, 7))
_VARIABLES = {
    INK: "var(--ink)",
    FAINT: "var(--faint)",
    LINE: "var(--line)",
    STUDENT: "var(--student)",
    TEACHER: "var(--teacher)",
    RANDOM: "var(--random)",
}
_COLOR_OF = {"student": STUDENT, "teacher": TEACHER, "random": RANDOM}


def style(ink: str, faint: str, line: str) -> Any:
    """Matplotlib's settings for all figures, in the given colors."""
    return {
        "svg.fonttype": "none",
        "font.size": 10,
        "text.parse_math": False,  # a "$" in a name is a dollar sign
        "text.color": ink,
        "axes.edgecolor": line,
        "axes.labelcolor": faint,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 11,
        "axes.titlelocation": "left",
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": line,
        "grid.linewidth": 0.6,
        "xtick.color": line,
        "ytick.color": line,
        "xtick.labelcolor": faint,
        "ytick.labelcolor": faint,
        "lines.linewidth": 1.8,
    }


def draw_svg(
    width: float, height: float, salt: str, alt: str, draw: Callable[[Any], None]
) -> Markup:
    """Let ``draw`` fill axes (inches) and return the <svg> element: themed, scalable, with a text.

    ``salt`` keeps the ids of several figures on one page apart.
    """
    return draw_figure(width, height, salt, alt, lambda figure: draw(figure.add_subplot()))


def draw_figure(
    width: float, height: float, salt: str, alt: str, draw: Callable[[Any], None]
) -> Markup:
    """Let ``draw`` fill a whole figure, as `draw_svg` does for one with a single pair of axes."""
    import matplotlib  # 0.5 s, so only where a figure is drawn
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    stream = StringIO()
    with matplotlib.rc_context({**style(INK, FAINT, LINE), "svg.hashsalt": salt}):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure)
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(stream, format="svg", transparent=True, metadata=nothing)
    head, _, body = stream.getvalue().partition("<svg")[2].partition(">")
    viewbox = re.search(r'viewBox="[^"]*"', head)
    for color, variable in _VARIABLES.items():
        body = body.replace(color, variable)
    body = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", body)  # the family is the page's
    body = re.sub(r'<g id="[^"]*"', "<g", body)  # the same in every figure, and not used
    return Markup(
        '<svg xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'{viewbox[0] if viewbox else ""} role="img" aria-label="{escape(alt)}">{body}'
    )


def standalone(svg: Markup) -> str:
    """Return a figure as a file of its own, on paper that follows the reader's light or dark."""
    head, _, body = str(svg).partition(">")
    light = (
        "--ink:#1f2328;--faint:#57606a;--line:#d8dee4;--paper:#ffffff;"
        "--student:#1f6feb;--teacher:#b35900;--random:#7d828a"
    )
    dark = (
        "--ink:#e6edf3;--faint:#9198a1;--line:#3d444d;--paper:#0d1117;"
        "--student:#6ea8fe;--teacher:#f0a35e;--random:#8d939c"
    )
    theme = (
        f"svg{{{light};font-family:system-ui,sans-serif;background:var(--paper)}}"
        f"@media (prefers-color-scheme:dark){{svg{{{dark}}}}}"
    )
    return f'{head} xmlns="http://www.w3.org/2000/svg"><style>{theme}</style>{body}\n'


def lines_of_percent(axes: Any, names: Sequence[str]) -> None:
    """One line a name, from the top, over an axis of percentages."""
    axes.set_yticks(range(len(names)), names, color=INK)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(-2, 102)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}%")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)


def interval_figure(rows: Sequence[SummaryRow]) -> Markup:
    """Success rates with their 95% intervals, one line a policy and mode."""
    names = [f"{row['policy']}, {row['mode']}" for row in rows]

    def draw(axes: Any) -> None:
        for place, row in enumerate(rows):
            color = _COLOR_OF.get(row["policy"], INK)
            low, high = 100 * row["success_low"], 100 * row["success_high"]
            axes.plot([low, high], [place, place], color=color, linewidth=2.2)
            axes.plot(100 * row["success_rate"], place, "o", color=color, markersize=6)
        lines_of_percent(axes, names)

    description = "; ".join(
        f"{name}: {row['success_rate']:.1%}, {row['success_low']:.1%} to {row['success_high']:.1%}"
        for name, row in zip(names, rows, strict=True)
    )
    alt = f"Success rates with 95% intervals. {description}."
    return draw_svg(4.6, 0.5 + 0.28 * len(rows), "intervals", alt, draw)


def curve_figure(
    title: str,
    x: Sequence[float],
    y: Sequence[float],
    x_label: str,
    band: Sequence[tuple[float, float]] | None = None,
    percent: bool = False,
    reference: float | None = None,
) -> Markup:
    """One curve, with a band of (low, high) around it and a dashed level to compare it with."""
    scale = 100 if percent else 1
    values = [scale * value for value in y]

    def draw(axes: Any) -> None:
        if band is not None:
            low, high = ([scale * edge[side] for edge in band] for side in (0, 1))
            axes.fill_between(x, low, high, color=STUDENT, alpha=0.18, linewidth=0)
        axes.plot(x, values, color=STUDENT, marker="o" if len(x) < 3 else None, markersize=4)
        if reference is not None:
            axes.axhline(scale * reference, color=TEACHER, linewidth=1.4, linestyle=(0, (5, 3)))
        axes.set_title(title)
        axes.set_xlabel(x_label)
        axes.xaxis.set_major_formatter(lambda value, _: short_number(value))
        if percent:
            axes.set_ylim(-3, 103)
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}%")

    unit = "%" if percent else ""
    first, last = (f"{values[i]:.3g}{unit} at {x[i]:,}" for i in (0, -1))
    return draw_svg(3.9, 2.35, title, f"{title}: from {first} to {last} {x_label}.", draw)


def short_number(value: float) -> str:
    """12,000 as 12k."""
    if abs(value) >= 1_000_000:
        return f"{value / 1_000_000:g}M"
    return f"{value / 1_000:g}k" if abs(value) >= 1_000 else f"{value:g}"
