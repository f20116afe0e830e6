"""A few SVG shapes with colors for light and dark pages, for the figures of the documentation."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

STYLE = """
svg { --paper: #fff; --ink: #1f2328; --faint: #59636e; --line: #d0d7de; --bar: #0969da;
      --warm: #bc4c00; --box: #f6f8fa; }
@media (prefers-color-scheme: dark) {
  svg { --paper: #0d1117; --ink: #e6edf3; --faint: #9198a1; --line: #3d444d; --bar: #4493f8;
        --warm: #db6d28; --box: #151b23; }
}
text { font: 14px system-ui, -apple-system, "Segoe UI", "Liberation Sans", sans-serif;
       fill: var(--ink); }
.small { font-size: 12px; }
.faint { font-size: 12px; fill: var(--faint); }
.title { font-weight: 600; }
.middle { text-anchor: middle; }
.end { text-anchor: end; }
.paper { fill: var(--paper); stroke: var(--line); }
.box { fill: var(--box); stroke: var(--line); stroke-width: 1.5; }
.accent { fill: var(--box); stroke: var(--bar); stroke-width: 2; }
.warm { fill: var(--box); stroke: var(--warm); stroke-width: 2; }
.rail { fill: var(--line); }
.bar { fill: var(--bar); }
.hot { fill: var(--warm); }
.arrow, .curve { fill: none; stroke: var(--faint); stroke-width: 1.5; }
.curve { stroke: var(--bar); stroke-width: 2; }
.curve.two { stroke: var(--warm); }
.curve.three { stroke: var(--faint); stroke-dasharray: 5 4; }
.head { fill: var(--faint); }
"""


def picture(width: int, height: int, title: str, *parts: str, style: str = "") -> str:
    """Return a complete picture on a sheet of paper; ``title`` is its text alternative."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img"><title>{escape(title)}</title>'
        f"<style>{STYLE}{style}</style>"
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" '
        'markerHeight="8" orient="auto"><path class="head" d="M0 0 8 4 0 8z"/></marker></defs>'
        f'<rect class="paper" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8"/>'
        f"{''.join(parts)}</svg>\n"
    )


def text(x: float, y: float, words: str, kind: str = "") -> str:
    """Return one line of text; ``kind`` is title, faint, small, middle, end or several of them."""
    return f'<text class="{kind}" x="{x}" y="{y}">{escape(words)}</text>'


def box(x: float, y: float, w: float, h: float, lines: Sequence[str], kind: str = "box") -> str:
    """Return a box with a bold first line and small further ones, centered."""
    top = y + h / 2 - (len(lines) - 1) * 8 + 5
    words = [
        text(x + w / 2, top + i * 17, line, "title middle" if i == 0 else "faint middle")
        for i, line in enumerate(lines)
    ]
    rect = f'<rect class="{kind}" x="{x}" y="{y}" width="{w}" height="{h}" rx="6"/>'
    return rect + "".join(words)


def arrow(*points: tuple[float, float]) -> str:
    """Return a line through the points with a head at its end."""
    path = " ".join(f"{x},{y}" for x, y in points)
    return f'<polyline class="arrow" points="{path}" marker-end="url(#head)"/>'


def curve(points: Sequence[tuple[float, float]], kind: str = "") -> str:
    """Return a plotted line."""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline class="curve {kind}" points="{path}"/>'


def bars(
    x: float, y: float, shares: Sequence[tuple[str, float]], width: float = 120, kind: str = "bar"
) -> str:
    """Return one labeled horizontal bar per share, 24 pixels apart."""
    parts = []
    for i, (name, share) in enumerate(shares):
        top = y + 24 * i
        parts += [
            f'<rect class="rail" x="{x}" y="{top - 11}" width="{width}" height="12" rx="3"/>',
            f'<rect class="{kind}" x="{x}" y="{top - 11}" width="{width * share:.1f}" '
            'height="12" rx="3"/>',
            text(x + width + 10, top, f"{share:.0%} {name}"),
        ]
    return "".join(parts)
