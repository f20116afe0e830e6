"""The table of several comparisons, against values worked out by hand."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(FOLDER)
    yield importlib.import_module("variants_table")
    sys.modules.pop("variants_table", None)


def rows(task: str, variant: str, control: str, success: list[float], steps: list[str]) -> Any:
    return [
        {
            "task": task,
            "policy": "student",
            "variant": variant,
            "control": control,
            "seed": str(seed),
            "success": str(rate),
            "steps_to_95": to_95,
            "env_steps": "1000",
        }
        for seed, (rate, to_95) in enumerate(zip(success, steps, strict=True))
    ]


def test_medians_worst_seeds_and_shares(module: Any) -> None:
    one = [
        *rows("A", "plain PPO", "", [0.1, 0.0, 0.2], ["", "", ""]),
        *rows("A", "whole method", "no LLM", [0.9, 1.0, 0.95], ["100", "300", "200"]),
        *rows("A", "no LLM", "", [0.95, 0.5, 0.85], ["800", "", "600"]),
    ]
    teacher = {"policy": "teacher", "variant": "x", "control": "", "seed": "", "success": "0.5"}
    two = [
        *rows("B", "whole method", "no LLM", [0.9], [""]),
        *rows("B", "no LLM", "", [0.9], [""]),
        {"task": "B", **teacher},
    ]
    assert module.table([one, two])[2:] == [
        "| plain PPO | 10.0% (0.0%) |  |",
        "| whole method | 95.0% (90.0%) | 90.0% |",
        "| no LLM | 85.0% (50.0%) | 90.0% |",
        "| teacher alone |  | 50.0% |",
        "| LLM's share: points | +10.0 [-5.0, +50.0] | +0.0 [+0.0, +0.0] |",
        "| LLM's share: steps to 95% | 4.0 | never |",
        "| env steps | 1,000 | 1,000 |",
    ]


def test_a_control_that_never_gets_there(module: Any) -> None:
    whole = rows("A", "whole method", "no LLM", [1.0], ["100"])
    assert module.ratio(whole, rows("A", "no LLM", "", [0.1], [""])) == "> 10.0"


def test_several_files_of_a_task_are_one_column(module: Any) -> None:
    whole, control = "whole method", "whole method, no LLM"
    one = rows("A", whole, control, [0.9, 0.8], ["", ""]) + rows(
        "A", control, "", [0.5] * 2, [""] * 2
    )
    teacher = {"policy": "teacher", "variant": "x", "control": "", "seed": "", "success": "0.5"}
    one += [{"task": "A", **teacher}]
    cloning = rows("A", "cloning", "cloning, no LLM", [0.7, 0.6], ["", ""])
    cloning += [*rows("A", "cloning, no LLM", "", [0.1] * 2, [""] * 2), {"task": "A", **teacher}]
    other = rows("B", whole, control, [1.0], [""]) + rows("B", control, "", [0.5], [""])
    lines = module.table(module.by_task([one, other, cloning]))
    assert lines[0] == "| variant | A | B |"
    assert "| teacher alone | 50.0% |  |" in lines
    assert "| cloning | 65.0% (60.0%) |  |" in lines
    assert "| LLM's share: points | +35.0 [+30.0, +40.0] | +50.0 [+50.0, +50.0] |" in lines
