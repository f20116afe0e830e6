"""Recorded episodes for a page: frames, and at each step what student and teacher would do."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from llm4teach.analysis.reports.replay import FilmError, film_strip, replay, sprite_sheet
from llm4teach.envs.registry import get_task
from llm4teach.errors import TaskError

MAX_FILMS = 3


class FilmView(NamedTuple):
    """One episode for the page; ``problem`` says why there are no pictures."""

    title: str
    sheet: str = ""  # data URL of all frames
    strip: str = ""  # data URL of some of them, for print
    alt: str = ""
    player: Mapping[str, Any] = {}  # what the page's script needs, as plain JSON
    problem: str = ""


def film_views(
    films: Sequence[Mapping[str, Any]], task: str, advice: Sequence[Mapping[str, Any]]
) -> list[FilmView]:
    """The first few of the run's recorded episodes, played again.

    Args:
        films: as `student.evaluation.replay.filmed` records them; older records have captions
            instead of probabilities, or no plans.
        task: whose episodes.
        advice: rows of schema.ADVICE, to tell what plans the teacher named in a state of those.
    """
    plans = {
        row["state_text"]: [
            [option["plan"], round(option["probability"], 3)]
            for option in sorted(row["options"] or [], key=lambda o: -o["probability"])
        ]
        for row in advice
    }
    return [_film_view(film, task, plans) for film in films[:MAX_FILMS]]


def _film_view(film: Mapping[str, Any], task: str, plans: Mapping[str, Any]) -> FilmView:
    policy, seed = film.get("policy", "student"), film.get("seed")
    title = f"{policy}, seed {seed}"
    try:
        replayed = replay(task, film["seed"], film["actions"], _captions(film, task))
        sheet = sprite_sheet(replayed)
        steps = f"{replayed.steps} step{'' if replayed.steps == 1 else 's'}"
        ends = f"{replayed.outcome} after {steps}"
        texts = film.get("state_texts") or []
        return FilmView(
            f"{title}: {ends}, return {replayed.total_return:.2f}",
            _data_url(sheet.png),
            _data_url(film_strip(replayed)),
            f"{task} played by the {policy} with seed {seed}: {ends}",
            {
                "columns": sheet.columns,
                "rows": sheet.rows,
                "captions": replayed.captions,
                "actions": list(film["actions"]),
                "names": list(get_task(task).action_names),
                "student": film.get("student_probs") or [],
                "teacher": film.get("teacher_probs") or [],
                "states": film.get("states") or [],
                "texts": texts,
                "plans": film.get("plans") or [plans.get(text, []) for text in texts],
            },
        )
    except KeyError as error:
        return FilmView(title, problem=f"its record lacks {error}")
    except (FilmError, TaskError) as error:
        return FilmView(title, problem=str(error))


def _captions(film: Mapping[str, Any], task: str) -> Sequence[str]:
    """What is written under the frames of a strip: the action, and the teacher's first choice."""
    if "captions" in film or "teacher_probs" not in film:
        stored: Sequence[str] = film.get("captions") or ()
        return stored
    names = get_task(task).action_names
    captions = []
    for action, probs in zip(film["actions"], film["teacher_probs"], strict=False):
        first = names[max(range(len(probs)), key=probs.__getitem__)] if any(probs) else "no advice"
        captions.append(f"{names[action] if action < len(names) else action} (teacher: {first})")
    return captions


def _data_url(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
