"""Writes a recording (`recorded_backend.Recording`) of the advice that a store holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.teacher_labeling.teacher import AdviceStatus, TeacherError, TeacherInfo

PLACES = 4  # decimals of the probabilities; less than a thousandth is not worth a line
_LEAST = 1e-3


def write_recording(
    path: Path, info: TeacherInfo, stores: Mapping[str, AdviceStore], regenerate: str
) -> int:
    """Write what a teacher said of every state of some task families; return how many states.

    Args:
        path: of the JSON file; the folder ``recorded`` is where teachers are looked for by name.
        info: whose answers these are.
        stores: the teacher's advice by task family.
        regenerate: the command that asks anew, for the file's provenance.

    Raises:
        TeacherError: a store has no advice.
    """
    families, dates = {}, []
    for family, store in stores.items():
        rows = [row for row in store.rows() if row["status"] == AdviceStatus.OK]
        if not rows:
            raise TeacherError(f"there is no advice on {family} by {info.teacher_id} to record")
        dates += [row["created_at"].date().isoformat() for row in rows]
        families[family] = [
            {"state_text": row["state_text"], "replies": _replies(row["options"])}
            for row in sorted(rows, key=lambda row: str(row["state_text"]))
        ]
    head = {
        "format": 1,
        "source": f"{info.teacher_id}, asked by llm4teach",
        "provenance": f"The model's own distributions over the admissible plans, rounded; prompt "
        f"version {info.prompt_version}, asked {min(dates)} to {max(dates)}. Regenerate with: "
        f"{regenerate}",
        "model": info.model,
        "model_revision": info.model_revision,
        "method": f"{info.method}, {info.settings}" if info.settings else info.method,
        "families": families,
    }
    path.write_text(json.dumps(head, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return sum(map(len, families.values()))


def _replies(options: list[dict[str, object]]) -> list[dict[str, object]]:
    likely = [o for o in options if float(str(o["probability"])) >= _LEAST]
    return [
        {"plan": o["plan"], "probability": round(float(str(o["probability"])), PLACES)}
        for o in likely
    ]
