"""Comparisons: what curves and seeds come to, worked out by hand."""

from __future__ import annotations

import csv
from dataclasses import replace
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.image import imread

from llm4teach.analysis.comparisons.figure import page_figures, write_findings_figure
from llm4teach.analysis.comparisons.page import write_findings_page
from llm4teach.analysis.comparisons.results import (
    Comparison,
    Findings,
    SeedResult,
    Spent,
    TeacherResult,
    llm_share,
    method_result,
    overall_improvements,
    spread,
    teacher_result,
    with_improvements,
)
from llm4teach.analysis.comparisons.seed_rows import findings_csv
from llm4teach.analysis.comparisons.table import (
    comparison_markdown,
    comparison_rows,
    findings_markdown,
    share_rows,
)
from llm4teach.analysis.statistics import Interval, wilson_interval

TEACHER = "recorded/vicuna-33b"


def seed_result(seed: int, sampled: float, curve: dict[int, float], **more: object) -> SeedResult:
    spent = dict.fromkeys(curve, 1234)
    defaults = {
        "env_steps": 400,
        "questions": {},
        "token_curve": spent,
        "cpu_curve": {step: step / 100 for step in curve},
        "train_cpu_s": 9.0,
        "validation_cpu_s": 1.0,
    }
    success = {"sampled": sampled, "greedy": sampled / 2}
    return SeedResult(f"run-{seed}", seed, success, 100, curve, **{**defaults, **more})  # type: ignore[arg-type]


def test_few_seeds_are_summed_up_by_median_and_range() -> None:
    five = spread([0.9, 0.1, 0.8, 1.0, 0.7])
    assert (five.median, five.worst) == (0.8, 0.1)
    assert five.middle == pytest.approx(0.8)  # of 0.7 0.8 0.9
    assert five.interval.low < five.middle < five.interval.high
    three = spread([0.9, 0.1, 0.6])
    assert (three.middle, three.interval) == (0.6, (0.1, 0.9))


def test_a_state_that_two_seeds_need_is_counted_once() -> None:
    seeds = [
        seed_result(
            0, 0.5, {0: 0.0, 100: 0.5}, questions={"a": Spent(10, 1.0), "b": Spent(20, 2.0)}
        ),
        seed_result(
            1,
            0.7,
            {0: 0.2, 100: 0.9, 200: 1.0},
            questions={"b": Spent(20, 2.0), "c": Spent(5, 0.5)},
            env_steps=410,
        ),
    ]
    result = method_result("m", seeds)
    assert (result.questions, result.tokens, result.llm_s) == (3, 35, 3.5)
    assert [(seed.questions, seed.tokens) for seed in result.seeds] == [(2, 30), (2, 25)]
    assert result.env_steps == 405 and result.train_cpu_s == 9
    assert result.curve_steps == [0, 100], "only where every seed was measured"
    assert [point.middle for point in result.curve] == [0.1, 0.7]
    assert result.greedy.per_seed == [0.25, 0.35]


def comparison() -> Comparison:
    poor = [seed_result(n, 0.1, {0: 0.0, 200: 0.1, 400: 0.1 * n}) for n in (0, 1)]
    offline = [
        seed_result(n, 0.9, {0: 0.0, 100: 0.9}, env_steps=100, confirmation=0.85) for n in (0, 1)
    ]
    good = [seed_result(n, 0.97, {0: 0.0, 100: 0.9, 400: 0.97}, confirmation=0.9) for n in (0, 1)]
    interval = Interval(0.2, 0.4)
    return Comparison(
        task="SimpleDoorKey",
        seeds=[0, 1],
        budget=400,
        offline_steps=100,
        methods=with_improvements(
            [
                method_result("plain PPO", poor),
                replace(method_result("pretraining only", offline), teacher=TEACHER),
                replace(method_result("whole method", good), teacher=TEACHER),
            ],
            "plain PPO",
        ),
        teachers=[TeacherResult(TEACHER, ["run-t"], 100, 0.3, interval, 0.25, interval, 6, 1234)],
        baseline="plain PPO",
    )


def findings(figure: str = "curves") -> Findings:
    comparisons = [comparison(), replace(comparison(), task="LavaDoorKey")]
    overall = overall_improvements(comparisons)
    return Findings(
        "ablation", "What helps?", figure, "llm4teach experiment", "2026", comparisons, overall
    )


def test_the_table() -> None:
    lines = comparison_markdown(comparison()).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:6]]
    assert {len(row) for row in cells} == {19} and lines[6] == ""
    rows = {row[0]: dict(zip(cells[0][1:], row[1:], strict=True)) for row in cells[2:5]}
    plain, offline = rows["plain PPO"], rows["pretraining only"]
    assert plain["sampled: median"] == "10.0%"
    assert plain["steps to 50%"] == "> budget (0/2)"
    assert offline["steps to 80%"] == "100 [100, 100]", "confirmed by the second measurement"
    assert offline["steps to 95%"] == "> budget (0/2)"
    assert (offline["env steps"], offline["CPU s"]) == ("100", "9")
    assert cells[2][:3] == ["teacher alone: recorded/vicuna-33b", "30.0%", "[20.0%, 40.0%]"]
    assert cells[2][-5:-2] == ["6", "1,234", "0"]
    assert (plain["P(better)"], offline["P(better)"]) == ("", "1.00 [1.00, 1.00]")
    assert "2 seeds from 0 on, at most 400 env steps" in lines[7] and "100 offline ones" in lines[7]


def with_shares() -> Comparison:
    """The whole method with a control that reaches 80% late, and 95% never; five seeds."""
    late = [
        seed_result(n, 0.9 - 0.1 * n, {0: 0.0, 300: 0.8, 400: 0.85}, confirmation=0.8)
        for n in range(5)
    ]
    early = [
        seed_result(
            n,
            0.97,
            {0: 0.0, 100: 0.9, 200: 0.96, 400: 0.97},
            confirmation=0.97,
            questions={f"s{n}": Spent(10, 1.5)},
        )
        for n in range(5)
    ]
    control, whole = method_result("m, no LLM", late), method_result("m", early)
    whole = replace(whole, teacher=TEACHER, share=llm_share(whole, control))
    base = comparison()
    return replace(base, seeds=[*range(5)], methods=[whole], baseline="m", controls=[control])


def test_the_llms_share_has_a_table_of_its_own() -> None:
    headings, row = share_rows(with_shares())
    cells = dict(zip(headings, row, strict=True))
    assert cells["success at the budget: with / without"] == "97.0% / 70.0%"
    assert cells["difference, IQM [95%]"].startswith("+27.0 [+")
    assert cells["steps to 80%: with / without"] == "100 / 300"
    assert cells["steps to 95%: with / without"] == "200 / > budget"
    ratios = [cell for heading, cell in zip(headings, row, strict=True) if ":" in heading[:10]]
    assert ratios == ["3.0 [3.0, 3.0]", "3.0 [3.0, 3.0]", "> 2.0"]
    assert row[-3:] == ("5", "50", "8")
    words = comparison_markdown(with_shares())
    assert "| m | 97.0% / 70.0% |" in words and "The LLM's share" in words
    assert share_rows(comparison()) == [], "no method has a control"


def test_the_control_is_no_second_teacher() -> None:
    base = comparison()
    none = replace(base.teachers[0], label="none/uniform", sampled=0.16)
    headings, llm, control, *_ = comparison_rows(replace(base, teachers=[*base.teachers, none]))
    assert headings[1] == "sampled: median"
    assert llm[:2] == ("teacher alone: recorded/vicuna-33b", "30.0%")
    assert control[:2] == ("teacher alone: none/uniform", "16.0%")
    alone = replace(base, teachers=[none])
    assert alone.main_teachers == [none], "unless nobody else is there"


def test_the_csv_has_a_row_per_variant_and_seed() -> None:
    found = Findings(
        "x", "", "curves", "llm4teach compare", "2026-11-29", [with_shares()], {}, "abc+", "Linux"
    )
    rows = list(csv.DictReader(StringIO(findings_csv(found))))
    students = [row for row in rows if row["policy"] == "student"]
    assert [(r["variant"], r["seed"]) for r in students] == [
        (label, str(seed)) for label in ("m", "m, no LLM") for seed in range(5)
    ]
    first, control = students[0], students[5]
    assert (first["success"], first["success_greedy"]) == ("0.97", "0.485")
    assert (first["steps_to_80"], first["steps_to_95"]) == ("100", "200")
    assert (control["steps_to_80"], control["steps_to_95"]) == ("300", "")
    assert (first["questions"], first["tokens"], first["llm_s"]) == ("1", "10", "1.5")
    assert (first["control"], control["control"]) == ("m, no LLM", "")
    assert first["env_steps"] == "400" and first["train_cpu_s"] == "9.0"
    for row in rows:
        assert (row["command"], row["date"]) == ("llm4teach compare", "2026-11-29")
        assert (row["commit"], row["machine"]) == ("abc+", "Linux")
    (teacher,) = (row for row in rows if row["policy"] == "teacher")
    assert (teacher["variant"], teacher["success"]) == (TEACHER, "0.3")


def several_teachers() -> Comparison:
    """Each method but the first taught by another one, of which the last differs by seed."""
    base, interval = comparison(), Interval(0.0, 1.0)
    plain, offline, whole = base.methods
    own = [
        TeacherResult("weak", ["a"], 100, 0.2, interval, 0.2, interval, 1, 1),
        teacher_result("strong", [seed_result(n, 0.6 + 0.2 * n, {}) for n in (0, 1)]),
    ]
    methods = [plain, replace(offline, teacher="weak"), replace(whole, teacher="strong")]
    shifted = [
        replace(method, shifted={"SimpleDoorKey-sizes": method.sampled}) for method in methods
    ]
    teachers = [replace(t, shifted={"SimpleDoorKey-sizes": (0.5, interval)}) for t in own]
    return replace(base, methods=with_improvements(shifted, base.baseline), teachers=teachers)


def test_a_teacher_for_each_seed_has_their_mean() -> None:
    one, two = (seed_result(n, rate, {}) for n, rate in ((0, 0.6), (1, 0.8)))
    alone = teacher_result("t", [one])
    assert (alone.sampled, alone.sampled_interval) == (0.6, wilson_interval(60, 100))
    both = teacher_result("t", [one, two])
    assert both.sampled == pytest.approx(0.7) and both.episodes == 200
    assert both.sampled_interval == pytest.approx((0.6, 0.8))


def test_where_teachers_differ_each_stands_beside_its_student() -> None:
    headings, plain, offline, whole = comparison_rows(several_teachers())
    assert headings[1] == "its teacher's own policy" and plain[1] == ""
    assert offline[1].startswith("20.0%") and whole[1].startswith("70.0%")
    words = comparison_markdown(several_teachers())
    assert "| sampled, median [range] | SimpleDoorKey | SimpleDoorKey-sizes |" in words
    assert "| teacher alone: weak | 20.0% [0.0%, 100.0%] | 50.0% [0.0%, 100.0%] |" in words
    better = "P(better): whole method than plain PPO"
    assert f"| {better} | 1.00 [1.00, 1.00] | 1.00 [1.00, 1.00] |" in words


def test_few_seeds_are_not_made_much_of() -> None:
    assert "decide nothing" in comparison_markdown(comparison())
    alone = [
        method_result(name, [seed_result(0, rate, {0: 0.0})])
        for name, rate in (("plain PPO", 0.1), ("m", 0.9))
    ]
    one = replace(comparison(), seeds=[0], methods=with_improvements(alone, "plain PPO"))
    words = comparison_markdown(one)
    assert "90.0% [–]" in words and "1.00 [–]" in words and "One seed says nothing" in words
    assert "[90.0%" not in words


def test_several_tasks_are_summed_up() -> None:
    found = findings()
    assert found.overall["whole method"].probability == 1
    words = findings_markdown(found)
    assert words.count("| method |") == 2 and "over all tasks: pretraining only 1.00" in words
    assert words.startswith("# ablation") and "llm4teach experiment" in words


def test_what_else_was_measured_has_a_table_of_its_own() -> None:
    means = [{"length": 40.0, "collisions": 1.0}, {"length": 60.0, "collisions": 4.0}]
    seeds = [seed_result(n, 0.9, {0: 0.0}, means=means[n]) for n in (0, 1)]
    base = comparison()
    assert "collisions" not in comparison_markdown(base)
    teacher = replace(base.teachers[0], means={"length": 70.0, "collisions": 3.75})
    wanted = replace(base, methods=[method_result("m", seeds)], teachers=[teacher])
    lines = comparison_markdown(wanted).splitlines()
    at = lines.index("| method | length | collisions |")
    assert lines[at + 2] == "| teacher alone: recorded/vicuna-33b | 70 | 3.75 |"
    assert lines[at + 3] == "| m | 50 | 2.5 |"


def test_the_figure(tmp_path: Path) -> None:
    png, svg = tmp_path / "c.png", tmp_path / "c.svg"
    write_findings_figure(findings(), svg, png)
    pixels = imread(png)  # (height, width, RGBA)
    assert pixels.shape[0] > 600 and pixels.shape[1] > 1000
    for color in ("#CC79A7", "#E69F00", "#009E73"):
        rgb = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        close = np.abs(pixels[..., :3] - rgb).max(-1) < 0.02
        assert close.sum() > 200, f"a line in {color}"
    words = "".join(ElementTree.parse(svg).getroot().itertext())
    for word in ("plain PPO", "pretraining only", "whole method", "env steps", "LavaDoorKey"):
        assert word in words
    content = svg.read_text()
    assert "prefers-color-scheme:dark" in content
    assert "var(--ink)" in content and 'role="img"' in content
    once = svg.read_bytes()
    write_findings_figure(findings(), svg, png)
    assert svg.read_bytes() == once
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.png", "c.svg"]


@pytest.mark.parametrize("figure", ["curves", "levels", "shifts"])
def test_every_kind_of_figure(tmp_path: Path, figure: str) -> None:
    found = replace(findings(figure), comparisons=[several_teachers()], overall={})
    write_findings_figure(found, tmp_path / "c.svg", tmp_path / "c.png")
    drawn = page_figures(found, several_teachers())
    assert len(drawn) == {"curves": 3, "levels": 4, "shifts": 4}[figure], "tokens were counted"
    for svg in drawn:
        ElementTree.fromstring(str(svg))
        assert "whole method 97.0% (97.0% to 97.0%)" in svg, "the text alternative tells the levels"


def test_the_page_is_whole_and_fetches_nothing(tmp_path: Path) -> None:
    write_findings_page(findings(), tmp_path / "c.html")
    page = (tmp_path / "c.html").read_text()
    assert "The LLM" not in page, "without a control"
    assert page.count("<table>") == 2 and page.count("<svg") == 6
    assert 'href="#LavaDoorKey"' in page and 'id="LavaDoorKey"' in page
    assert "What helps?" in page and "default-src 'none'" in page
    assert "://" not in page.replace("http://www.w3.org/", ""), "no address anywhere"
    assert [p.name for p in tmp_path.iterdir()] == ["c.html"]


def test_the_page_shows_the_llms_share(tmp_path: Path) -> None:
    found = replace(findings(), comparisons=[with_shares()], overall={})
    write_findings_page(found, tmp_path / "c.html")
    page = (tmp_path / "c.html").read_text()
    assert page.count("<table>") == 2 and "200 / &gt; budget" in page
    assert "The LLM&#39;s share" in page
