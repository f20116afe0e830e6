"""Budgets, prices and estimates: nothing is spent that was not allowed, and all is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import labeling_children as children
import pytest

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.envs.task import State
from llm4teach.teacher_labeling.config import LabelConfig, Price, TeacherConfig
from llm4teach.teacher_labeling.elicitation.token_counts import TokenCounts
from llm4teach.teacher_labeling.factory import make_teacher, resolve_model
from llm4teach.teacher_labeling.labeling.budget import Budget
from llm4teach.teacher_labeling.labeling.estimate import estimate
from llm4teach.teacher_labeling.labeling.run import label_states
from llm4teach.teacher_labeling.teacher import Advice, AdviceStatus

STATES = children.made_up_states(100)  # 15 tokens each, four in flight


def teacher(folder: Path) -> children.LoggingTeacher:
    return children.LoggingTeacher(folder / "asked.log", 0)


@pytest.mark.parametrize(
    ("limits", "asked", "words"),
    [
        ({"max_requests": 10}, (10, 10), "the 10 questions of max_requests"),
        ({"max_requests": 0}, (0, 0), "the 0 questions"),
        ({"max_tokens": 150}, (9, 10), "of the 150 tokens of max_tokens"),
        ({"max_tokens": 157}, (9, 10), "of the 157 tokens of max_tokens"),
        ({"max_cost": 0.002}, (9, 10), "of the $0.002 of max_cost"),
    ],
)
def test_a_budget_stops_and_keeps_all(
    tmp_path: Path, limits: dict[str, Any], asked: tuple[int, int], words: str
) -> None:
    price = Price(prompt=10.0, completion=20.0)  # $0.0002 an answer of 10 and 5 tokens
    config = LabelConfig(prices={"counting": price}, **limits)
    store = children.store_in(tmp_path)
    report = label_states(teacher(tmp_path), store, STATES, limits=config)
    assert asked[0] <= report.asked <= asked[1]
    assert words in report.stopped_by and report.left == 100 - report.asked
    assert report.cost == pytest.approx(0.0002 * report.asked)
    assert [row["cost"] for row in store.rows()] == [pytest.approx(0.0002)] * report.asked
    again = label_states(teacher(tmp_path), store, STATES)
    assert (again.known, again.asked, again.left) == (report.asked, 100 - report.asked, 0)
    assert not again.stopped_by


def test_a_budget_may_cover_several_labelings(tmp_path: Path) -> None:
    budget, config = Budget(LabelConfig(max_requests=10), requests=3), LabelConfig()
    store = children.store_in(tmp_path)
    counts = [
        label_states(teacher(tmp_path), store, part, limits=config, budget=budget).asked
        for part in (STATES[:4], STATES[4:8], STATES[8:])
    ]
    assert counts == [4, 3, 0]


def test_what_is_in_flight_counts_as_the_mean() -> None:
    budget = Budget(LabelConfig(max_tokens=100), tokens=10)
    answer = Advice(STATES[0], AdviceStatus.OK, prompt_tokens=20)
    assert budget.reserve() and budget.reserve(), "nothing is known of the tokens yet"
    budget.charge_answer(answer)  # 30 spent, 20 expected in flight
    assert budget.reserve() and budget.reserve()  # 90 when all are answered
    assert not budget.reserve() and "30 of the 100 tokens" in budget.reached
    budget.charge_answer(replace(answer, prompt_tokens=60))
    assert not budget.reserve()


def test_a_cost_that_the_backend_knows_stands(tmp_path: Path) -> None:
    class Priced(children.LoggingTeacher):
        def advise(self, states: Sequence[State]) -> Any:
            return (replace(advice, cost=0.5) for advice in super().advise(states))

    config = LabelConfig(prices={"counting": Price(prompt=1.0)})
    store = children.store_in(tmp_path)
    label_states(Priced(tmp_path / "asked.log", 0), store, STATES[:1], limits=config)
    assert store.rows()[0]["cost"] == 0.5


def test_an_estimate_from_stored_answers(tmp_path: Path) -> None:
    asker, store = teacher(tmp_path), children.store_in(tmp_path)
    price = Price(prompt=10.0, completion=20.0)
    first = estimate(asker, store, STATES * 2, price)
    assert (first.questions, first.missing) == (100, 100)
    assert (first.prompt_tokens, first.completion_tokens, first.cost) == (None, None, None)
    assert "nothing yet" in first.source
    label_states(asker, store, STATES[:10])
    found = estimate(asker, store, STATES, price)
    assert (found.missing, found.prompt_tokens, found.completion_tokens) == (90, 900, 450)
    assert found.cost == pytest.approx(0.018) and "10 stored answers" in found.source
    assert len(store.rows()) == 10, "nothing was asked"


def test_an_estimate_where_the_teacher_counts(tmp_path: Path) -> None:
    class Counts(children.LoggingTeacher):
        def count_tokens(self, states: Sequence[State]) -> TokenCounts:
            return TokenCounts(sum(len(s.text) for s in states), 2 * len(states), 7, 1)

    found = estimate(Counts(tmp_path / "l", 0), children.store_in(tmp_path), STATES, None)
    assert found.prompt_tokens == 100 * len(STATES[0].text) + 7
    assert (found.completion_tokens, found.cost) == (201, None)
    assert "sample of 20 questions" in found.source


def test_a_budget_holds_with_a_server(
    chat_server: Any, states: list[State], tmp_path: Path
) -> None:
    """110 tokens an answer; two are asked before the first is known."""
    config = TeacherConfig(teacher="openai", base_url=chat_server.url, n_samples=1, max_in_flight=2)
    asker = make_teacher(resolve_model(config), "SimpleDoorKey")
    store = AdviceStore(tmp_path, asker.info.teacher_id, asker.info.prompt_version)
    report = label_states(asker, store, states, limits=LabelConfig(max_tokens=350))
    assert report.asked in (2, 3) and report.prompt_tokens + report.completion_tokens <= 350
    assert len(chat_server.requests) == report.asked == len(store.rows())
    asker.close()
