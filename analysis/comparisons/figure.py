"""A comparison's figures: one for files, as SVG and PNG, and single panels for a page."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from llm4teach.analysis.comparisons import panels
from llm4teach.analysis.comparisons.panels import Panel, Theme
from llm4teach.analysis.comparisons.results import Comparison, Findings, middle_of
from llm4teach.analysis.reports.figures import FAINT, INK, draw_figure, draw_svg, standalone, style
from llm4teach.datasets.storage.parquet import replacing
from llm4teach.datasets.storage.paths import StoragePath

_PAPER, _PRINTED = "white", Theme("#1f2328", "#57606a")
_LINE = "#d8dee4"
_THEMED = Theme(INK, FAINT)
_OF_FIGURE: dict[str, tuple[Panel, ...]] = {
    "curves": (panels.curves, panels.finals),
    "levels": (panels.levels, panels.finals),
    "shifts": (panels.shifts,),
}


def write_findings_figure(findings: Findings, svg: StoragePath, png: StoragePath) -> None:
    """Draw an experiment's figure, a row a task, to two files."""
    import matplotlib  # 0.5 s, so only where a figure is drawn
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    size = _size(findings)
    alt = " ".join(description(comparison) for comparison in findings.comparisons)
    themed = draw_figure(*size, findings.name, alt, lambda figure: _fill(figure, findings, _THEMED))
    with replacing(svg) as temporary:
        temporary.write_text(standalone(themed), encoding="utf-8")
    with matplotlib.rc_context(style(*_PRINTED, _LINE)):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        _fill(figure, findings, _PRINTED)
        with replacing(png) as temporary:
            figure.savefig(temporary, format="png", facecolor=_PAPER, dpi=160)


def page_figures(findings: Findings, comparison: Comparison) -> list[Markup]:
    """Return the panels of one task as single figures, with text alternatives."""
    chosen = dict.fromkeys((*_OF_FIGURE[findings.figure], panels.finals, panels.curves))
    if any(any(method.token_curve) for method in comparison.methods):
        chosen[panels.tokens] = None
    words, rows = description(comparison), len(comparison.methods)
    return [
        draw_svg(
            4.6,
            1.2 + 0.3 * rows if panel is panels.finals else _height(panel, comparison),
            f"{findings.name} {comparison.task} {panel.__name__}",
            f"{(panel.__doc__ or '').splitlines()[0]} {words}",
            lambda axes, panel=panel: panel(axes, comparison, _THEMED),  # type: ignore[misc]
        )
        for panel in chosen
    ]


def description(comparison: Comparison) -> str:
    """The final levels in words."""
    lines = [
        f"{method.label} {method.sampled.middle:.1%} "
        f"({method.sampled.interval.low:.1%} to {method.sampled.interval.high:.1%})"
        for method in comparison.methods
    ]
    lines += [f"{teacher.label} by itself {teacher.sampled:.1%}" for teacher in comparison.teachers]
    return f"{comparison.task}: {'; '.join(lines)}."


def _size(findings: Findings) -> tuple[float, float]:
    chosen, first = _OF_FIGURE[findings.figure], findings.comparisons[0]
    height = max(_height(panel, first) for panel in chosen)
    return (5.6 if len(chosen) == 1 else 9.2), height * len(findings.comparisons) + 0.4


def _height(panel: Panel, comparison: Comparison) -> float:
    """Inches; a panel of lines needs some for each."""
    if panel is panels.shifts:
        return 1.6 + 0.75 * (1 + len(comparison.methods[0].shifted))
    return 3.4


def _fill(figure: Any, findings: Findings, theme: Theme) -> None:
    chosen = _OF_FIGURE[findings.figure]
    rows = len(findings.comparisons)
    grid = figure.subplots(rows, len(chosen), squeeze=False)
    for axes, comparison in zip(grid, findings.comparisons, strict=True):
        for one, panel in zip(axes, chosen, strict=True):
            panel(one, comparison, theme)
    first = findings.comparisons[0]
    n = len(first.seeds)
    over = "one seed" if n == 1 else f"{middle_of(n)} of {n} seeds"
    tasks = ", ".join(comparison.task for comparison in findings.comparisons)
    figure.suptitle(f"{tasks}: {over}", x=0.01, ha="left", fontsize=11, color=theme.faint)
