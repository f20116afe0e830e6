"""What servers do beside the cases: errors of any form, fields that they refuse, odd replies."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asking import FAMILY, OPTIONS, make_states
from scripted_server import Body, Scripted, ScriptedServer, chat, good

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.errors import TeacherError
from llm4teach.teacher_labeling.backends.openai.teacher import OpenAITeacher
from llm4teach.teacher_labeling.config import LabelConfig, TeacherConfig
from llm4teach.teacher_labeling.factory import resolve_model
from llm4teach.teacher_labeling.labeling.run import LabelReport, label_states
from llm4teach.teacher_labeling.teacher import AdviceStatus

Serve = Callable[..., ScriptedServer]


@pytest.fixture
def serve(serve_scripted: Callable[..., ScriptedServer]) -> Callable[..., ScriptedServer]:
    return serve_scripted


def teacher_at(server: ScriptedServer, **settings: Any) -> OpenAITeacher:
    given = {"base_url": server.url, "model": "m", "n_samples": 2, "permutations": 2, **settings}
    return OpenAITeacher(TeacherConfig(**given), FAMILY)


def store_of(teacher: OpenAITeacher, folder: Path) -> AdviceStore:
    return AdviceStore(folder, teacher.info.teacher_id, teacher.info.prompt_version)


def scripted(body: Any, status: int = 200, kind: str = "application/json") -> Callable[..., Any]:
    return lambda request: Scripted(body, status, kind)


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (404, {"error": "model 'm' not found, try pulling it"}, "try pulling it"),
        (400, {"object": "error", "message": "No such model: m", "code": 40301}, "No such model"),
        (422, {"detail": [{"loc": ["body", "x"], "msg": "field required"}]}, "body.x: field req"),
        (
            422,
            {"object": "error", "message": {"detail": [{"loc": ["body", "y"], "msg": "is bad"}]}},
            "body.y: is bad",
        ),
        (400, [{"error": {"code": 400, "message": "API key not valid"}}], "API key not valid"),
        (402, {"error": {"message": "Insufficient Balance"}}, "Insufficient Balance"),
        (403, "<html><title>Access denied | proxy</title></html>", "Access denied"),
        (401, {"error": {"message": "who are you?"}}, "who are you?"),
        (405, {"errors": [{"message": "Method not allowed"}]}, "Method not allowed"),
        (429, {"error": {"message": "Out of money", "code": "insufficient_quota"}}, "Out of money"),
        (200, {"error": "Unexpected endpoint or method"}, "Unexpected endpoint"),
        (200, {"error": {"message": "no access", "code": 401}}, "no access"),
        (200, {"error": {"message": "no model", "type": "not_found_error"}}, "no model"),
        (200, {"object": "error", "message": "bad", "code": 400}, "bad"),
        (200, "<html><title>Sign in</title></html>", "Sign in"),
        (200, {"type": "message", "content": [{"type": "text", "text": "hi"}]}, "without any choi"),
        (200, {"choices": [{"text": "Action: {explore}"}]}, "without any choices"),
        (200, {"choices": [], "usage": None}, "without any choices"),
    ],
)
def test_what_stays_wrong_fails_at_once_in_the_servers_words(
    status: int, body: Any, words: str, serve: Serve
) -> None:
    server, began = serve(scripted(body, status)), time.monotonic()
    with pytest.raises(TeacherError) as caught:
        list(teacher_at(server).advise(make_states(30)))
    assert words in str(caught.value) and "have their advice" not in str(caught.value)
    assert not caught.value.transient and time.monotonic() - began < 5
    assert len(server.bodies) <= 16  # a refusal may be of the state: eight of them are tried


@pytest.mark.parametrize(
    "reply",
    [
        Scripted({"error": {"message": "You exceeded your current quota", "code": 429}}, 429,
                 headers={"Retry-After": "0"}),
        Scripted([{"error": {"message": "You exceeded your current quota",
                             "details": [{"retryDelay": "0s"}]}}], 429),
        Scripted({"error": {"message": "loading", "type": "unavailable_error"}}, 503),
        Scripted("upstream connect error", 502, "text/plain"),
        Scripted({"error": "generation failed"}, 424),
        Scripted({"error": {"message": "slow down", "type": "rate_limit_error"}}),
        Scripted({"error": {"message": "try later", "code": "503"}}),
        Scripted(chat("", finish="network_error")),
        Scripted(chat("", finish="abort")),
        Scripted('{"id": "x", "choices": [{"mess'),
        Scripted('data: {"choices": [{"delta": {"content": "A"}}]}\n\n', kind="text/event-stream"),
    ],
)  # fmt: skip
def test_what_may_go_away_is_asked_again(reply: Scripted, serve: Serve) -> None:
    server = serve()
    server.reply = lambda body: reply if len(server.bodies) <= 3 else good(body)
    answers = list(teacher_at(server).advise(make_states(3)))
    assert [advice.status for advice in answers] == [AdviceStatus.OK] * 3


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_tells_its_target(status: int, serve: Serve) -> None:
    server = serve()
    target = "https://me:hush@other.example/api/v1/chat/completions?key=hush"
    server.reply = lambda body: Scripted("", status, headers={"Location": target})
    with pytest.raises(TeacherError, match=r"redirects to https://other.example/api/v1 .*base-url"):
        list(teacher_at(server).advise(make_states(2)))
    moved = Scripted("", status, headers={"Location": "/api/v1/models"})
    server.models, server.reply = moved, good
    with pytest.raises(TeacherError, match=rf"redirects to {server.root}/api/v1 ") as caught:
        resolve_model(TeacherConfig(teacher="openai", base_url=server.url))
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "works"),
    [("/v1", True), ("/v1/", True), ("", True), ("/", True), ("/v1/chat/completions", True)],
)
def test_addresses(address: str, works: bool, serve: Serve) -> None:
    server = serve()
    teacher = teacher_at(server, base_url=server.root + address)
    assert len(list(teacher.advise(make_states(1)))) == works


REFUSALS: list[tuple[str, int, Callable[[Body], Any]]] = [
    ("seed", 400, lambda body: {"error": {"message": "Unrecognized request argument: seed"}}),
    (
        "seed",
        400,
        lambda body: [{"error": {"message": 'Unknown name "seed": Cannot find field.'}}],
    ),
    (
        "seed",
        422,
        lambda body: {
            "object": "error",
            "message": {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"]}]},
        },
    ),
    ("n", 400, lambda body: {"error": {"message": "'n' : number must be at most 1"}}),
    ("n", 422, lambda body: {"detail": [{"loc": ["body", "n"], "type": "less_than_equal"}]}),
    (
        "temperature",
        400,
        lambda body: {
            "error": {
                "message": f"Unsupported value: 'temperature' does not support "
                f"{body['temperature']} with this model. Only the default (1) value is supported.",
                "param": "temperature",
                "code": "unsupported_value",
            }
        },
    ),
    (
        "temperature",
        400,
        lambda body: {"error": {"message": "invalid temperature: only 1 is allowed for m"}},
    ),
    ("max_tokens", 400, lambda body: {"error": {"param": "max_tokens", "message": "unsupported"}}),
]


@pytest.mark.parametrize(("field", "status", "body_of"), REFUSALS)
def test_a_refused_field_is_left_out(
    field: str, status: int, body_of: Callable[[Body], Any], serve: Serve, tmp_path: Path
) -> None:
    """It takes one refusal to learn it, and the advice says so."""

    def reply(body: Body) -> Scripted:
        is_refused = body[field] > 1 if field == "n" and "n" in body else field in body
        return Scripted(body_of(body), status) if is_refused else good(body)

    server = serve(reply)
    teacher = teacher_at(server, n_samples=10)
    store = store_of(teacher, tmp_path)
    label_states(teacher, store, make_states(3))
    rows = store.rows()
    shown = "max_tokens=max_completion_tokens" if field == "max_tokens" else field
    assert [row["status"] for row in rows] == ["ok"] * 3
    assert [row["dropped"] for row in rows] == [[shown]] * 3
    assert all(len(row["replies"]) == 10 for row in rows)
    if field == "n":
        assert len(server.bodies) == 31 and "n" not in server.bodies[-1]
        assert len({body["seed"] for body in server.bodies[1:]}) == 30
    else:
        assert len(server.bodies) == 4
    same = {row["teacher_id"] for row in rows} == {teacher.info.teacher_id}
    assert same is (field != "temperature"), "without temperature it is another teacher"
    again = store_of(teacher, tmp_path)
    assert label_states(teacher, again, make_states(3)).known == 3


def test_several_fields_and_the_system_role(serve: Serve, tmp_path: Path) -> None:
    def reply(body: Body) -> Scripted:
        if extra := [name for name in ("seed", "n", "temperature") if name in body]:
            details = [{"type": "extra_forbidden", "loc": ["body", name]} for name in extra]
            return Scripted({"detail": details}, 422)
        if body["messages"][0]["role"] == "system":
            return Scripted({"error": {"message": "System role not supported"}}, 400)
        return good(body)

    server = serve(reply)
    teacher = teacher_at(server)
    store = store_of(teacher, tmp_path)
    label_states(teacher, store, make_states(2))
    assert {row["teacher_id"] for row in store.rows()} == {
        f"{teacher.info.teacher_id}/without system,temperature"
    }
    assert store.rows()[0]["dropped"] == ["n", "seed", "system", "temperature"]
    roles = [message["role"] for message in server.bodies[-1]["messages"]]
    assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"]
    assert len(server.bodies) == 2 + 4


@pytest.mark.parametrize(
    "message",
    [
        "max_tokens is too large: 200. This model supports at most 100",
        "temperature must be between 0 and 0.5",
        "top_p: Extra inputs are not permitted",
        "This model's maximum context length is 100 tokens; reduce max_tokens",
    ],
)
def test_a_wrong_value_is_not_dropped(message: str, serve: Serve) -> None:
    server = serve(scripted({"error": {"message": message}}, 400))
    with pytest.raises(TeacherError, match=r"HTTP 400") as caught:
        list(teacher_at(server, n_samples=1, extra_body='{"top_p": 1}').advise(make_states(3)))
    assert message[:30] in str(caught.value)
    assert all({"max_tokens", "temperature", "top_p"} <= body.keys() for body in server.bodies)


def test_logprobs_without_what_the_server_refuses(serve: Serve) -> None:
    entries = [{"token": letter, "logprob": score} for letter, score in (("A", -0.1), ("B", -3.0))]
    scores = {"content": [{**entries[0], "top_logprobs": entries}]}

    def reply(body: Body) -> Scripted:
        if "max_tokens" in body:
            return Scripted({"error": {"message": "unsupported", "param": "max_tokens"}}, 400)
        content = chat("A", finish="length")
        content["choices"][0]["logprobs"] = scores
        return Scripted(content)

    teacher = teacher_at(serve(reply), method="logprobs")
    answers = list(teacher.advise(make_states(2)))
    assert [advice.status for advice in answers] == [AdviceStatus.OK] * 2
    assert {advice.dropped for advice in answers} == {("max_tokens=max_completion_tokens",)}


@pytest.mark.parametrize("reason", ["length", "MAX_TOKENS", "max_tokens", "model_length"])
def test_reasons_of_truncation(reason: str, serve: Serve) -> None:
    server = serve(scripted(chat("Action: explore", 2, finish=reason)))
    (advice,) = teacher_at(server).advise(make_states(1))
    assert advice.status is AdviceStatus.INVALID and advice.truncated_replies == 2


FILTERED = [
    Scripted(chat("", 2, finish="content_filter")),
    Scripted(chat("I can", 2, finish="SAFETY")),
    Scripted(chat(None, 2, refusal="I cannot help with that.")),
    Scripted(
        {"error": {"message": "The response was filtered", "code": "content_filter"}}, 400
    ),
    Scripted({"error": {"message": "it requires moderation", "code": 403}}, 403),
]  # fmt: skip


@pytest.mark.parametrize("reply", FILTERED)
def test_a_refusal_is_stored_and_never_billed_again(
    reply: Scripted, serve: Serve, tmp_path: Path
) -> None:
    states = make_states(3)
    last = states[2].text
    server = serve(lambda body: reply if body["messages"][-1]["content"] == last else good(body))
    teacher = teacher_at(server)
    report = label_states(teacher, store_of(teacher, tmp_path), states)
    assert (report.ok, report.refused, report.invalid) == (2, 1, 0)
    asked = len(server.bodies)
    limits = LabelConfig(retry_invalid=True)
    label_states(teacher, store_of(teacher, tmp_path), states, limits=limits)
    assert len(server.bodies) == asked
    statuses = [row["status"] for row in store_of(teacher, tmp_path).rows()]
    assert sorted(statuses) == ["ok", "ok", "refused"]


@pytest.mark.parametrize(
    "message",
    [
        {"content": None, "tool_calls": [{"function": {"arguments": "Action: {explore}"}}]},
        {"content": "", "reasoning": "Action: {explore}"},
        {"content": [], "thinking": "Action: {explore}"},
        {"content": [{"type": "reasoning", "text": "Action: {explore}"}]},
        {"content": [{"type": "thinking", "thinking": "Action: {explore}"}]},
    ],
)
def test_what_is_no_content_never_votes(message: dict[str, Any], serve: Serve) -> None:
    body = chat(None, 2)
    for choice in body["choices"]:
        choice["message"] = message
    server = serve(scripted(body))
    (advice,) = teacher_at(server).advise(make_states(1))
    assert advice.status is AdviceStatus.INVALID and advice.invalid_replies == 2


@pytest.mark.parametrize(
    "content",
    [
        ["Action: ", {"text": "{explore}"}],
        {"type": "text", "text": "Action: {explore}"},
        [{"type": "output_text", "text": "Action: {explore}"}],
    ],
)
def test_content_in_parts(content: Any, serve: Serve) -> None:
    (advice,) = teacher_at(serve(scripted(chat(content, 2)))).advise(make_states(1))
    assert dict(advice.plans) == {OPTIONS[0]: 1.0}


def test_a_stream_with_usage(serve: Serve) -> None:
    """Its chunks are joined, whatever their line ends, with comments and a last chunk of usage."""
    chunks: list[Any] = [
        {"choices": [{"index": 1, "delta": {"role": "assistant", "content": ""}}]},
        {"choices": [{"index": 0, "delta": {"content": "Action: "}}]},
        {"choices": [{"index": 1, "delta": {"content": "Action: {explore}"}}]},
        {"choices": [{"index": 0, "delta": {"content": "{drop key}"}, "finish_reason": "stop"}]},
        {"choices": [{"index": 1, "delta": {}, "finish_reason": "stop"}]},
        {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 9}},
    ]
    text = ": waiting\r\n\r\n" + "".join(f"data: {json.dumps(chunk)}\r\n\r\n" for chunk in chunks)
    server = serve(scripted(text, kind="text/event-stream; charset=utf-8"))
    (advice,) = teacher_at(server).advise(make_states(1))
    assert dict(advice.plans) == {OPTIONS[0]: 0.5, OPTIONS[2]: 0.5}
    assert (advice.prompt_tokens, advice.completion_tokens) == (7, 9)


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"prompt_tokens_details": {"cached_tokens": 64}}, (100, 64, 10)),
        ({"prompt_cache_hit_tokens": 64, "prompt_tokens_details": None}, (100, 64, 10)),
        ({"prompt_tokens_details": {"cached_tokens": 640}}, (100, 100, 10)),
        ({"prompt_tokens": 100.0, "completion_tokens": True}, (100, 0, 0)),
        (None, (0, 0, 0)),
    ],
)
def test_tokens(usage: Any, tokens: tuple[int, int, int], serve: Serve, tmp_path: Path) -> None:
    body = chat("Action: {explore}")
    body["usage"] = None if usage is None else body["usage"] | usage
    teacher = teacher_at(serve(scripted(body)), n_samples=1)
    store, report = store_of(teacher, tmp_path), LabelReport()
    label_states(teacher, store, make_states(1), report=report)
    (row,) = store.rows()
    columns = ("prompt_tokens", "cached_prompt_tokens", "completion_tokens")
    assert tuple(row[name] for name in columns) == tokens
    assert tuple(getattr(report, name) for name in columns) == tokens


@pytest.mark.parametrize(("limit", "asked"), [(500, 2), (110, 1), (1_000, 5), (50, 1)])
def test_a_budget_of_tokens_holds_with_many_in_flight(
    limit: int, asked: int, serve: Serve, tmp_path: Path
) -> None:
    """200 tokens each, six in flight: the first alone, then as many as fit."""

    def reply(body: Body) -> Scripted:
        time.sleep(0.02)
        content = chat("Action: {explore}", 2)
        return Scripted(content | {"usage": {"prompt_tokens": 150, "completion_tokens": 50}})

    server = serve(reply)
    teacher = teacher_at(server, max_in_flight=6)
    limits = LabelConfig(max_tokens=limit)
    report = label_states(teacher, store_of(teacher, tmp_path), make_states(30), limits=limits)
    assert (report.asked, len(server.bodies)) == (asked, asked)
    assert f"{200 * asked:,} of the {limit:,} tokens" in report.stopped_by
    assert ("too many" in report.stopped_by) is (200 * asked > limit)


def test_invalid_answers_are_asked_again(serve: Serve, tmp_path: Path) -> None:
    server, states = serve(scripted(chat("I cannot say.", 2))), make_states(4)
    teacher = teacher_at(server)
    store = store_of(teacher, tmp_path)
    assert label_states(teacher, store, states).invalid == 4
    assert label_states(teacher, store, states).asked == 0, "not without being told to"
    limits = LabelConfig(retry_invalid=True)
    assert label_states(teacher, store, states, limits=limits).invalid == 4
    server.reply = good
    report = label_states(teacher, store, states, limits=limits)
    assert (report.asked, report.ok, report.known) == (4, 4, 0)
    assert label_states(teacher, store, states, limits=limits).asked == 0, "they are valid now"
    for opened in (store, store_of(teacher, tmp_path)):
        rows = opened.rows()
        assert [(row["status"], row["attempt"]) for row in rows] == [("ok", 3)] * 4
        assert opened.lookup([states[0].key])[states[0].key]["status"] == "ok"


@pytest.mark.parametrize("n_refused", [1, 2])
def test_the_others_have_their_advice_only_if_they_do(n_refused: int, serve: Serve) -> None:
    states = make_states(4)
    refused = {state.text for state in states[-n_refused:]}

    def reply(body: Body) -> Scripted:
        if body["messages"][-1]["content"] in refused:
            return Scripted({"detail": "not this one"}, 400)
        return good(body)

    server = serve(reply)
    with pytest.raises(TeacherError, match=r"not this one.*the others have their advice"):
        list(teacher_at(server).advise(states))
    server.reply = lambda body: (
        reply(body) if body["messages"][-1]["content"] in refused else Scripted(chat("Hm.", 2))
    )
    with pytest.raises(TeacherError, match=rf"it has answered {4 - n_refused} others"):
        list(teacher_at(server).advise(states))


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("[1]", "must be a JSON object"),
        ("{", "is not JSON"),
        ('{"stream": true}', "stream is not an extra field; replies are never streamed"),
        ('{"max_completion_tokens": 5}', "max_completion_tokens is not.*--teacher.max-tokens"),
        ('{"api_key": "hush"}', "may be a secret"),
    ],
)
def test_extra_fields_that_are_none(extra: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        TeacherConfig(extra_body=extra)
    assert "hush" not in str(caught.value)


def test_extra_fields_are_part_of_the_identity(serve: Serve) -> None:
    server = serve()
    plain, extra = teacher_at(server), teacher_at(server, extra_body='{"b":1, "a": {"c": 2}}')
    table = teacher_at(server, extra_body={"a": {"c": 2}, "b": 1})
    assert extra.info == table.info != plain.info
    assert extra.info.teacher_id == plain.info.teacher_id + ',extra_body={"a":{"c":2},"b":1}'
    list(extra.advise(make_states(1)))
    assert (server.bodies[-1]["a"], server.bodies[-1]["b"]) == ({"c": 2}, 1)
