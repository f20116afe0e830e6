"""Comparisons: what curves and seeds come to, worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.image import imread

from llm4teach.analysis.comparison import (
    Comparison,
    SeedResult,
    TeacherResult,
    method_result,
    spread,
    steps_to,
)
from llm4teach.analysis.comparison_figure import write_comparison_figure
from llm4teach.analysis.comparison_table import comparison_markdown
from llm4teach.analysis.statistics import Interval


def seed_result(seed: int, sampled: float, curve: dict[int, float], **more: object) -> SeedResult:
    defaults = {"env_steps": 400, "tokens": {}, "train_cpu_s": 9.0, "validation_cpu_s": 1.0}
    success = {"sampled": sampled, "greedy": sampled / 2}
    return SeedResult(f"run-{seed}", seed, success, 100, curve, **{**defaults, **more})  # type: ignore[arg-type]


def test_steps_to_a_success_rate() -> None:
    falls_back = {0: 0.0, 300: 0.6, 100: 0.5, 200: 0.4}  # in no order
    late = {0: 0.1, 100: 0.2, 200: 0.2, 300: 0.95}
    never = {0: 0.0, 100: 0.49}
    both = steps_to(0.5, [falls_back, late])
    assert both.per_seed == [100, 300] and both.median == 200 and both.reached == 2
    with_one_that_never = steps_to(0.5, [falls_back, never, late])
    assert with_one_that_never.median is None and with_one_that_never.reached == 2
    assert with_one_that_never.per_seed == [100, None, 300]
    assert steps_to(0.95, [late]).per_seed == [300], "at the rate is enough"
    assert steps_to(0.1, [late]).per_seed == [0]


def test_seeds_summed_up() -> None:
    five = spread([0.9, 0.1, 0.8, 1.0, 0.7])
    assert (five.median, five.worst) == (0.8, 0.1)
    assert five.iqm == pytest.approx(0.8)  # of 0.7 0.8 0.9
    assert five.interval.low < five.iqm < five.interval.high


def test_a_state_that_two_seeds_need_is_counted_once() -> None:
    seeds = [
        seed_result(0, 0.5, {0: 0.0, 100: 0.5}, tokens={"a": 10, "b": 20}),
        seed_result(1, 0.7, {0: 0.2, 100: 0.9, 200: 1.0}, tokens={"b": 20, "c": 5}, env_steps=410),
    ]
    result = method_result("m", seeds)
    assert (result.questions, result.tokens) == (3, 35)
    assert result.env_steps == 405 and result.train_cpu_s == 9
    assert result.curve_steps == [0, 100], "only where every seed was measured"
    assert [point.iqm for point in result.curve] == [0.1, 0.7]
    assert result.greedy.per_seed == [0.25, 0.35]


def comparison() -> Comparison:
    poor = [seed_result(n, 0.1, {0: 0.0, 200: 0.1, 400: 0.1 * n}) for n in (0, 1)]
    offline = [seed_result(n, 0.9, {0: 0.0, 100: 0.9}, env_steps=100) for n in (0, 1)]
    good = [seed_result(n, 0.97, {0: 0.0, 100: 0.9, 400: 0.97}) for n in (0, 1)]
    interval = Interval(0.2, 0.4)
    return Comparison(
        task="SimpleDoorKey",
        teacher="recorded/vicuna-33b",
        teacher_id="recorded/vicuna-33b@1",
        prompt_version="",
        seeds=[0, 1],
        budget=400,
        offline_steps=100,
        methods=[
            method_result("plain PPO", poor),
            method_result("pretraining only", offline),
            method_result("whole method", good),
        ],
        reference=TeacherResult("run-t", 100, 0.3, interval, 0.25, interval, 6, 1234),
    )


def test_the_table() -> None:
    lines = comparison_markdown(comparison()).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:6]]
    assert {len(row) for row in cells} == {14} and lines[6] == ""
    rows = {row[0]: dict(zip(cells[0][1:], row[1:], strict=True)) for row in cells[2:5]}
    plain, offline = rows["plain PPO"], rows["pretraining only"]
    assert plain["sampled: median"] == "10.0%"
    assert plain["steps to 50%"] == "– (0/2)"
    assert (offline["steps to 80%"], offline["steps to 95%"]) == ("100", "– (0/2)")
    assert (offline["env steps"], offline["CPU s"]) == ("100", "9")
    assert cells[2][:3] == ["recorded/vicuna-33b, its own policy", "30.0%", "[20.0%, 40.0%]"]
    assert cells[2][-3:-1] == ["6", "1,234"]
    assert "2 seeds, at most 400 env steps" in lines[7] and "100 offline ones" in lines[7]


def test_what_else_was_measured_has_a_table_of_its_own() -> None:
    means = [{"length": 40.0, "collisions": 1.0}, {"length": 60.0, "collisions": 4.0}]
    seeds = [seed_result(n, 0.9, {0: 0.0}, means=means[n]) for n in (0, 1)]
    base = comparison()
    assert "collisions" not in comparison_markdown(base)
    reference = replace(base.reference, means={"length": 70.0, "collisions": 3.75})
    wanted = replace(base, methods=[method_result("m", seeds)], reference=reference)
    lines = comparison_markdown(wanted).splitlines()
    at = lines.index("| method | length | collisions |")
    assert lines[at + 2] == "| recorded/vicuna-33b, its own policy | 70 | 3.75 |"
    assert lines[at + 3] == "| m | 50 | 2.5 |"


def test_the_figure(tmp_path: Path) -> None:
    png, svg = tmp_path / "c.png", tmp_path / "c.svg"
    write_comparison_figure(comparison(), png, svg)
    pixels = imread(png)  # (height, width, RGBA)
    assert pixels.shape[0] > 600 and pixels.shape[1] > 1000
    for colour in ("#CC79A7", "#E69F00", "#009E73"):
        rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        close = np.abs(pixels[..., :3] - rgb).max(-1) < 0.02
        assert close.sum() > 200, f"a line in {colour}"
    words = "".join(ElementTree.parse(svg).getroot().itertext())
    for word in ("plain PPO", "pretraining only", "whole method", "offline phase", "env steps"):
        assert word in words
    once = svg.read_bytes()
    write_comparison_figure(comparison(), png, svg)
    assert svg.read_bytes() == once
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.png", "c.svg"]
