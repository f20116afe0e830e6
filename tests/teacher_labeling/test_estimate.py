"""Estimates of tokens before anything is asked: each backend's own count of its own questions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from asking import FAMILY, Make, make_states
from asking import make_teacher as make_openai

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.envs.task import State
from llm4teach.teacher_labeling.backends.openai.teacher import OpenAITeacher
from llm4teach.teacher_labeling.config import Price, TeacherConfig
from llm4teach.teacher_labeling.elicitation.token_counts import tokens_of
from llm4teach.teacher_labeling.factory import make_teacher
from llm4teach.teacher_labeling.labeling.estimate import Estimate, estimate
from llm4teach.teacher_labeling.teacher import Teacher

pytestmark = pytest.mark.extended

PRICE = Price(prompt=1.0, completion=10.0)


def estimated(teacher: Teacher, folder: Path, states: list[State]) -> Estimate:
    store = AdviceStore(folder, teacher.info.teacher_id, teacher.info.prompt_version)
    return estimate(teacher, store, states, PRICE)


def characters(teacher: OpenAITeacher, state: State, shared: bool) -> list[int]:
    """Of each question: own ones, or those that calibrate."""
    requests = teacher._elicitation.requests(state)
    return [
        sum(len(message["content"]) for message in request.messages)
        for request in requests
        if bool(request.shared) is shared
    ]


def test_a_server_counts_every_order_and_what_calibrates(serve: Make, tmp_path: Path) -> None:
    """To this server each character is a token. All states are asked, calibration only once."""
    server, states = serve(), make_states(100)  # key0 … key99
    teacher = make_openai(server, method="logprobs", permutations=3, calibrate=True)
    found = estimated(teacher, tmp_path, states)
    assert not server.bodies, "nothing was asked"
    truth = sum(sum(characters(teacher, state, shared=False)) for state in states)
    truth += sum(characters(teacher, states[0], shared=True))
    assert found.prompt_tokens == pytest.approx(truth, rel=2e-3)
    assert found.completion_tokens == 303
    assert not found.prompt_is_guess and not found.completion_is_bound
    assert "sample of 20 questions, by the server's tokenizer" in found.source
    assert found.cost == pytest.approx((found.prompt_tokens + 3030) / 1e6)


def test_without_tokenize_four_characters_are_a_token(chat_server: Any, tmp_path: Path) -> None:
    teacher = make_openai(chat_server, n_samples=3, max_tokens=50)
    states = make_states(4)
    found = estimated(teacher, tmp_path, states)
    assert found.prompt_tokens == sum(characters(teacher, s, shared=False)[0] // 4 for s in states)
    assert found.completion_tokens == 4 * 3 * 50
    assert found.prompt_is_guess and found.completion_is_bound
    assert "4 characters a token" in found.source and "as long as they may be" in found.source


@pytest.mark.parametrize(
    "settings",
    [
        {"method": "logprobs", "permutations": 2, "calibrate": True},
        {"method": "sampling", "n_samples": 2, "max_tokens": 16},
        {"method": "plan-logprobs"},
    ],
    ids=lambda settings: settings["method"],
)
def test_the_embedded_model_spends_what_was_estimated(
    settings: dict[str, Any], states: list[State], tmp_path: Path
) -> None:
    teacher = make_teacher(TeacherConfig(**settings), "SimpleDoorKey")
    found = estimated(teacher, tmp_path, states[2:4])
    answers = list(teacher.advise(states[2:4]))
    teacher.close()
    prompt = sum(advice.prompt_tokens for advice in answers)
    completion = sum(advice.completion_tokens for advice in answers)
    assert found.prompt_tokens == pytest.approx(prompt, rel=0.02)
    if settings["method"] == "logprobs":
        assert completion == pytest.approx(found.completion_tokens, abs=1)
    else:
        assert found.completion_is_bound
        assert 0.2 * found.completion_tokens <= completion <= found.completion_tokens + 1


def test_who_passes_advice_on_counts_too(serve: Make) -> None:
    url = serve().url
    config = TeacherConfig(teacher="openai", base_url=url, model="m", hard=True, fault="random")
    assert tokens_of(make_teacher(config, FAMILY), make_states(1)) == tokens_of(
        make_teacher(TeacherConfig(teacher="openai", base_url=url, model="m"), FAMILY),
        make_states(1),
    )
    silent = TeacherConfig(teacher="recorded/vicuna-33b", hard=True)
    assert tokens_of(make_teacher(silent, FAMILY), make_states(1)) is None
