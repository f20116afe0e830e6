"""The map of agreement: state by state, what student and teacher would do, and who differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from llm4teach.analysis.reports.figures import FAINT, INK, STUDENT, TEACHER, draw_svg

MAX_STATES = 24


class StateView(NamedTuple):
    """One state: a line of the map and of the table beneath it."""

    number: int
    text: str
    share: float  # of the student's steps
    student: Sequence[float]  # probability of each action
    teacher: Sequence[float]
    kl: float | None  # nats
    differs: float | None  # share of the steps
    return_after: float


def agreement_map(
    rows: Sequence[Mapping[str, Any]], action_names: Sequence[str]
) -> tuple[Markup | None, list[StateView]]:
    """Return the map, None without any states, and its lines, the most frequent states first.

    Args:
        rows: of schema.AGREEMENT, one run's; those in which the student played are shown.
        action_names: of the task.
    """
    played = [row for row in rows if row["policy"] == "student"]
    total = sum(row["steps"] for row in played)
    frequent = sorted(played, key=lambda row: (-row["steps"], row["state_text"]))[:MAX_STATES]
    views = [
        StateView(
            number,
            row["state_text"],
            row["steps"] / total,
            row["student_probs"],
            row["teacher_probs"],
            row["kl"],
            row["differs"],
            row["return_after"],
        )
        for number, row in enumerate(frequent, start=1)
    ]
    return (_figure(views, action_names) if views else None), views


def _figure(views: Sequence[StateView], names: Sequence[str]) -> Markup:
    n = len(names)

    def draw(axes: Any) -> None:
        from matplotlib.patches import Rectangle

        for line, view in enumerate(views):
            sides = ((0, view.student, STUDENT), (n + 1, view.teacher, TEACHER))
            for left, probs, color in sides:
                for action, p in enumerate(probs):
                    place = (left + action - 0.46, line - 0.44)
                    axes.add_patch(Rectangle(place, 0.92, 0.88, color=color, alpha=p, lw=0))
                if not any(probs):
                    axes.text(left + (n - 1) / 2, line, "no advice", color=FAINT, **_MIDDLE)
        places = [*range(n), *range(n + 1, 2 * n + 1)]
        axes.set_xticks(places, [*names, *names], rotation=60, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(views)), [str(view.number) for view in views])
        axes.set_xlim(-0.6, 2 * n + 0.6)
        axes.set_ylim(len(views) - 0.4, -1.4)
        axes.text((n - 1) / 2, -0.9, "student", color=INK, **_MIDDLE)
        axes.text(n + 1 + (n - 1) / 2, -0.9, "teacher", color=INK, **_MIDDLE)
        axes.set_ylabel("state")
        axes.grid(visible=False)
        axes.tick_params(length=0)
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)

    alt = f"Map of agreement over {len(views)} states: {'; '.join(map(_told, views))}."
    return draw_svg(4.8, 1.3 + 0.27 * len(views), "agreement", alt, draw)


_MIDDLE: dict[str, Any] = {"ha": "center", "va": "center"}


def _told(view: StateView) -> str:
    if view.differs is None:
        return f"state {view.number}, no advice"
    return f"state {view.number}, other first choice in {view.differs:.0%} of the steps"
