"""The openai teacher against a real, and often ill-behaved, HTTP server."""

import asyncio
import json
import time
from typing import Any

import pytest
from pydantic import ValidationError

from llm4teach.envs.plan import parse_plan
from llm4teach.envs.task import State
from llm4teach.errors import TeacherError
from llm4teach.teacher_labeling.backends.openai.errors import ServerErrors
from llm4teach.teacher_labeling.backends.openai.teacher import OpenAITeacher
from llm4teach.teacher_labeling.backends.openai.transport import Reply
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.factory import resolve_model, teacher_info
from llm4teach.teacher_labeling.teacher import Advice, AdviceStatus

SECRET = "sk-very-secret-123"
GO_KEY = parse_plan("go to key > pick up key")
EXPLORE = parse_plan("explore")


def teacher(server: Any, **settings: Any) -> OpenAITeacher:
    defaults = {"model": "test-model", "n_samples": 4, "max_retries": 2, "timeout_s": 60}
    return OpenAITeacher(
        TeacherConfig(base_url=server.url, **(defaults | settings)), "SimpleDoorKey"
    )


def test_relative_frequencies(chat_server: Any, states: list[State]) -> None:
    chat_server.replies = ["Action: {explore}", "I cannot say.", "Action: {explore}"]
    (advice,) = teacher(chat_server, usd_per_million_completion_tokens=2.0).advise(states[:1])
    assert advice.status is AdviceStatus.OK
    assert dict(advice.plans) == pytest.approx({EXPLORE: 2 / 3, GO_KEY: 1 / 3})
    assert advice.coverage == pytest.approx(3 / 4)
    assert advice.replies[1] == "I cannot say."
    assert advice.n_samples == 4
    assert (advice.prompt_tokens, advice.completion_tokens) == (100, 40)
    assert advice.cost == pytest.approx(40 * 2e-6)
    body = chat_server.requests[0]
    assert body["n"] == 4
    assert body["messages"][0]["role"] == "system"
    assert body["messages"][-1]["content"] == states[0].text


def test_garbage_is_counted_and_never_guessed(chat_server: Any, states: list[State]) -> None:
    chat_server.reply = "Action: {__import__('os').system('true')}"
    (advice,) = teacher(chat_server).advise(states[:1])
    assert advice.status is AdviceStatus.INVALID
    assert advice.plans == ()
    assert advice.coverage == 0.0
    assert len(advice.replies) == 4


def test_n_ignored_is_asked_again(chat_server: Any, states: list[State]) -> None:
    chat_server.ignore_n = True
    (advice,) = teacher(chat_server).advise(states[:1])
    assert len(advice.replies) == 4
    assert advice.prompt_tokens == 400
    assert len({body["seed"] for body in chat_server.requests}) == 4


def test_n_refused_is_asked_one_by_one(chat_server: Any, states: list[State]) -> None:
    chat_server.script = [400]
    (advice,) = teacher(chat_server).advise(states[:1])
    assert [body["n"] for body in chat_server.requests] == [4, 1, 1, 1, 1]
    assert advice.coverage == 1.0


def test_without_chance_one_reply_is_enough(chat_server: Any, states: list[State]) -> None:
    asked = teacher(chat_server, temperature=0.0)  # vLLM refuses n > 1 at temperature 0
    (advice,) = asked.advise(states[:1])
    assert [body["n"] for body in chat_server.requests] == [1]
    assert (advice.n_samples, len(advice.replies), advice.coverage) == (1, 1, 1.0)
    assert asked.info.settings.startswith("n=1,temperature=0,")


def test_ten_good_replies_are_full_coverage(chat_server: Any, states: list[State]) -> None:
    (advice,) = teacher(chat_server, n_samples=10).advise(states[:1])
    assert advice.coverage == 1.0  # ten times 0.1, added up, is less


def test_seeds_are_a_requests_own_and_the_same_in_every_run(
    chat_server: Any, states: list[State]
) -> None:
    n = 4
    for seed in (0, 1, 0):
        list(teacher(chat_server, n_samples=n, seed=seed, max_in_flight=1).advise(states))
    seeds = [body["seed"] for body in chat_server.requests]
    first, second, again = seeds[:6], seeds[6:12], seeds[12:]
    assert first == again
    # A server gives the n replies of a request the seeds s, s + 1, …: none is used twice.
    used = {seed + i for seed in first + second for i in range(n)}
    assert len(used) == len(first + second) * n
    assert all(0 <= seed < 2**31 for seed in seeds)


@pytest.mark.parametrize("trouble", [408, 409, 429, 500, 503, "reset"])
def test_trouble_then_good(trouble: str | int, chat_server: Any, states: list[State]) -> None:
    chat_server.script = [trouble, trouble]
    (advice,) = teacher(chat_server).advise(states[:1])
    assert advice.status is AdviceStatus.OK
    assert len(chat_server.requests) == 3


def test_retry_after_is_honored(chat_server: Any, states: list[State]) -> None:
    chat_server.script = [429]
    chat_server.headers = {"Retry-After": "1"}
    begin = time.perf_counter()
    list(teacher(chat_server).advise(states[:1]))
    assert time.perf_counter() - begin > 0.7


@pytest.mark.parametrize(
    ("trouble", "says", "requests"),
    [
        (500, "3 attempt", 3),
        ("reset", "3 attempt", 3),
        ("html", "not a JSON object", 1),  # another kind of server stays one
        ("no choices", "without any choices", 1),
        (404, "HTTP 404", 1),
        (401, "API key", 1),
    ],
)
def test_trouble_for_ever(
    trouble: str | int,
    says: str,
    requests: int,
    chat_server: Any,
    states: list[State],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    chat_server.default = trouble
    with pytest.raises(TeacherError, match=says) as caught:
        list(teacher(chat_server).advise(states[:1]))
    assert chat_server.url in str(caught.value)
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value.__cause__)
    assert len(chat_server.requests) == requests


def test_a_slow_server_is_told_from_a_missing_one(chat_server: Any, states: list[State]) -> None:
    chat_server.delay_s = 1.0
    with pytest.raises(
        TeacherError, match=r"no reply within 0\.2 s\); .*raise timeout_s"
    ) as caught:
        list(teacher(chat_server, timeout_s=0.2, max_retries=1).advise(states[:1]))
    assert "base_url" not in str(caught.value)


def test_finished_questions_are_yielded_before_a_failure(
    chat_server: Any, states: list[State]
) -> None:
    chat_server.poison = states[3].text
    seen: list[Advice] = []
    with pytest.raises(TeacherError, match="HTTP 500"):
        for advice in teacher(chat_server, max_in_flight=1).advise(states):
            seen.append(advice)
    assert [advice.state for advice in seen] == states[:3] + states[4:]
    asked_last = chat_server.requests[-1]["messages"][-1]["content"]
    assert asked_last == states[3].text  # once more when all others had their answers


def test_inside_a_running_event_loop(chat_server: Any, states: list[State]) -> None:
    async def run() -> list[Advice]:
        return list(teacher(chat_server).advise(states))

    assert len(asyncio.run(run())) == len(states)


def test_a_caller_that_stops_listening(chat_server: Any, states: list[State]) -> None:
    for _ in teacher(chat_server, max_in_flight=1).advise(states * 50):
        break
    assert len(list(teacher(chat_server).advise(states[:1]))) == 1
    assert len(chat_server.requests) == 2, "nothing was sent in between"


def test_server_not_there(states: list[State]) -> None:
    config = TeacherConfig(
        teacher="openai", base_url="http://127.0.0.1:1/v1", model="m", max_retries=0
    )
    with pytest.raises(TeacherError, match=r"http://127\.0\.0\.1:1/v1 did not answer") as caught:
        list(OpenAITeacher(config, "SimpleDoorKey").advise(states))
    assert caught.value.transient
    with pytest.raises(TeacherError, match=r"http://127\.0\.0\.1:1/v1 did not answer"):
        resolve_model(config.model_copy(update={"model": ""}))


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://x/v1", "http://", "http://[::1"])
def test_not_an_address(url: str) -> None:
    with pytest.raises(TeacherError, match="base_url"):
        OpenAITeacher(TeacherConfig(base_url=url, model="m", max_retries=0), "SimpleDoorKey")


def test_models(chat_server: Any, states: list[State]) -> None:
    config = TeacherConfig(teacher="openai", base_url=chat_server.url)
    assert resolve_model(config) == config.model_copy(update={"model": "test-model"})
    with pytest.raises(TeacherError, match=r"needs the name of the model.*--teacher\.model"):
        teacher_info(config, "SimpleDoorKey")
    chat_server.default = 404  # the list is a hint: only the server's refusal counts
    with pytest.raises(TeacherError, match=r"HTTP 404.* does not name 'gpt-9': test-model"):
        list(teacher(chat_server, model="gpt-9").advise(states))
    chat_server.default = "ok"
    chat_server.models = ["a", "b"]
    assert len(list(teacher(chat_server, model="b").advise(states))) == len(states)
    with pytest.raises(TeacherError, match=r"serves 2 models.*a, b"):
        resolve_model(config)


def test_keys(chat_server: Any, states: list[State], monkeypatch: pytest.MonkeyPatch) -> None:
    chat_server.key = SECRET
    with pytest.raises(TeacherError, match=r"none is set.*LLM4TEACH_API_KEY"):
        list(teacher(chat_server).advise(states))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong")
    with pytest.raises(TeacherError, match="refused the API key") as caught:
        list(teacher(chat_server).advise(states))
    assert "sk-wrong" not in str(caught.value)
    monkeypatch.setenv("LLM4TEACH_API_KEY", SECRET)  # goes before the other
    assert SECRET not in repr(teacher(chat_server).info)


@pytest.mark.parametrize("key", ["explore", "a", "key", "none", "EMPTY"])
def test_a_dummy_key_changes_no_reply(
    key: str, chat_server: Any, states: list[State], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands in the JSON, and in what the model writes."""
    monkeypatch.setenv("LLM4TEACH_API_KEY", key)
    chat_server.key = key
    chat_server.reply = "EMPTY, none. Action: {explore}"
    (advice,) = teacher(chat_server).advise(states[:1])
    assert dict(advice.plans) == {EXPLORE: 1.0}
    assert set(advice.replies) == {chat_server.reply}


@pytest.mark.parametrize(
    "written", ["sk-abc/def+ghi", r"sk-abc\/def+ghi", r"sk-abc\u002fdef\u002bghi"]
)
def test_a_key_is_found_however_json_writes_it(
    written: str, chat_server: Any, states: list[State], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "sk-abc/def+ghi"
    monkeypatch.setenv("LLM4TEACH_API_KEY", key)
    nested = '{"a": [[{"b": "' + written + '"}]]}'
    raw = '{"choices": [{"message": {"content": "' + written + '? Action: {explore}"}}], "x": '
    chat_server.raw = raw + nested + "}"
    (advice,) = teacher(chat_server, n_samples=1).advise(states[:1])
    assert advice.replies == ("***? Action: {explore}",)
    errors = ServerErrors("http://here", "KEY", key)
    content = json.loads(nested)
    errors.hide_in(content)
    assert content == {"a": [[{"b": "***"}]]}
    told = '{"error": {"message": "no such key: ' + written + '"}}'
    assert errors.server_message(Reply(404, {}, told.encode())) == ": no such key: ***"


@pytest.mark.parametrize(
    "url",
    [
        "http://me:hush-hush@127.0.0.1:1/v1",
        "http://hush-hush@127.0.0.1:1/v1",
        "http://127.0.0.1:1/v1?api-key=hush-hush",
        "http://127.0.0.1:1/v1#hush-hush",
        "http://me:a/hush-hush@127.0.0.1:1/v1",  # no URL, which is why it is not parsed
        "me:hush-hush@127.0.0.1:1",
    ],
)
def test_a_secret_in_the_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValidationError, match=r"LLM4TEACH_API_KEY.*api_key_block") as caught:
        TeacherConfig(base_url=url)
    assert "hush" not in str(caught.value)
