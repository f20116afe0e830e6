"""Replies about a task of one's own, read by its verbs, in every method; and its prompts."""

from __future__ import annotations

import pytest

from llm4teach.envs.plan import named_plan
from llm4teach.envs.task import Family, State
from llm4teach.envs.verbs import Verbs
from llm4teach.errors import TeacherError
from llm4teach.teacher_labeling.backends.uniform import UniformTeacher
from llm4teach.teacher_labeling.backends.wrappers import Fault, FaultyTeacher
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.elicitation.base import Answer
from llm4teach.teacher_labeling.elicitation.factory import make_elicitation
from llm4teach.teacher_labeling.elicitation.prompts import load_template

NAMES = ("go to red", "go to red door", "drive to the exit", "wait")
FAMILY = Family("Roads", about="A town.", verbs=Verbs.of(NAMES))
STATE = State("k", "The car is at the church.", tuple(map(named_plan, NAMES)))


def judged(method: str, *texts: str, family: Family = FAMILY) -> dict[str, float]:
    config = TeacherConfig(method=method, n_samples=len(texts), temperature=1.0)  # type: ignore[arg-type]
    elicitation = make_elicitation(config, family)
    assert len(elicitation.requests(STATE)) == 1
    verdict = elicitation.judge(STATE, [Answer(texts)])
    return {str(plan): weight for plan, weight in verdict.weights.items()}


@pytest.mark.parametrize(
    ("reply", "plan"),
    [
        ("3. Action: {go to red}", "go to red"),
        ("3. Action: {Go to red door.}", "go to red door"),
        ("Action: go to the red door", "go to red door"),
        ("Action: {drive to exit}", "drive to the exit"),
        ("Action: {Drive to the <exit>}", "drive to the exit"),
        ("Action: {go to red, wait}", "go to red > wait"),
        ("Action: {B}", "go to red door"),
        ("Action: B) go to red door", "go to red door"),
        ("C) drive to the exit", "drive to the exit"),
        ("wait", "wait"),
        ("D", "wait"),
    ],
)
def test_a_reply_names_an_option(reply: str, plan: str) -> None:
    assert judged("sampling", reply) == {plan: 1.0}


@pytest.mark.parametrize(
    "reply",
    [
        "Action: {explore}",  # of another grammar
        "Action: {go to blue}",
        "Action: {A) wait}",  # a letter, and other words than its own
        "A) go to red or B) go to red door",
        "The car should wait.",
        "go to",
        "E",
    ],
)
def test_another_reply_is_invalid(reply: str) -> None:
    assert judged("sampling", reply) == {}


def test_what_is_open_in_a_pattern_is_read_beyond_what_is_offered() -> None:
    family = Family("Roads", verbs=Verbs.of({"drive to <place>": "", "wait": ""}))
    assert judged("sampling", "Action: {Drive to the <church>}", family=family) == {
        "drive to church": 1.0
    }
    assert judged("sampling", "Action: {drive to exit}", family=family) == {
        "drive to the exit": 1.0
    }, "it is offered in other words"


def test_percentages_are_stated_by_words_or_letters() -> None:
    reply = "A) go to red: 10%\nGo to the red door: 60%\nDrive to exit: 20%\nD: 10%"
    expected = {"go to red": 0.1, "go to red door": 0.6, "drive to the exit": 0.2, "wait": 0.1}
    assert judged("verbalized", reply) == pytest.approx(expected)


def test_the_prompt_says_what_can_be_done() -> None:
    plain = load_template(FAMILY, "sampling").system
    assert "A town.\nYou are given" in plain and "can:" not in plain
    verbs = Verbs.of({"drive to <place>": "by road", "wait": ""})
    told = load_template(Family("Roads", about="A town.", verbs=verbs), "sampling").system
    assert "A town.\nThe agent can:\n- drive to <place>: by road\n- wait\nYou are given" in told


def test_a_constant_fault_is_one_of_its_options() -> None:
    (advice,) = FaultyTeacher(
        UniformTeacher(), Fault("constant", 1.0, plan="Wait."), FAMILY.verbs
    ).advise([STATE])
    assert [str(plan) for plan, _ in advice.plans] == ["wait"]
    with pytest.raises(TeacherError, match="'explore' is none of the options go to red, go to red"):
        FaultyTeacher(UniformTeacher(), Fault("constant", 1.0), FAMILY.verbs)
    FaultyTeacher(UniformTeacher(), Fault("random", 1.0), FAMILY.verbs)
