"""What real servers reply, case by case, with the right value of each: cases/servers.json."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from scripted_server import Body, Scripted, ScriptedServer, good

from llm4teach.datasets.advice_store import AdviceRow, AdviceStore
from llm4teach.envs.plan import parse_plan
from llm4teach.envs.task import State, state_key
from llm4teach.errors import TeacherError
from llm4teach.flows.stages.label import summary
from llm4teach.teacher_labeling.backends.openai import client as openai_client
from llm4teach.teacher_labeling.backends.openai.errors import UnansweredError
from llm4teach.teacher_labeling.backends.openai.teacher import OpenAITeacher
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.labeling.run import LabelReport, label_states
from llm4teach.teacher_labeling.labeling.valid_share import valid_share

FAMILY = "SimpleDoorKey"
PLANS = tuple(map(parse_plan, ("explore", "go to key > pick up key")))
TEXTS = [f"Agent sees <{seen}>, holds <nothing>." for seen in ("key", "key, door", "door, key")]
STATES = [State(state_key(FAMILY, text), text, PLANS) for text in TEXTS]
CASES = {
    case["name"]: case
    for case in json.loads((Path(__file__).parent / "cases" / "servers.json").read_text("utf-8"))
}
Reply = Callable[[Body], Scripted]


@pytest.fixture
def serve(serve_scripted: Callable[..., ScriptedServer]) -> Callable[..., ScriptedServer]:
    return serve_scripted


@dataclass
class Labeled:
    """What came of labeling `STATES`."""

    rows: list[AdviceRow]
    report: LabelReport
    summary: str
    error: TeacherError | None
    seconds: float

    @property
    def plans(self) -> list[str]:
        """The one plan that each state has; fails if there is any other advice."""
        assert self.error is None and len(self.rows) == len(STATES)
        assert all(len(row["options"]) == 1 for row in self.rows)
        return [row["options"][0]["plan"] for row in self.rows]


def label(server: ScriptedServer, folder: Path, **settings: Any) -> Labeled:
    given = {"model": "m", "n_samples": 2, "max_in_flight": 4, "permutations": 2, **settings}
    teacher = OpenAITeacher(TeacherConfig(base_url=server.url, **given), FAMILY)
    store = AdviceStore(folder, teacher.info.teacher_id, teacher.info.prompt_version)
    report, error, began = LabelReport(), None, time.monotonic()
    try:
        label_states(teacher, store, STATES, report=report)
    except TeacherError as failure:
        error = failure
    seconds = time.monotonic() - began
    found = valid_share(store, [state.key for state in STATES])
    line = summary(report, found, 200, len(STATES), report.left)
    return Labeled(store.rows(), report, line, error, seconds)


def always(case: dict[str, Any]) -> Reply:
    reply = case["reply"]
    return lambda body: Scripted(reply["body"], reply["status"], reply["type"])


def without_max_tokens(body: Body) -> Scripted:
    message = (
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
        "'max_completion_tokens' instead."
    )
    return (
        good(body) if "max_tokens" not in body else Scripted({"error": {"message": message}}, 400)
    )


def without_seed(body: Body) -> Scripted:
    detail = {
        "type": "extra_forbidden",
        "loc": ["body", "seed"],
        "msg": "Extra inputs are not permitted",
        "input": 1,
    }
    return good(body) if "seed" not in body else Scripted({"detail": [detail]}, 422)


def without_thinking(body: Body) -> Scripted:
    if body.get("enable_thinking") is False:
        return good(body)
    message = "parameter.enable_thinking must be set to false for non-streaming calls"
    return Scripted({"error": {"message": message}}, 400)


RULES = {  # of the cases whose reply is a rule in words
    "max_completion_tokens": without_max_tokens,
    "no_seed": without_seed,
    "enable_thinking": without_thinking,
}
EXPLORES = (
    *("thinkquote", "longthink", "parts", "end_token", "line_break", "later_action"),
    "event_stream",
)
CUT_OFF = ("thinkcut", "nullcontent")
FAILS_AT_ONCE = {  # and the server's own words
    "detail_text": "This endpoint needs a frobnicator",
    "plain_text": "bad model name: frobnicate",
    "quota": "You exceeded your current quota, please check your plan and billing details.",
}
TRANSIENT = {
    "error_in_200": "Provider returned error: m is temporarily rate-limited upstream",
    "choice_error": "Upstream model overloaded",
}
LISTS = ("models_bare_list", "models_missing", "models_wildcard")


def test_every_case_is_tested() -> None:
    own = {"logprobs_null", "logprobs_noise", *RULES}
    assert own | {*EXPLORES, *CUT_OFF, *FAILS_AT_ONCE, *TRANSIENT, *LISTS} == CASES.keys()


@pytest.mark.parametrize("name", EXPLORES)
def test_the_answer_is_read(name: str, serve: Any, tmp_path: Path) -> None:
    server = serve(always(CASES[name]))
    assert label(server, tmp_path).plans == ["explore"] * 3


@pytest.mark.parametrize("method", ["sampling", "verbalized"])
@pytest.mark.parametrize("name", CUT_OFF)
def test_a_truncated_reply_is_no_advice(name: str, method: str, serve: Any, tmp_path: Path) -> None:
    done = label(serve(always(CASES[name])), tmp_path, method=method)
    assert [row["status"] for row in done.rows] == ["invalid"] * 3
    assert all(not row["options"] and row["coverage"] == 0 for row in done.rows)
    replies = done.report.replies
    assert {row["truncated_replies"] for row in done.rows} == {replies // 3}
    assert (done.report.invalid_replies, done.report.truncated_replies) == (replies, replies)
    assert f"{replies} of {replies} replies (100%) are invalid" in done.summary
    assert f"{replies} replies reached max_tokens (200)" in done.summary
    assert "3 of 3 questions without a valid answer" in done.summary
    assert "--retry-invalid" in done.summary


@pytest.mark.parametrize("name", FAILS_AT_ONCE)
def test_what_cannot_go_away_fails_at_once(name: str, serve: Any, tmp_path: Path) -> None:
    server = serve(always(CASES[name]))
    done = label(server, tmp_path)
    assert done.error is not None and FAILS_AT_ONCE[name] in str(done.error)
    assert done.seconds < 5 and not done.rows and not done.error.transient
    assert "have their advice" not in str(done.error), "nobody has"


@pytest.mark.parametrize("name", TRANSIENT)
def test_what_may_go_away_is_tried_again(
    name: str, serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai_client, "FIRST_WAIT_S", 0.01)
    server = serve(always(CASES[name]))
    done = label(server, tmp_path, max_retries=2)
    assert isinstance(done.error, UnansweredError) and done.error.transient
    assert TRANSIENT[name] in str(done.error) and not done.rows
    assert len(server.bodies) >= 3
    bad, failures = server.reply, 4

    def soon_better(body: Body) -> Scripted:
        return bad(body) if len(server.bodies) <= failures else good(body)

    server.reply, server.bodies = soon_better, []
    assert label(server, tmp_path).plans == ["explore"] * 3


@pytest.mark.parametrize(
    ("name", "dropped", "field"),
    [
        ("max_completion_tokens", ["max_tokens=max_completion_tokens"], "max_tokens"),
        ("no_seed", ["seed"], "seed"),
    ],
)
def test_a_refused_field_is_left_out_for_the_run(
    name: str, dropped: list[str], field: str, serve: Any, tmp_path: Path
) -> None:
    server = serve(RULES[name])
    done = label(server, tmp_path)
    assert done.plans == ["explore"] * 3
    assert [field in body for body in server.bodies] == [True, False, False, False]
    assert [row["dropped"] for row in done.rows] == [dropped] * 3
    assert dropped[0] in done.summary
    if name == "max_completion_tokens":
        assert server.bodies[-1]["max_completion_tokens"] == 200


def test_enable_thinking(serve: Any, tmp_path: Path) -> None:
    server = serve(without_thinking)
    done = label(server, tmp_path)
    assert done.error is not None and done.seconds < 5
    assert "--teacher.extra-body '{\"enable_thinking\": false}'" in str(done.error)
    extra = '{"enable_thinking": false}'
    done = label(server, tmp_path, extra_body=extra)
    assert done.plans == ["explore"] * 3
    assert all(
        row["settings"].endswith(',extra_body={"enable_thinking":false}') for row in done.rows
    )


@pytest.mark.parametrize("name", LISTS)
def test_the_list_of_models_is_a_hint(name: str, serve: Any, tmp_path: Path) -> None:
    reply = CASES[name]["reply"]
    server = serve(good, Scripted(reply["body"], reply["status"], reply["type"]))
    assert label(server, tmp_path).plans == ["explore"] * 3


def test_logprobs_null(serve: Any, tmp_path: Path) -> None:
    done = label(serve(always(CASES["logprobs_null"])), tmp_path, method="logprobs")
    assert done.error is not None and done.seconds < 5
    assert "without logprobs" in str(done.error) and "method sampling" in str(done.error)


def test_logprobs_noise(serve: Any, tmp_path: Path) -> None:
    done = label(serve(always(CASES["logprobs_noise"])), tmp_path, method="logprobs")
    assert [row["status"] for row in done.rows] == ["invalid"] * 3
    assert all(row["coverage"] == pytest.approx(2.2e-8, rel=0.1) for row in done.rows)
    assert {row["min_coverage"] for row in done.rows} == {0.01}
    assert "3 of 3 questions without a valid answer" in done.summary
