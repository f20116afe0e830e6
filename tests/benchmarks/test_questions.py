"""The figure of `experiment questions`: medians, ranges and question counts worked out by hand."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "questions"
TASK = "MiniGrid-GoToDoor-8x8-v0"


@pytest.fixture
def figure(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(FOLDER)
    yield importlib.import_module("figure")
    sys.modules.pop("figure", None)


def rows(variant: str, success: list[float], questions: int) -> list[dict[str, str]]:
    control = f"{variant}, no LLM" if questions else ""
    common = {"task": TASK, "variant": variant, "control": control, "policy": "student"}
    return [{**common, "success": str(s), "questions": str(questions)} for s in success]


def test_by_hand(figure: Any) -> None:
    comparison = [
        *rows("all questions", [1.0, 0.9, 0.8], 400),
        {**rows("teacher", [1.0], 170)[0], "policy": "teacher"},
        *rows("1% first", [0.1, 0.3, 0.5], 4),
        *rows("1% visits", [0.7, 0.6, 0.9], 4),
        *rows("5% visits", [0.9, 0.9, 1.0], 20),
        *rows("all questions, no LLM", [0.2, 0.1, 0.3], 0),
        *rows("1% first, no LLM", [0.0, 0.0, 0.0], 0),
    ]
    found = figure.points(comparison)
    assert [point.order for point in found] == ["", "first", "visits", "visits", ""]
    assert [point.asks for point in found] == [True] * 4 + [False]
    assert found[2].success == (0.7, 0.6, 0.9) and found[3].questions == 20
    assert figure.table(found)[2:] == [
        "| first | 30.0% [10.0%, 50.0%] |  |",
        "| visits | 70.0% [60.0%, 90.0%] | 90.0% [90.0%, 100.0%] |",
        "| all 400 questions | 90.0% [80.0%, 100.0%] | |",
        "| no LLM | 20.0% [10.0%, 30.0%] | |",
    ]
    assert figure.table(found)[0] == "| order | 1%: 4 questions | 5%: 20 questions |"
    drawn = figure.figure(found)
    assert "questions per student" in drawn and "visits" in drawn and TASK in drawn
