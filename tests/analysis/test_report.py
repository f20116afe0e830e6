"""The report: everything it promises is in it, nothing is fetched, nothing breaks it."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from llm4teach.analysis.reports.curves import learning_curves, pooled_success
from llm4teach.analysis.reports.figures import curve_figure, interval_figure
from llm4teach.analysis.reports.report_content import command, settings
from llm4teach.analysis.reports.run_report import write_report
from llm4teach.datasets import schema
from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.datasets.metrics import read_metrics
from llm4teach.datasets.runs import Run
from llm4teach.datasets.workspace import Workspace
from llm4teach.envs.registry import get_task
from llm4teach.envs.task import describe
from llm4teach.errors import DatasetError

from .conftest import (
    CONFIG,
    PROMPT,
    RUN,
    SLUG,
    TASK,
    TEACHER,
    advice_row,
    evaluation_rows,
    play,
    write_teach_run,
)

HEADINGS = [
    "Result",
    "What it took",
    "What the teacher said",
    "Learning",
    "Student and teacher, state by state",
    "Episodes",
    "Configuration",
    "How to reproduce",
]


class Page(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img", "br", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.text += data

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_the_page_is_whole_and_well_formed(report: Path) -> None:
    page = Page(report.read_text())
    assert page.open == []
    words = " ".join(page.text.split())
    for heading in HEADINGS:
        assert heading in words
    for fact in (TASK, TEACHER, PROMPT, RUN, "llm4teach 0.", "torch 2.", "percentage points"):
        assert fact in words
    for number in ("8,192", "5,684", "one in 1,742 steps", "8.8 s", "41 kB"):
        assert number in words
    assert "Agent sees <key>, holds <nothing>." in words
    assert "go to key > pick up key" in words and "80.0%" in words and "invalid" in words
    assert "llm4teach teach" in words and "--finetune.kl_coef 1.0" in words


def test_the_page_stands_alone(report: Path) -> None:
    content = report.read_text()
    page = Page(content)
    kinds = [attributes.get("type") for attributes in page.attributes("script")]
    assert kinds == ["application/json"] * 2 + [None], "two films, and what plays them"
    [script] = re.findall(r"<script>(.*?)</script>", content, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in content, "nothing else may run"
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    for tag, attributes in page.tags:
        for name in ("src", "href", "xlink:href"):
            address = attributes.get(name) or "#"
            assert address.startswith(("data:", "#")), (tag, address[:80])
            if (tag, name) == ("a", "href"):
                assert address[1:] in ids, f"a link to {address} leads nowhere"
    assert not re.search(r"url\((?!#)", content)
    assert "default-src 'none'" in content
    assert "prefers-color-scheme: dark" in content and "@media print" in content
    assert report.stat().st_size < 1_500_000
    assert [p.name for p in report.parent.iterdir() if p.name.endswith(".tmp")] == []


def test_every_figure_has_a_text(report: Path) -> None:
    page = Page(report.read_text())
    images, drawings = page.attributes("img"), page.attributes("svg")
    assert len(images) == 4  # two episodes, each as a sheet of frames and as a strip
    told = [image["alt"] for image in images if image["alt"]]
    told += [div["aria-label"] for div in page.attributes("div") if div.get("role") == "img"]
    assert len(told) == 4 and all(TASK in words for words in told if words)
    # intervals, fine-tuning, the same by tokens, distillation, collecting, map of agreement
    assert len(drawings) == 1 + 12 + 1 + 2 + 1 + 1
    assert all(drawing["role"] == "img" and drawing["aria-label"] for drawing in drawings)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_before_the_manifest_the_results_are_handed_in(workspace: Workspace) -> None:
    results = write_teach_run(workspace, finish=False)
    words = Page(write_report(workspace, RUN, results, command="make demo").read_text()).text
    assert TEACHER in words and "one in 1,742 steps" in words and "make demo" in words
    assert "Took" not in words  # nobody knows yet


def test_a_bare_run_has_short_notes_instead(workspace: Workspace) -> None:
    Run(workspace, RUN, "teach").start({})
    page = Page(write_report(workspace, RUN).read_text())
    for note in (
        "No evaluation is stored",
        "counted no steps",
        "No advice is stored",
        "No measurements are stored",
        "No episodes are recorded",
        "No configuration is stored",
    ):
        assert note in page.text
    assert not page.attributes("img") and not page.attributes("svg")


def test_an_evaluation_alone_and_an_empty_folder(workspace: Workspace) -> None:
    run = Run(workspace, "evaluate-20260101-000000-aaaa", "evaluate")
    run.start({"task": TASK})
    run.write_evaluation(evaluation_rows(run.run_id, 20)[:20])
    text = Page(write_report(workspace, run.run_id).read_text()).text
    assert "Wilson" in text and "percentage points" not in text and "No advice" in text
    (workspace.root / "runs" / "x").mkdir()
    assert "No configuration" in write_report(workspace, "x").read_text()


def test_a_missing_run_is_named(workspace: Workspace) -> None:
    with pytest.raises(DatasetError, match="no run 'nope'"):
        write_report(workspace, "nope")


def test_words_of_the_model_cannot_become_markup(workspace: Workspace) -> None:
    Run(workspace, RUN, "teach").start({"task": "<script>alert(1)</script>"})
    [state] = describe(get_task(TASK), play(1).observations[:1])
    evil = "</td><script>alert('x')</script>"
    row = advice_row(state) | {"state_text": evil, "options": [{"plan": evil, "probability": 1.0}]}
    AdviceStore(workspace.advice(TASK, SLUG), TEACHER, PROMPT).commit([row])
    results = {
        "advice_family": TASK,
        "teacher_slug": SLUG,
        "teacher_id": TEACHER,
        "prompt_version": PROMPT,
        "films": [{"seed": 1, "actions": [99], "policy": evil}],
    }
    page = Page(write_report(workspace, RUN, results).read_text())
    assert not page.attributes("script"), "no film can be played"
    assert page.open == [] and page.text.count("<script>") >= 4


def test_words_of_the_model_cannot_leave_the_films_data(workspace: Workspace) -> None:
    results = write_teach_run(workspace, finish=False)
    evil = "</script><script>alert(1)</script>"
    film = results["films"][0] | {"state_texts": [evil] * 9}
    page = Page(write_report(workspace, RUN, results | {"films": [film]}).read_text())
    assert len(page.attributes("script")) == 2 and page.open == []


@pytest.mark.parametrize(
    ("film", "problem"),
    [
        ({"seed": 1, "actions": [99]}, "action 99 at step 0"),
        ({"seed": 1}, "its record lacks 'actions'"),
        ({"seed": 1, "actions": [*play(1).actions, 0]}, "were they recorded with another version?"),
    ],
)
def test_a_film_that_cannot_be_played_leaves_a_note(
    workspace: Workspace, film: dict[str, Any], problem: str
) -> None:
    Run(workspace, RUN, "teach").start({"task": TASK})
    page = Page(write_report(workspace, RUN, {"task": TASK, "films": [film]}).read_text())
    assert "cannot be shown" in page.text and problem in page.text


@pytest.mark.extended
def test_more_advice_than_a_page_should_hold(workspace: Workspace) -> None:
    results = write_teach_run(workspace, finish=False) | {"films": []}
    [state] = describe(get_task(TASK), play(1).observations[:1])
    rows = [advice_row(state) | {"state_key": f"{i:016x}"} for i in range(300)]
    AdviceStore(workspace.advice(TASK, SLUG), TEACHER, PROMPT).commit(rows)
    page = Page(write_report(workspace, RUN, results).read_text())
    assert re.search(r"10\d more states are stored", page.text)
    assert sum(a.get("class") == "state" for a in page.attributes("td")) == 200


def test_secrets_do_not_reach_the_page() -> None:
    teacher = {
        "api_key": "sk-123",
        "base_url": "http://me:hush@host:8000/v1",
        "max_tokens": 64,
        "revision": None,
    }
    for shown in (str(settings({"teacher": teacher})), command("teach", "w", {"teacher": teacher})):
        assert "sk-123" not in shown and "hush" not in shown
        assert "64" in shown and "host:8000" in shown
    assert command("teach", "my work", CONFIG).startswith(
        "llm4teach teach \\\n  --workspace 'my work' \\\n  --task SimpleDoorKey"
    )


def test_windows_are_pooled_by_episodes() -> None:
    steps = [float(i) for i in range(6)]
    rates, ended = [1.0, 0.5, 0.0, 0.9, 0.25, 1.0], [2.0, 4.0, 0.0, 10.0, 4.0, 1.0]
    # The third window, in which nothing ended, is left out; the others go in pairs.
    assert pooled_success((steps, rates), (steps, ended), windows=3) == (
        [1, 4, 5],
        [4, 10, 1],
        [6, 14, 1],
    )
    assert pooled_success((steps, rates), ([], [])) == ([], [], [])


def test_curves_are_drawn_for_what_is_there(workspace: Workspace) -> None:
    run = Run(workspace, RUN, "teach")
    run.log("finetune", 64, {"kl_coef": 1.0, "value_loss": float("nan"), "unknown": 1.0})
    run.log("label", 1, {"questions": 3.0})
    run.flush()
    metrics = read_metrics(run.folder)
    [chapter] = learning_curves(metrics)
    assert len(chapter.figures) == 1 and "kl_coef" in chapter.figures[0]
    assert learning_curves(schema.METRICS.empty_table()) == []


def test_figures_carry_no_colors_of_their_own_and_escape_names() -> None:
    row = {"policy": "<b>$x$", "mode": "m", "success_rate": 0.5} | {
        "success_low": 0.4,
        "success_high": 0.6,
    }
    for svg in (
        str(interval_figure([row])),
        str(curve_figure('a "<i>', [1, 2, 3], [0.1, 0.2, 0.3], "env steps", [(0, 1)] * 3)),
    ):
        assert "<b>" not in svg and "<i>" not in svg
        assert not re.search(r"#[0-9a-f]{6}\b(?!\))", re.sub(r"url\(#[^)]*\)", "", svg))
        assert "var(--ink)" in svg
