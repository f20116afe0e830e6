"""The openai teacher and what servers can do: the best way of asking that each of them has."""

from __future__ import annotations

import math

import pytest
from asking import OPTIONS, Make, make_states, make_teacher

from llm4teach.envs.plan import parse_plan
from llm4teach.envs.task import State
from llm4teach.errors import TeacherError
from llm4teach.teacher_labeling.teacher import AdviceStatus


@pytest.mark.parametrize(
    ("fields", "protocol"),
    [
        (["n", "logprob_token_ids", "logprobs"], "logprob_token_ids"),
        (["n", "logprobs", "structured_outputs"], "top_logprobs"),
        (["n", "logprobs"], "top_logprobs"),
    ],
)
def test_the_best_protocol_that_the_server_has(
    fields: list[str], protocol: str, serve: Make
) -> None:
    """All ways lead to the same distribution, and the ignored fields are found out."""
    server = serve(fields=fields)
    server.scores = {"A": -0.4, "B": -1.6, "C": -3.0}
    teacher = make_teacher(server, method="logprobs", permutations=1)
    for advice in teacher.advise(make_states(3)):
        by_plan = dict(advice.plans)
        assert by_plan[OPTIONS[0]] == pytest.approx(0.7270, abs=1e-3)  # e^-0.4 / sum, by hand
        assert by_plan[OPTIONS[1]] == pytest.approx(0.2190, abs=1e-3)
        assert advice.coverage == pytest.approx(0.9220, abs=2e-2)
        assert f"[{protocol}]" in advice.replies[0]


@pytest.mark.parametrize("said", [400, 401, 403, 404, 405, 501, "<html>home</html>", "{}"])
def test_a_server_without_tokens_is_asked_otherwise(said: int | str, serve: Make) -> None:
    server = serve()
    server.tokenize = [said] * 8
    (advice,) = make_teacher(server, method="logprobs", max_retries=1).advise(make_states(1))
    assert "[top_logprobs]" in advice.replies[0]


def test_a_busy_start_does_not_change_the_protocol(serve: Make) -> None:
    """Or the rows of one teacher_id would be of two protocols."""
    server = serve()
    server.tokenize = [503, 503, 429]
    (advice,) = make_teacher(server, method="logprobs").advise(make_states(1))
    assert "[logprob_token_ids]" in advice.replies[0]
    server = serve()
    server.tokenize = [503] * 20
    with pytest.raises(TeacherError, match=r"did not answer in 3 attempt.*HTTP 503: busy"):
        list(make_teacher(server, method="logprobs", max_retries=2).advise(make_states(1)))


def know_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a server that has no /tokenize."""

    async def tokens(*_: object) -> dict[str, int]:
        return {letter: ord(letter) for letter in "ABC"}

    monkeypatch.setattr("llm4teach.teacher_labeling.backends.openai.teacher.label_tokens", tokens)


def test_a_field_that_is_ignored_is_found_out(serve: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(fields=["n", "logprobs"])
    teacher = make_teacher(server, method="logprobs", permutations=1)
    know_tokens(monkeypatch)
    answers = list(teacher.advise(make_states(4)))
    assert all("[top_logprobs]" in a.replies[0] for a in answers)
    asked_by_ids = ["logprob_token_ids" in body for body in server.bodies]
    assert any(asked_by_ids) and not asked_by_ids[-1]


def with_options(n: int, key: str) -> State:
    """A state of so many options."""
    plans = tuple(parse_plan(f"go to thing {i}") for i in range(n))
    return State(key, f"Agent sees <{key}>.", plans)


def test_a_state_of_one_option_proves_nothing_of_the_server(
    serve: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its only letter comes back also where the field is ignored."""
    server = serve(fields=["n", "logprobs"])
    teacher = make_teacher(server, method="logprobs", permutations=1, max_in_flight=1)
    know_tokens(monkeypatch)
    first, *others = teacher.advise([with_options(1, "one"), *make_states(3)])
    assert first.plans[0][1] == 1 and first.coverage == pytest.approx(0.7408, abs=1e-3)  # e^-0.3
    assert all("[top_logprobs]" in advice.replies[0] for advice in others)


@pytest.mark.parametrize("n", [7, 30])
def test_a_state_of_many_options_changes_nothing_for_the_others(n: int, serve: Make) -> None:
    """30 letters have no token ids, 7 are more than this server's list has."""
    server = serve(fields=["n", "logprobs", "structured_outputs"][: 3 if n == 7 else 2])
    if n == 30:
        server.fields.add("logprob_token_ids")
    server.most_logprobs = 5 if n == 7 else 20
    server.scores = {"A": -0.4, "B": -1.6, "C": -8.0}
    few = make_states(2)
    told = []
    for states in (few, [with_options(n, "many"), *few]):
        teacher = make_teacher(server, method="logprobs", permutations=1, max_in_flight=1)
        told.append([advice.plans for advice in teacher.advise(states)][-2:])
    assert told[0] == told[1] and len(told[0][0]) == 3


def test_a_server_that_tells_of_five_tokens_only(serve: Make) -> None:
    server = serve(fields=["n", "logprobs", "structured_outputs"])
    server.most_logprobs = 5
    answers = list(make_teacher(server, method="logprobs").advise(make_states(3)))
    assert [advice.status for advice in answers] == [AdviceStatus.OK] * 3
    server.most_logprobs = 0
    with pytest.raises(TeacherError, match="top_logprobs: too many"):
        list(make_teacher(server, method="logprobs").advise(make_states(1)))


@pytest.mark.parametrize("calibrate", [False, True])
def test_letters_that_the_server_forbids(calibrate: bool, serve: Make) -> None:
    """Python's servers write -Infinity for what a token mask leaves no chance."""
    server = serve()
    settings = {"method": "logprobs", "permutations": 1, "calibrate": calibrate}
    server.scores = {"A": -0.5, "B": -math.inf, "C": -1.0}
    (advice,) = make_teacher(server, **settings).advise(make_states(1))
    assert {plan for plan, _ in advice.plans} == {OPTIONS[0], OPTIONS[2]}
    server.scores = dict.fromkeys("ABC", -math.inf)
    (advice,) = make_teacher(server, **settings).advise(make_states(1))
    assert advice.status is AdviceStatus.INVALID and 0 <= advice.coverage < 1e-9
    (advice,) = make_teacher(server, min_coverage=0.0, **settings).advise(make_states(1))
    assert sum(p for _, p in advice.plans) == pytest.approx(1) and advice.coverage < 1e-9


@pytest.mark.parametrize("told", [-(10**400), 10**400, False, math.nan, 0.5])
def test_what_is_no_log_probability(told: float, serve: Make) -> None:
    server = serve()
    server.scores = {"A": told, "B": -1.0, "C": -2.0}
    with pytest.raises(TeacherError, match="for a log probability"):
        list(make_teacher(server, method="logprobs", max_retries=0).advise(make_states(1)))


def test_a_reply_that_was_cut_off_is_not_guessed_at(serve: Make) -> None:
    server = serve()
    server.reply, server.finish_reason = "3. Action: explore", "length"
    (advice,) = make_teacher(server).advise(make_states(1))
    assert advice.status is AdviceStatus.INVALID and advice.replies[0] == "3. Action: explore…"
    server.reply = "3. Action: {explore}\nThat is bec"
    (advice,) = make_teacher(server).advise(make_states(1))
    assert advice.status is AdviceStatus.OK


def test_choices_of_one_index_are_paid_once(serve: Make) -> None:
    server = serve()
    server.same_index = True
    (advice,) = make_teacher(server, n_samples=10).advise(make_states(1))
    assert len(advice.replies) == 10
    assert [body["n"] for body in server.bodies] == [10]


@pytest.mark.parametrize("method", ["sampling", "logprobs"])
def test_a_refused_state_changes_nothing_for_the_others(method: str, serve: Make) -> None:
    """It is refused however it is asked: that says nothing of the way of asking."""
    server, states = serve(), make_states(4)
    server.refused = "<key0>"
    teacher = make_teacher(server, method=method, n_samples=10, max_in_flight=1, permutations=1)
    with pytest.raises(TeacherError, match="too long for the model"):
        list(teacher.advise(states[:1]))
    before = len(server.bodies)
    answers = list(teacher.advise(states[1:]))
    asked = server.bodies[before:]
    assert len(asked) == 3
    if method == "sampling":
        assert [body["n"] for body in asked] == [10] * 3
    else:
        assert all("[logprob_token_ids]" in advice.replies[0] for advice in answers)


def test_no_scores_at_all(serve: Make) -> None:
    server = serve(fields=["n"])
    with pytest.raises(TeacherError, match=r"without logprobs.*sampling or verbalized"):
        list(make_teacher(server, method="logprobs", max_retries=1).advise(make_states(2)))
