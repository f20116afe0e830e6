"""Judging teachers from a workspace: a right one and a wrong one, and the page about them."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llm4teach.analysis.teachers.diagnostics import diagnose
from llm4teach.analysis.teachers.report import write_teacher_report
from llm4teach.analysis.teachers.stored import stored_teachers
from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.datasets.workspace import Workspace
from llm4teach.envs.registry import get_task
from llm4teach.envs.seeds import training_seeds
from llm4teach.envs.task import State
from llm4teach.errors import DatasetError
from llm4teach.flows.cli.main import main
from llm4teach.student.collection.behavior import OptionBehavior
from llm4teach.student.collection.collect import Collector
from llm4teach.student.collection.states import states_of
from llm4teach.student.config import EvaluateConfig

from .test_report_in_browser import BROWSER, Browser

TASK = get_task("SimpleDoorKey")
EVALUATE = EvaluateConfig(episodes=100)


def share(state: State, likes: tuple[str, ...], sure: float) -> list[dict[str, Any]]:
    """Advice: the first plan that ends in one of ``likes``, with the probability ``sure``."""
    plans = [str(plan) for plan in state.options]
    if "holds <key>" not in state.text:  # no door opens without
        likes = tuple(like for like in likes if like != "open door")
    wanted = next(p for like in likes for p in plans if p.endswith(like))
    others = [p for p in plans if p != wanted]
    left = (1 - sure) / max(1, len(others))
    rows = [{"plan": p, "probability": left} for p in others]
    return [{"plan": wanted, "probability": sure if others else 1.0}, *rows]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Collected episodes; a good teacher, sure of itself, and a bad one that is not."""
    import numpy as np

    from llm4teach.analysis.teachers.option_values import uniform_mixture

    workspace = Workspace(tmp_path_factory.mktemp("judged"))
    run, rng = "collect-20261121-120000-ab12", np.random.default_rng(0)
    folder = workspace.trajectories(TASK.name, run)
    collector = Collector(
        TASK, folder, run, n_envs=16, action_epsilon=0.1, seeds=training_seeds(0, "t"), rng=rng
    )
    leader = OptionBehavior(TASK, lambda states: [uniform_mixture(s) for s in states], 0.0, rng)
    collector.collect(4000, [(leader, 1.0)])
    from llm4teach.datasets.trajectories import read_steps

    states = states_of(TASK, read_steps(folder, TASK.observation_shape))
    teachers = {
        "good": (("open door", "pick up key", "explore"), 0.9),
        "bad": (("drop key", "explore"), 0.6),
    }
    for model, (likes, sure) in teachers.items():
        store = AdviceStore(workspace.advice(TASK.family, model), f"test/{model}@1/logprobs", "p1")
        rows = []
        for state in states:
            options = share(state, likes, sure)
            rows.append(
                {
                    "state_key": state.key,
                    "state_text": state.text,
                    "status": "ok",
                    "options": options,
                    "entropy": -sum(o["probability"] * np.log(o["probability"]) for o in options),
                    "coverage": 1.0,
                    "method": "logprobs",
                    "model": model,
                    "prompt_tokens": 100,
                    "completion_tokens": 1,
                }
            )
        store.commit(rows)
    return workspace


@pytest.fixture(scope="module")
def found(workspace: Workspace) -> dict[str, Any]:
    return diagnose(workspace, TASK, EVALUATE, fqe_steps=0)


def test_the_good_teacher_is_told_from_the_bad_one(found: dict[str, Any]) -> None:
    bad, good = found["teachers"]
    assert (bad["label"], good["label"]) == ("bad, logprobs", "good, logprobs")
    assert good["calibration"]["accuracy"] == 1 and good["own"]["success"] > 0.95
    assert bad["calibration"]["accuracy"] < 0.5 and bad["own"]["success"] < 0.8
    assert good["calibration"]["brier"] < 0.1 < 0.5 < bad["calibration"]["brier"]
    assert good["calibration"]["error"] == pytest.approx(0.1), "90% sure and always right"
    [pair] = found["agreement"]
    assert pair["states"] == good["states"] and pair["same_choice"] < 1


def test_uncertain_advice_is_left_out_and_counted(found: dict[str, Any]) -> None:
    bad, good = found["teachers"]
    assert good["uncertain_states"] == 0 and good["cautious"] == good["own"]
    assert bad["uncertain_states"] > 0 and bad["cautious"]["success"] > bad["own"]["success"]
    assert good["unknown_states"] == bad["unknown_states"]


def test_estimates_stand_beside_the_truth(found: dict[str, Any]) -> None:
    assert found["logged"] > 30
    whole = found["logged"] - found["logged_cut"]
    assert 0 < whole < found["logged"], "a collection cuts off what is still running"
    for teacher in found["teachers"]:
        truth, weighted = teacher["noisy"], teacher["importance_sampling"]
        assert truth["value_low"] <= truth["value"] <= truth["value_high"]
        assert 1 <= weighted["effective"] <= weighted["episodes"] == whole
        assert 0 <= weighted["low"] <= weighted["high"] <= 1
        assert teacher["fitted_q"] is None


def test_states_come_with_their_plans_and_shares(found: dict[str, Any]) -> None:
    by_text = {state["state_text"]: state for state in found["states"]}
    state = by_text["Agent sees <door>, holds <key>."]
    first = state["plans"][0]
    assert first["plan"] == "go to door > open door" and first["best"] and state["tells"]
    assert first["shares"][1] == pytest.approx(0.9)
    values = [plan["value"] for plan in state["plans"]]
    assert values == sorted(values, reverse=True)


class _Outside(HTMLParser):
    """What a page would fetch, and how many tags it opens and closes."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href", "xlink:href") and not (value or "").startswith(
                ("#", "data:")
            ):
                self.fetched.append(str(value))
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_fetches_nothing(workspace: Workspace, found: dict[str, Any]) -> None:
    path = write_teacher_report(workspace, found, "llm4teach teacher report --task <x>")
    text = path.read_text()
    page = _Outside()
    page.feed(re.sub(r"<(path|use|stop|rect|image)([^>]*)/>", "", text))
    assert page.fetched == [] and page.open == []
    assert text.count('role="img"') == 3, "one figure for all, a diagram for each"
    assert "good, logprobs" in text and "--task &lt;x&gt;" in text
    assert "go to door &gt; open door" in text
    assert json.loads((path.parent / "diagnostics.json").read_text()) == json.loads(
        json.dumps(found)
    )


@pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome on the PATH")
@pytest.mark.parametrize("width", [360, 1100])
def test_a_browser_shows_it_on_a_phone_too(
    workspace: Workspace, found: dict[str, Any], tmp_path: Path, width: int
) -> None:
    browser = Browser(tmp_path)
    try:
        browser.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=800,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        browser.open(write_teacher_report(workspace, found, "llm4teach teacher report"))
        complaints = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
        assert [event for event in browser.events if event["method"] in complaints] == []
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        boxes = "[...document.querySelectorAll('svg')].map(s => s.getBoundingClientRect().height)"
        heights = browser.evaluate(boxes)
        assert len(heights) == 3 and all(height > 50 for height in heights)
    finally:
        browser.close()


def test_without_trajectories_there_are_no_estimates(workspace: Workspace, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(workspace.root / "advice", tmp_path / "w" / "advice")
    bare = Workspace(tmp_path / "w")
    found = diagnose(bare, TASK, EvaluateConfig(episodes=5), fqe_steps=0)
    assert found["logged"] == 0 and found["teachers"][0]["importance_sampling"] is None
    text = write_teacher_report(bare, found, "x").read_text()
    assert "No whole episodes are stored" in text


def test_labels_are_as_long_as_they_must_be(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    row = {"state_key": "s", "status": "ok", "options": [{"plan": "explore", "probability": 1.0}]}
    for slug, teacher_id, version in (("a", "x/m", "p1"), ("a", "x/m", "p2"), ("b", "y/m", "p1")):
        store = AdviceStore(workspace.advice("F", slug), teacher_id, version)
        store.commit([{**row, "model": "m", "method": "logprobs"}])
    store.commit([{**row, "options": []}])  # asked twice: the earlier counts
    teachers = stored_teachers(workspace, SimpleNamespace(family="F"))  # type: ignore[arg-type]
    assert [t.label for t in teachers] == ["x/m p1", "x/m p2", "y/m"]
    assert all(t.advice == {"s": {"explore": 1.0}} for t in teachers)


def test_on_the_command_line(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["teacher", "report", "--workspace", str(workspace.root), "--no-fqe", "--quiet"]
    assert main([*asked, "--evaluate.episodes", "5"]) == 0
    shown = capsys.readouterr()
    path = Path(shown.out.strip())
    assert path.name == "report.html" and path.exists() and shown.err == ""
    assert main(["teacher", "--workspace", str(workspace.root)]) == 2
    assert main(["teacher", "report", "--workspace", str(workspace.root / "no")]) == 1
    assert "no advice on SimpleDoorKey" in capsys.readouterr().err
    with pytest.raises(DatasetError, match="no advice on"):
        diagnose(Workspace(workspace.root / "no"), TASK, EVALUATE)
