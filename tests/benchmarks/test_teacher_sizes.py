"""Teacher sizes: agreement with the rules from stored advice, and figures worked out by hand."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llm4teach.analysis.comparisons.results import read_seed
from llm4teach.analysis.sql.query import run_sql
from llm4teach.datasets.workspace import Workspace
from llm4teach.flows.experiments.train_trial import run_trial
from llm4teach.flows.experiments.trial import PRETRAIN, Trial
from llm4teach.flows.runtime.settings import load_settings

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "teacher_sizes"
TASK = "MiniGrid-GoToDoor-8x8-v0"
SMALL, RULES, CONTROL = "SmolLM2-135M", "hand-written rules", "no LLM"


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(FOLDER)
    yield importlib.import_module(name)
    sys.modules.pop(name, None)


@pytest.fixture
def figure(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    yield from load("figure", monkeypatch)


@pytest.fixture
def agreement(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    yield from load("agreement", monkeypatch)


def rows(variant: str, success: list[float], steps: list[str], llm_s: str) -> list[dict[str, str]]:
    common = {"task": TASK, "variant": variant, "env_steps": "4000", "policy": "student"}
    costs = {"questions": "30", "llm_s": llm_s, "control": "" if variant == CONTROL else CONTROL}
    return [
        {**common, **costs, "seed": str(i), "success": str(rate), "steps_to_80": to_80}
        for i, (rate, to_80) in enumerate(zip(success, steps, strict=True))
    ]


def test_by_hand(figure: Any) -> None:
    alone = {**rows(SMALL, [0.1], ["2000"], "9")[0], "policy": "teacher"}
    comparison = [
        *rows(RULES, [0.9, 1.0, 0.8], ["2000", "", "4000"], "0"),
        alone,
        *rows(SMALL, [0.7, 0.6, 0.8], ["", "4000", ""], "60"),
        *rows(CONTROL, [0.2, 0.3, 0.1], ["", "", ""], "0"),
    ]
    agreed = [{"task": TASK, "teacher": SMALL, "agreement": "0.5", "low": "0.4", "high": "0.6"}]
    own = {"success": "0.3", "success_low": "0.2", "success_high": "0.4"}
    played = [{"task": TASK, "teacher": "embedded/smollm2-135m", **own}]
    small, rules = figure.sizes(comparison, agreed, played)
    assert (small.teacher, rules.teacher) == (SMALL, RULES), "the largest comes last"
    assert small.agreement == (0.5, 0.4, 0.6) and small.own_policy == (0.3, 0.2, 0.4)
    assert small.success == (0.7, 0.6, 0.8), "the teacher's own row is no student"
    assert math.isinf(small.steps_to_80) and rules.steps_to_80 == 4000
    assert small.points == pytest.approx(50) and small.seconds_per_point == pytest.approx(1.2)
    assert math.isnan(rules.seconds_per_point) and rules.agreement is None
    told = figure.table([small, rules])
    assert "| > 4,000 | 30 | 60 | 1.2 |" in told[2] and told[3].endswith("| 4,000 | 30 | 0 | – |")
    drawn = figure.figure([small, rules])
    assert drawn.startswith("<svg") or "<svg" in drawn[:200]
    assert "never" in drawn and "SmolLM2-135M" in drawn


def test_agreement_is_that_of_the_stored_advice(agreement: Any, tmp_path: Path) -> None:
    runs = {}
    faulty = {"teacher": "expert", "fault": "random", "fault_share": 0.5}
    for label, teacher in ((RULES, {"teacher": "expert"}), ("faulty", faulty)):
        settings = load_settings(
            {
                **{"workspace": str(tmp_path), "teacher": teacher, "task": TASK},
                "collect": {"steps": 256, "rounds": 1, "n_envs": 8, "ask": False},
                "label": {"share": 0.5, "order": "visits"},
                **{"finetune": {"steps": 0}, "pretrain": {"epochs": 1}},
                **{"validation": {"episodes": 2}, "evaluate": {"episodes": 2}},
            }
        )
        runs[label] = run_trial(Trial(PRETRAIN, settings))
    workspace = Workspace(tmp_path)
    methods = [{"label": label, "runs": [run]} for label, run in runs.items()]
    found = list(agreement.agreements({"task": TASK, "methods": methods}, workspace))
    assert [row["teacher"] for row in found] == [RULES, "faulty"]
    common = set.intersection(*({*read_seed(workspace, run).questions} for run in runs.values()))
    assert found[0]["questions"] == found[1]["questions"] == len(common) > 10
    assert found[0]["agreement"] == 1.0, "the rules agree with themselves"
    plans: dict[bool, dict[str, list[Any]]] = {True: {}, False: {}}
    for row in run_sql(workspace, "SELECT * FROM advice").to_pylist():
        if row["question_key"] in common:
            is_right = row["teacher_id"].startswith("expert/")
            plans[is_right][row["question_key"]] = row["options"]
    right = 0
    for key, options in plans[False].items():
        first = max(options, key=lambda one: one["probability"])["plan"]
        right += first in {one["plan"] for one in plans[True][key] if one["probability"] > 0}
    assert found[1]["agreement"] == pytest.approx(right / len(common), abs=1e-4)
    assert 0.3 < found[1]["agreement"] < 0.8, "half of the advice is corrupted"
