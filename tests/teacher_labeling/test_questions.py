"""Questions that states share, and the advice that is composed of their answers."""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from judging import EXPLORE, SWITCHES, Judge

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.envs.plan import named_plan
from llm4teach.envs.task import Mixture, State, state_key, whole_question
from llm4teach.flows.stages.label import summary
from llm4teach.teacher_labeling.backends.wrappers import changes_of
from llm4teach.teacher_labeling.config import LabelConfig, TeacherConfig
from llm4teach.teacher_labeling.factory import questions_of
from llm4teach.teacher_labeling.labeling.run import label_states
from llm4teach.teacher_labeling.labeling.valid_share import valid_share
from llm4teach.teacher_labeling.live import LiveTeacher
from llm4teach.teacher_labeling.live_labelers import BackgroundLabeler, LiveLabeler
from llm4teach.teacher_labeling.questions import (
    NO,
    YES,
    Judgments,
    OneQuestion,
    distinct_questions,
    questions_by,
)

UP_AND_DOWN = Judgments(SWITCHES).of(SWITCHES.state("up", "down"))
PRESS_0, PRESS_1, PRESS_2 = (named_plan(f"press {i}") for i in range(3))


def answer(log_odds: float) -> Mixture:
    p = 1 / (1 + math.exp(-log_odds))
    return ((YES, p), (NO, 1 - p))


def composed(judgments: Judgments, state: State, answers: dict[str, Mixture]) -> dict[str, float]:
    """The advice for a state, by the names of its plans, of answers by question text."""
    by_key = {state_key(SWITCHES.family, text): given for text, given in answers.items()}
    return {str(plan): p for plan, p in judgments.advice(state, by_key)}


def store_in(folder: Path, teacher: Judge) -> AdviceStore:
    return AdviceStore(folder, teacher.info.teacher_id, teacher.info.prompt_version)


def live_on(folder: Path, teacher: Judge, **more: Any) -> LiveTeacher:
    store = store_in(folder, teacher)
    asking = LiveLabeler(teacher, store, **more)
    return LiveTeacher(SWITCHES, store, asking, questions=Judgments(SWITCHES))


def test_a_question_is_asked_about_each_plan_but_those_without_one() -> None:
    questions = Judgments(SWITCHES).of(SWITCHES.state("up", "down"))
    assert [q.text for q in questions] == ["It is up. Press it?", "It is down. Press it?"]
    assert all(q.options == (YES, NO) for q in questions)
    assert [q.key for q in questions] == [state_key("Switches", q.text) for q in questions]
    same = distinct_questions(Judgments(SWITCHES), [SWITCHES.state(*"ab"), SWITCHES.state(*"ba")])
    assert [q.text[6] for q in same] == ["a", "b"]


def test_composition_by_hand() -> None:
    """Log odds of 0.3 and -0.6 and, of exploring, 0; at 0.3 that is e^1 : e^-2 : e^0."""
    state = SWITCHES.state("up", "down")
    answers = {"It is up. Press it?": answer(0.3), "It is down. Press it?": answer(-0.6)}
    total = math.e + math.e**-2 + 1
    expected = {"press 0": math.e / total, "explore": 1 / total, "press 1": math.e**-2 / total}
    found = composed(Judgments(SWITCHES), state, answers)
    assert found == pytest.approx(expected) and list(found) == list(expected), "likeliest first"
    flat = composed(Judgments(SWITCHES, temperature=3.0), state, answers)
    assert flat["press 0"] / flat["press 1"] == pytest.approx(math.exp(0.9 / 3))


@given(st.lists(st.none() | st.floats(-30, 30), min_size=1, max_size=6), st.floats(0.05, 5))
def test_advice_is_the_softmax_of_the_valid_answers(
    odds: list[float | None], temperature: float
) -> None:
    state = SWITCHES.state(*(f"p{i}" for i in range(len(odds))))
    answers = {f"It is p{i}. Press it?": () if o is None else answer(o) for i, o in enumerate(odds)}
    found = composed(Judgments(SWITCHES, temperature), state, answers)
    valid = {f"press {i}": o for i, o in enumerate(odds) if o is not None}
    if not valid:
        assert found == {}
        return
    assert math.fsum(found.values()) == pytest.approx(1)
    assert found.keys() <= {"explore", *valid}
    clipped = {name: max(-20.73, min(o, 20.73)) for name, o in valid.items()} | {"explore": 0.0}
    for name, p in found.items():
        for other, q in found.items():
            gap = (clipped[name] - clipped[other]) / temperature
            if min(p, q) > 1e-12:
                assert math.log(p / q) == pytest.approx(gap, abs=0.02 / temperature)


def test_what_leaves_nothing_to_ask() -> None:
    """One plan only, none at all, and none that the task asks about."""
    judgments = Judgments(SWITCHES)
    only = State("k", "sleeping", (PRESS_0,))
    assert judgments.of(only) == [] and judgments.advice(only, {}) == ((PRESS_0, 1.0),)
    nothing = State("k", "gone", ())
    assert judgments.of(nothing) == [] and judgments.advice(nothing, {}) == ()


def test_a_task_that_names_no_facts_asks_with_the_whole_text() -> None:
    class Plain:
        family = "Plain"

    state = SWITCHES.state("up", "down")
    task: Any = Plain()
    assert [q.text for q in Judgments(task).of(state)] == [
        whole_question(state, plan) for plan in state.options
    ]


def test_states_share_questions_and_none_is_asked_twice(tmp_path: Path) -> None:
    teacher = Judge(up=1.0, down=-1.0, broken=None)
    live = live_on(tmp_path, teacher)
    states = [SWITCHES.state("up", "down"), SWITCHES.state("down", "up"), SWITCHES.state("up")]
    first, second, third = live.mixtures(states)
    assert teacher.asked == ["It is up. Press it?", "It is down. Press it?"]
    assert dict(first)[PRESS_0] == dict(second)[PRESS_1] > dict(first)[EXPLORE]
    assert dict(third).keys() == {PRESS_0, EXPLORE}
    live.mixtures([SWITCHES.state("down", "down"), *states])
    assert len(teacher.asked) == 2 and live.questions.asked == 2

    again = Judge(up=1.0, down=-1.0, broken=None)  # another process
    later = live_on(tmp_path, again)
    assert later.mixtures(states) == [first, second, third] and again.asked == []
    (half,) = later.mixtures([SWITCHES.state("broken", "up")])
    assert dict(half).keys() == {PRESS_1, EXPLORE}, "a plan without a valid answer is left out"
    assert later.mixtures([SWITCHES.state("broken")]) == [()]
    assert again.asked == ["It is broken. Press it?"], "an invalid answer is an answer"


def test_a_budget_counts_questions_and_half_answered_states_have_no_advice(tmp_path: Path) -> None:
    teacher = Judge(up=1.0, down=-1.0, left=0.5)
    live = live_on(tmp_path, teacher, limits=LabelConfig(max_requests=2))
    found = live.mixtures([SWITCHES.state("up", "down", "left"), SWITCHES.state("up", "down")])
    assert len(teacher.asked) == 2
    assert found[0] == () and dict(found[1]).keys() == {EXPLORE, PRESS_0, PRESS_1}
    more = live_on(tmp_path, Judge(left=0.5))
    assert dict(more.mixtures([SWITCHES.state("up", "down", "left")])[0]).keys() == {
        *(EXPLORE, PRESS_0, PRESS_1, PRESS_2)
    }


def test_labeling_asks_what_states_have_in_common_once(tmp_path: Path) -> None:
    teacher, judgments = Judge(up=1.0, down=-1.0), Judgments(SWITCHES)
    states = [SWITCHES.state(a, b) for a in ("up", "down") for b in ("up", "down")]
    report = label_states(
        teacher, store_in(tmp_path, teacher), distinct_questions(judgments, states)
    )
    assert (report.distinct_questions, report.asked, report.ok) == (2, 2, 2)
    found = valid_share(store_in(tmp_path, teacher), [q.key for q in UP_AND_DOWN])
    said = summary(report, found, 100, len(states), 0)
    assert said.startswith("2 questions for 4 states, 0 known: 2 questions, 0 tokens")
    row, _ = store_in(tmp_path, teacher).rows()
    assert row["state_key"] == row["question_key"] and row["method"] == "judgments"


def test_answers_that_come_in_the_background_complete_the_states(tmp_path: Path) -> None:
    arrived = threading.Event()

    class Slow(Judge):
        def advise(self, states: Any) -> Any:
            yield from super().advise(states)
            arrived.set()

    teacher = Slow(up=1.0, down=-1.0)
    store = store_in(tmp_path, teacher)
    live = LiveTeacher(
        SWITCHES, store, BackgroundLabeler(teacher, store), questions=Judgments(SWITCHES)
    )
    state = SWITCHES.state("up", "down")
    assert live.mixtures([state]) == [()]
    assert arrived.wait(60)
    live.close()
    live._take_in(live._labeler.news())  # type: ignore[union-attr]
    (plans,) = live.mixtures([state])
    assert dict(plans).keys() == {EXPLORE, PRESS_0, PRESS_1}
    assert len(teacher.asked) == 2


def test_hard_and_faults_change_the_composed_advice() -> None:
    state = SWITCHES.state("up", "down")
    answers = {"It is up. Press it?": answer(1.0), "It is down. Press it?": answer(-1.0)}

    def changed(**settings: Any) -> dict[str, float]:
        changes = changes_of(TeacherConfig(**settings))
        return composed(Judgments(SWITCHES, changes=changes), state, answers)

    assert changed(hard=True) == {"press 0": 1.0}
    assert changed(fault="wrong", fault_share=1.0) == {"press 1": 1.0}
    assert changed(fault="constant", fault_share=1.0) == {"explore": 1.0}
    assert changed(fault="wrong", fault_share=0.0) == changed()
    info = Judge().info
    hot = questions_of(SWITCHES, TeacherConfig(softmax_temperature=9.0, hard=True), info)
    by_key = {state_key("Switches", text): given for text, given in answers.items()}
    assert hot.advice(state, by_key) == ((PRESS_0, 1.0),)
    assert isinstance(questions_by("logprobs", SWITCHES), OneQuestion)
