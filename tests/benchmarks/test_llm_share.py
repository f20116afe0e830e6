"""The LLM's share over several comparisons, against values worked out by hand."""

from __future__ import annotations

import csv
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
CONTROL = "whole method, no LLM"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(FOLDER)
    yield importlib.import_module("llm_share")
    for name in ("llm_share", "variants_table"):
        sys.modules.pop(name, None)


def rows(task: str, variant: str, success: list[float], steps: list[str]) -> list[dict[str, str]]:
    common = {"task": task, "variant": variant, "env_steps": "3000", "policy": "student"}
    common["control"] = "" if variant == CONTROL else CONTROL
    costs = {"questions": "12", "tokens": "600", "llm_s": "30"}
    return [
        {**common, **costs, "seed": str(i), "success": str(rate), "steps_to_80": to_80}
        for i, (rate, to_80) in enumerate(zip(success, steps, strict=True))
    ]


def test_by_hand(module: Any) -> None:
    taught = rows("a", "whole method", [0.9, 0.8, 0.7], ["1000", "1500", ""])
    control = rows("a", CONTROL, [0.5, 0.7, 0.3], ["", "", "2000"])
    (share,) = module.shares(taught + control[::-1])
    assert (share.taught, share.control) == (0.8, 0.5)
    assert share.points == pytest.approx((40 + 10 + 40) / 3)
    assert share.interval == pytest.approx((10, 40)), "the range, of three seeds"
    assert share.ratio == "> 2.0", "1,500 with the LLM; not within 3,000 without"
    assert share.cells() == [
        *("a", "reweighted", "3,000", "80.0%", "50.0%", "+30.0 [+10.0, +40.0]", "> 2.0"),
        *("12", "600", "30", "1.0"),
    ]


@pytest.mark.parametrize(
    ("taught", "control", "expected"),
    [
        (["1000", "1000", ""], ["2500", "3000", "2000"], "2.5"),
        (["", "", "1000"], ["2500", "3000", "2000"], "the control only"),
        (["", "", "1000"], ["", "", "2000"], "never"),
    ],
)
def test_ratios_of_steps(module: Any, taught: list[str], control: list[str], expected: str) -> None:
    ours, theirs = (
        rows("a", name, [0.5] * 3, steps)
        for name, steps in (("whole method", taught), (CONTROL, control))
    )
    assert module.ratio(ours, theirs, 80) == expected


def test_from_five_seeds_on_the_interval_is_the_bootstraps(module: Any) -> None:
    taught = rows("a", "whole method", [0.9, 0.9, 0.9, 0.9, 0.4], [""] * 5)
    (share,) = module.shares(taught + rows("a", CONTROL, [0.5] * 5, [""] * 5))
    low, high = share.interval
    assert share.points == pytest.approx(30)
    assert -10 < low < 30 < high <= 40 + 1e-9


def test_what_is_no_comparison_is_left_out_and_the_figure_has_the_others(
    module: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def write(name: str, lines: list[dict[str, str]]) -> str:
        with (tmp_path / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, list(lines[0]))
            writer.writeheader()
            writer.writerows(lines)
        return str(tmp_path / name)

    def comparison(task: str, taught: float) -> list[dict[str, str]]:
        taught_rows = rows(task, "whole method", [taught], [""])
        return taught_rows + rows(task, CONTROL, [0.2], [""])

    small, large = (write(f"{t}.csv", comparison(t, r)) for t, r in (("b", 0.3), ("c", 0.9)))
    other = write("other.csv", [{"policy": "none", "success": "1"}])
    svg = tmp_path / "share.svg"
    monkeypatch.setattr(sys, "argv", ["llm_share.py", small, other, large, "--svg", str(svg)])
    module.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| c", "| b"]
    drawn = svg.read_text()
    assert "c, reweighted" in drawn and "b, reweighted" in drawn and "no LLM" in drawn

    monkeypatch.setattr(sys, "argv", ["llm_share.py", other])
    with pytest.raises(SystemExit):
        module.main()
    assert "none of these files has a variant beside its control" in capsys.readouterr().err
