"""Questions that get no answer: they block nobody, and what they cost is not forgotten."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import labelling_children as children
import pytest
from asking import Make, make_states, make_teacher
from bad_server import BadServer

from llm4teach.datasets.advice import AdviceStore
from llm4teach.envs.task import State
from llm4teach.teacher_labeling import questions
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.label_batch import LabelReport, label_states
from llm4teach.teacher_labeling.label_config import LabelConfig
from llm4teach.teacher_labeling.openai_backend import OpenAITeacher
from llm4teach.teacher_labeling.questions import BackgroundQuestions, Questions
from llm4teach.teacher_labeling.spending import Spending
from llm4teach.teacher_labeling.teacher import Advice, TeacherError

STATES = children.made_up_states(20)


def teacher_at(server: Any, **settings: Any) -> OpenAITeacher:
    given = {"n_samples": 1, "max_retries": 0, "timeout_s": 5, "max_in_flight": 2, **settings}
    return OpenAITeacher(TeacherConfig(base_url=server.url, **given), "SimpleDoorKey")


def store_of(teacher: OpenAITeacher, folder: Path) -> AdviceStore:
    return AdviceStore(folder, teacher.info.teacher_id, teacher.info.prompt_version)


def test_a_refused_state_holds_up_no_other(
    chat_server: Any, states: list[State], tmp_path: Path
) -> None:
    chat_server.poison, chat_server.poisoned = states[0].text, 400
    asker = teacher_at(chat_server)
    store = store_of(asker, tmp_path)
    with pytest.raises(TeacherError, match="HTTP 400") as refused:
        label_states(asker, store, states)
    assert refused.value.for_good
    assert {row["state_key"] for row in store.rows()} == {state.key for state in states[1:]}
    asked = len(chat_server.requests)
    with pytest.raises(TeacherError, match="HTTP 400"):
        label_states(asker, store, states)
    assert len(chat_server.requests) == asked + 1, "only the one that is left"


def test_a_server_that_refuses_everything_is_soon_left_alone(chat_server: Any) -> None:
    chat_server.default = 400
    with pytest.raises(TeacherError, match="HTTP 400"):
        list(teacher_at(chat_server).advise(children.made_up_states(200)))
    assert len(chat_server.requests) <= 10


def test_who_takes_long_to_store_an_answer_asks_nothing_twice() -> None:
    server = BadServer(latency_s=0.1)
    try:
        asker = teacher_at(server, timeout_s=0.5, max_in_flight=4, max_retries=3)
        for _ in asker.advise(STATES[:8]):
            time.sleep(0.6)  # a slow disk
    finally:
        server.close()
    assert len(server.asked) == 8 and set(server.asked.values()) == {1}


def test_training_goes_on_without_a_refused_state(
    chat_server: Any, states: list[State], tmp_path: Path
) -> None:
    chat_server.poison, chat_server.poisoned = states[0].text, 400
    asker, told = teacher_at(chat_server), list[str]()
    asking = BackgroundQuestions(asker, store_of(asker, tmp_path), warn=told.append)
    asking.ask(states[:3])
    found = wait_for(asking, 2)
    asking.ask(states[3:])
    found |= wait_for(asking, 3)
    asking.close()
    assert found == {state.key for state in states[1:]}
    assert len(told) == 1 and "refuses a state" in told[0]
    asked = [r["messages"][-1]["content"] for r in chat_server.requests]
    assert asked.count(states[0].text) == 1


def wait_for(asking: BackgroundQuestions, n: int) -> set[str]:
    found: set[str] = set()
    until = time.monotonic() + 10
    while len(found) < n and time.monotonic() < until:
        found |= {key for key, _ in asking.news()}
        time.sleep(0.01)
    return found


def test_tokens_of_useless_replies_are_counted(
    chat_server: Any, states: list[State], tmp_path: Path
) -> None:
    """The first reply of two is good, the second fails: 110 tokens for nothing, at every try."""
    chat_server.ignore_n = True  # a request a reply
    chat_server.script = ["ok", 500, "ok", "ok"]
    asker = teacher_at(chat_server, n_samples=2, max_in_flight=1)
    report = label_states(asker, store_of(asker, tmp_path / "a"), states[:2])
    assert (report.prompt_tokens, report.completion_tokens) == (500, 50), "five replies"
    chat_server.script = ["ok", 500] * 9
    spending, report = Spending(LabelConfig(max_tokens=300)), LabelReport()
    with pytest.raises(TeacherError) as failed:
        label_states(
            asker, store_of(asker, tmp_path / "b"), states[:1], spending=spending, report=report
        )
    tries = report.prompt_tokens // 100
    assert tries >= 1 and failed.value.prompt_tokens == 100 * tries
    assert (report.asked, report.completion_tokens) == (0, 10 * tries)
    while tries < 3:
        spending.waste(110, 0.0)
        tries += 1
    assert not spending.begin() and "of the 300 tokens" in spending.reached


class Down(children.LoggingTeacher):
    """Takes four questions and then is gone, until it is up."""

    up = False

    def advise(self, states: Sequence[State]) -> Iterator[Advice]:
        if self.up:
            yield from super().advise(states)
            return
        waiting = iter(states)
        for _ in range(4):
            next(waiting, None)
        raise TeacherError("the server went away")


def test_an_outage_takes_nothing_from_the_budget(tmp_path: Path) -> None:
    asker, store = Down(tmp_path / "asked.log", 0), children.store_in(tmp_path)
    live = Questions(asker, store, LabelConfig(max_requests=20))
    for _ in range(10):
        with pytest.raises(TeacherError):
            live.ask(STATES)
    asker.up = True
    assert len(list(live.ask(STATES))) == 20 and live.report.asked == 20


def test_a_live_teacher_catches_up_after_an_outage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "FIRST_RETRY_S", 0.01)
    asker, store = Down(tmp_path / "asked.log", 0), children.store_in(tmp_path)
    asking = BackgroundQuestions(
        asker, store, LabelConfig(max_requests=20), warn=lambda told: setattr(asker, "up", True)
    )
    asking.ask(STATES)
    assert wait_for(asking, 20) == {state.key for state in STATES}
    asking.close()
    assert asking.report.asked == 20 and asking.report.left == 0


def test_what_all_states_need_is_asked_once(serve: Make) -> None:
    """The calibration's question, by many at once and again in the next call."""
    server = serve([])
    asker = make_teacher(server, method="logprobs", permutations=1, calibrate=True)
    plain, first = server.met["good"], make_states(40)
    assert len(list(asker.advise(first[:20]))) == 20
    once = server.met["good"] - plain - 20
    assert once >= 1, "besides one question a state"
    assert len(list(asker.advise(first[20:]))) == 20
    assert server.met["good"] - plain == 40 + once
