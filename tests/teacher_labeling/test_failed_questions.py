"""LiveLabeler that get no answer: they block nobody, and what they cost is not forgotten."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import labeling_children as children
import pytest
from asking import Make, make_states, make_teacher
from bad_server import BadServer

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.envs.task import State
from llm4teach.errors import TeacherError
from llm4teach.teacher_labeling import live_labelers
from llm4teach.teacher_labeling.backends.openai.teacher import OpenAITeacher
from llm4teach.teacher_labeling.config import LabelConfig, Price, TeacherConfig
from llm4teach.teacher_labeling.factory import resolve_model
from llm4teach.teacher_labeling.labeling import work_queue
from llm4teach.teacher_labeling.labeling.run import LabelReport, label_states
from llm4teach.teacher_labeling.live_labelers import BackgroundLabeler, LiveLabeler
from llm4teach.teacher_labeling.teacher import Advice

STATES = children.made_up_states(20)


def teacher_at(server: Any, **settings: Any) -> OpenAITeacher:
    given = {"n_samples": 1, "max_retries": 0, "timeout_s": 5, "max_in_flight": 2, **settings}
    config = TeacherConfig(teacher="openai", base_url=server.url, **given)
    return OpenAITeacher(resolve_model(config), "SimpleDoorKey")


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
    assert refused.value.permanent
    assert {row["state_key"] for row in store.rows()} == {state.key for state in states[1:]}
    asked = len(chat_server.requests)
    with pytest.raises(TeacherError, match="HTTP 400"):
        label_states(asker, store, states)
    assert len(chat_server.requests) == asked + 1, "only the one that is left"


def prove(teacher: OpenAITeacher) -> None:
    """Have one question answered: then the server is known to be of the right kind."""
    assert len(list(teacher.advise(make_states(1)))) == 1


class OneFails(children.LoggingTeacher):
    """Answers all but one state, and says so at the end of the call that it was in."""

    def advise(self, states: Sequence[State]) -> Iterator[Advice]:
        failed = False
        for advice in super().advise(states):
            if advice.state.key == STATES[0].key:
                failed = True
            else:
                yield advice
        if failed:
            error = TeacherError("one got no answer")
            error.failed_states = frozenset({STATES[0].key})
            raise error


def test_a_state_that_fails_holds_up_no_later_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work_queue, "BATCH_QUESTIONS", 1)
    states = sorted(STATES, key=lambda state: state.key != STATES[0].key)
    store, report = children.store_in(tmp_path), LabelReport()
    with pytest.raises(TeacherError, match="one got no answer") as failed:
        label_states(OneFails(tmp_path / "asked.log", 0), store, states, report=report)
    assert failed.value.failed_states == {STATES[0].key}
    assert report.asked == len(STATES) - 1 == len(store.rows()) and report.left == 1


def test_a_server_that_refuses_everything_is_soon_left_alone(chat_server: Any) -> None:
    chat_server.default = 400
    with pytest.raises(TeacherError, match="HTTP 400"):
        list(teacher_at(chat_server).advise(children.made_up_states(200)))
    assert len(chat_server.requests) <= 10


def test_training_goes_on_without_a_refused_state(
    chat_server: Any, states: list[State], tmp_path: Path
) -> None:
    chat_server.poison, chat_server.poisoned = states[0].text, 400
    asker, told = teacher_at(chat_server), list[str]()
    asking = BackgroundLabeler(asker, store_of(asker, tmp_path), warn=told.append)
    asking.ask(states[:3])
    found = wait_for(asking, 2)
    asking.ask(states[3:])
    found |= wait_for(asking, 3)
    asking.close()
    assert found == {state.key for state in states[1:]}
    assert len(told) == 1 and "refuses a state" in told[0]
    asked = [r["messages"][-1]["content"] for r in chat_server.requests]
    assert asked.count(states[0].text) == 1


def test_states_that_were_never_sent_are_not_taken_for_refused_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that refuses everything, and is configured better a moment later."""
    monkeypatch.setattr(live_labelers, "FIRST_RETRY_S", 0.01)
    server, refused, all_states = BadServer(), list[int](), children.made_up_states(60)

    def warn(message: str) -> None:
        refused.append(len(server.asked))
        server.refused = ""

    try:
        server.refused = "state"
        asker = teacher_at(server)
        asking = BackgroundLabeler(asker, store_of(asker, tmp_path), warn=warn)
        asking.ask(all_states)
        wait_until(lambda: asking.waiting == 0)
        asking.close()
    finally:
        server.close()
    assert len(refused) == 1 and 8 <= refused[0] <= 12
    assert len(server.asked) == 60, "each was sent at least once"


def test_a_server_that_is_gone_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again for minutes; the warning, and the end, do not wait for that."""
    monkeypatch.setattr(live_labelers, "SLOW_S", 0.3)
    server, told = BadServer(), list[str]()
    try:
        server.down = True
        asker = teacher_at(server, max_retries=6, timeout_s=60)
        asking = BackgroundLabeler(asker, store_of(asker, tmp_path), warn=told.append)
        asking.ask(STATES)
        wait_until(lambda: not list(asking.news()) and bool(told))
        assert len(told) == 1 and "has not answered" in told[0] and asking.waiting == len(STATES)
        asking.close()
        assert not asking._thread.is_alive() and asking.waiting == len(STATES)
    finally:
        server.close()


def wait_for(asking: BackgroundLabeler, n: int) -> set[str]:
    keys: set[str] = set()

    def has_enough() -> bool:
        keys.update(key for key, _ in asking.news())
        return len(keys) >= n

    wait_until(has_enough)
    return keys


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)


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
    report, price = LabelReport(), Price(prompt=10.0, completion=100.0)
    limits = LabelConfig(prices={asker.info.model: price})
    with pytest.raises(TeacherError, match="HTTP 500"):
        label_states(
            asker, store_of(asker, tmp_path / "b"), states[:1], limits=limits, report=report
        )
    tries = report.prompt_tokens // 100
    assert tries >= 1 and report.cost == pytest.approx(0.002 * tries)
    assert (report.asked, report.completion_tokens) == (0, 10 * tries)


def test_a_budget_that_is_used_up_ends_the_asking_again(tmp_path: Path) -> None:
    """Every second state gets billed replies that are of no use, 110 tokens each."""
    server, told = BadServer(), list[int]()
    try:
        for i, state in enumerate(STATES):
            server.useless |= {state.key} if i % 2 else set()
        asker = teacher_at(server, max_in_flight=2)
        prove(asker)
        limits, report = LabelConfig(max_tokens=1500), LabelReport()
        label_states(
            asker,
            store_of(asker, tmp_path),
            STATES,
            lambda report: told.append(report.prompt_tokens + report.completion_tokens),
            limits=limits,
            report=report,
        )
    finally:
        server.close()
    billed = 110 * (sum(server.asked.values()) - 1)
    assert report.prompt_tokens + report.completion_tokens == billed <= 1500 + 2 * 110
    assert f"{billed:,} of the 1,500 tokens" in report.stopped_by
    assert report.left == len(STATES) - report.asked > 0


def test_a_few_questions_to_a_broken_server_are_no_success(tmp_path: Path) -> None:
    """The last question of a budget is repeated like any other, and its failure told."""
    server, limits = BadServer(), LabelConfig(max_requests=5)
    try:
        asker = teacher_at(server, max_in_flight=16, max_retries=1)
        server.down = True
        with pytest.raises(TeacherError, match="did not answer in 2 attempt"):
            label_states(asker, store_of(asker, tmp_path / "a"), STATES, limits=limits)
        server.down, server.refused = False, "state"
        with pytest.raises(TeacherError, match="HTTP 400"):
            label_states(asker, store_of(asker, tmp_path / "b"), STATES, limits=limits)
        server.refused, server.useless, server.useless_times = "", {STATES[1].key}, 3
        report = label_states(asker, store_of(asker, tmp_path / "c"), STATES[:5], limits=limits)
        assert report.asked == 5 and not report.left
    finally:
        server.close()


def test_what_was_in_vain_at_first_counts_with_the_answer(tmp_path: Path) -> None:
    """A state is answered in the second pass; its row has the tokens of both."""
    server = BadServer()
    try:
        server.useless, server.useless_times = {STATES[0].key}, 1
        asker = teacher_at(server)
        prove(asker)
        store, report = store_of(asker, tmp_path), LabelReport()
        label_states(asker, store, STATES[:3], report=report)
    finally:
        server.close()
    tokens = {row["state_key"]: row["prompt_tokens"] for row in store.rows()}
    assert tokens == {STATES[0].key: 200, STATES[1].key: 100, STATES[2].key: 100}
    assert report.prompt_tokens == 400 and report.asked == 3


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
    live = LiveLabeler(asker, store, LabelConfig(max_requests=20))
    for _ in range(10):
        with pytest.raises(TeacherError):
            live.ask(STATES)
    asker.up = True
    assert len(list(live.ask(STATES))) == 20 and live.report.asked == 20


def test_a_live_teacher_catches_up_after_an_outage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_labelers, "FIRST_RETRY_S", 0.01)
    asker, store = Down(tmp_path / "asked.log", 0), children.store_in(tmp_path)
    asking = BackgroundLabeler(
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
