"""The elicitation judgments: how yes and no are read, on a server, in a recording, for real."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from judging import SWITCHES, Judge
from scripted_server import Body, Scripted, ScriptedServer, chat

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.envs.task import State
from llm4teach.errors import TeacherError
from llm4teach.teacher_labeling.backends.recorded import RecordedTeacher, write_recording
from llm4teach.teacher_labeling.config import Price, TeacherConfig
from llm4teach.teacher_labeling.elicitation.base import Answer, Elicitation, to_advice
from llm4teach.teacher_labeling.elicitation.factory import make_elicitation
from llm4teach.teacher_labeling.elicitation.judgments import yes_or_no
from llm4teach.teacher_labeling.factory import make_teacher, teacher_info
from llm4teach.teacher_labeling.labeling.run import label_states
from llm4teach.teacher_labeling.questions import NO, YES, Judgments, distinct_questions, log_odds
from llm4teach.teacher_labeling.teacher import AdviceStatus, Usage

UP, DOWN = Judgments(SWITCHES).of(SWITCHES.state("up", "down"))


def elicitation(**settings: Any) -> Elicitation:
    return make_elicitation(TeacherConfig(method="judgments", **settings), SWITCHES.family)


def test_scores_by_hand() -> None:
    asked = elicitation()
    (request,) = asked.requests(UP)
    assert request.labels == asked.labels == ("Yes", "No") and UP.text in str(request.messages)
    verdict = asked.judge(UP, [Answer(scores={"Yes": math.log(0.6), "No": math.log(0.3)})])
    advice = to_advice(UP, verdict, Usage(), 0.0, Price(), asked.min_coverage)
    assert dict(advice.plans) == pytest.approx({YES: 2 / 3, NO: 1 / 3})
    assert advice.coverage == pytest.approx(0.9)
    assert log_odds(dict(advice.plans)) == pytest.approx(math.log(2))
    assert "Yes -0.510826; No -1.203973" in advice.replies[0]


def test_scores_of_something_else_are_invalid() -> None:
    asked = elicitation()
    for scores in ({}, {"Yes": math.log(0.004), "No": math.log(0.005)}):
        verdict = asked.judge(UP, [Answer(scores=scores)])
        advice = to_advice(UP, verdict, Usage(), 0.0, Price(), asked.min_coverage)
        assert advice.status is AdviceStatus.INVALID and advice.plans == ()
    refused = asked.judge(UP, [Answer(refused=1)])
    assert to_advice(UP, refused, Usage(), 0.0, Price()).status is AdviceStatus.REFUSED


def test_samples_by_hand() -> None:
    """Of ten replies six say yes and two no: (6.5 : 2.5) / 9 of the 80% that are valid."""
    asked = elicitation(scores=False, n_samples=10)
    (request,) = asked.requests(UP)
    assert (request.n, request.temperature, request.labels) == (10, 1.0, ())
    replies = ("Yes",) * 6 + ("No.", "It is useless, so no", "Perhaps", "Yes … or no")
    verdict = asked.judge(UP, [Answer(replies)])
    advice = to_advice(UP, verdict, Usage(), 0.0, Price())
    assert dict(advice.plans) == pytest.approx({YES: 6.5 / 9, NO: 2.5 / 9})
    assert advice.coverage == pytest.approx(0.8) and advice.invalid_replies == 2
    sure = asked.judge(UP, [Answer(("Yes",) * 10)])
    assert sure.weights[NO] == pytest.approx(0.5 / 11), "never certain"
    assert asked.judge(UP, [Answer(("?",) * 10)]).weights == {}


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        *(("Yes", True), ("yes.", True), ("**No**", False), ("NO, it is not", False)),
        *(("It is full. Answer: No", False), ("Yes, since it is new. Yes", True)),
        *(("", None), ("Maybe", None), ("Yes. Well, no", None), ("yesterday", None)),
        *(("I think the answer is yes…", None), ("Yes, because it is…", True)),
    ],
)
def test_yes_or_no(reply: str, expected: bool | None) -> None:
    assert yes_or_no(reply) is expected


def test_how_it_is_composed_does_not_change_who_is_asked() -> None:
    plain = teacher_info(TeacherConfig(teacher="embedded", method="judgments"), "Crafter")
    other = {"method": "judgments", "softmax_temperature": 2.0}
    assert teacher_info(TeacherConfig(teacher="embedded", **other), "Crafter") == plain
    assert (plain.method, plain.settings) == ("judgments", "scores")
    sampled = TeacherConfig(teacher="embedded", method="judgments", scores=False)
    assert teacher_info(sampled, "Crafter").settings.startswith("n=10,temperature=1,")


def scored(body: Body) -> Scripted:
    """Yes to what is up; without scores unless asked for them."""
    is_up = "It is up" in body["messages"][-1]["content"]
    reply = chat("Yes" if is_up else "No", body.get("n", 1))
    if body.get("logprobs"):
        tokens = [("Yes", 0.8 if is_up else 0.1), (" no", 0.05), ("No", 0.1 if is_up else 0.8)]
        top = [{"token": token, "logprob": math.log(p)} for token, p in tokens]
        reply["choices"][0]["logprobs"] = {"content": [{**top[0], "top_logprobs": top}]}
    return Scripted(reply)


def unscored(body: Body) -> Scripted:
    return Scripted(chat("Yes" if "It is up" in body["messages"][-1]["content"] else "No", 1))


@pytest.fixture
def server() -> Any:
    server = ScriptedServer(scored)
    yield server
    server.close()


def ask(server: ScriptedServer, **settings: Any) -> dict[str, float]:
    given = {"teacher": "openai", "base_url": server.url, "model": "m", "method": "judgments"}
    teacher = make_teacher(TeacherConfig(**{**given, **settings}), SWITCHES.family)
    answers = {a.state.text: log_odds(dict(a.plans)) for a in teacher.advise([UP, DOWN])}
    teacher.close()
    return answers


def test_a_server_gives_scores(server: ScriptedServer) -> None:
    assert ask(server) == pytest.approx({UP.text: math.log(8), DOWN.text: -math.log(8)})
    assert len(server.bodies) == 2 and server.bodies[0]["max_tokens"] == 1


def test_a_server_without_scores_is_asked_for_replies(server: ScriptedServer) -> None:
    server.reply = unscored
    with pytest.raises(TeacherError, match=r"judgments with --no-teacher\.scores"):
        ask(server, max_retries=0)
    sampled = ask(server, scores=False, n_samples=4)
    assert sampled == pytest.approx({UP.text: math.log(9), DOWN.text: -math.log(9)})


def test_a_recording_answers_questions(tmp_path: Path) -> None:
    teacher = Judge(up=1.25, down=-7.5, broken=None)
    states = [SWITCHES.state("up", "down"), SWITCHES.state("broken", "up")]
    questions = distinct_questions(Judgments(SWITCHES), states)
    store = AdviceStore(tmp_path / "s", teacher.info.teacher_id, "")
    label_states(teacher, store, questions)
    path = tmp_path / "it.json"
    assert write_recording(path, teacher.info, {SWITCHES.family: store}, "make it") == 2
    content = json.loads(path.read_text())
    assert content["judgments"] == {"Switches": {UP.text: 1.25, DOWN.text: -7.5}}
    assert content["format"] == 2 and "families" not in content
    recorded = RecordedTeacher(path, SWITCHES.family)
    assert recorded.info.method == "judgments", "so that its states are asked about in questions"
    answers = {a.state.text: a for a in recorded.advise(questions)}
    assert log_odds(dict(answers[DOWN.text].plans)) == pytest.approx(-7.5)
    assert answers["It is broken. Press it?"].status is AdviceStatus.NO_ADVICE
    with pytest.raises(TeacherError, match="no task family 'Doors', only Switches"):
        RecordedTeacher(path, "Doors")
    path.write_text(path.read_text().replace("-7.5", "-750"))
    with pytest.raises(TeacherError, match=r"not valid at judgments\.Switches"):
        RecordedTeacher(path, SWITCHES.family)


@pytest.mark.extended
@pytest.mark.parametrize("scores", [True, False])
def test_the_embedded_model_judges(scores: bool) -> None:
    settings = {"method": "judgments", "scores": scores, "n_samples": 2, "max_tokens": 16}
    teacher = make_teacher(TeacherConfig(**settings), SWITCHES.family)
    asked: list[State] = [UP, DOWN]
    answers = list(teacher.advise(asked))
    again = {a.state.key: a.plans for a in teacher.advise(asked[::-1])}
    assert teacher.count_tokens(asked).prompt > 100  # type: ignore[attr-defined]
    teacher.close()
    for advice in answers:
        assert again[advice.state.key] == advice.plans, "whatever came before"
        if scores:
            assert advice.status is AdviceStatus.OK and {p for p, _ in advice.plans} == {YES, NO}
            assert advice.coverage > 0.5, "the examples lead to Yes or No"
