"""What every teacher must do, whatever its backend; each one real."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from llm4teach.envs.plan import parse_plan
from llm4teach.envs.task import State
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.factory import make_teacher
from llm4teach.teacher_labeling.teacher import Advice, AdviceStatus, Teacher

DETERMINISTIC = {"embedded", "recorded", "none"}


_EMBEDDED = [
    pytest.param(p, marks=pytest.mark.extended) for p in ("embedded", "embedded, lettered")
]


@pytest.fixture(params=["recorded/vicuna-33b", "none", "openai", *_EMBEDDED])
def spec(request: pytest.FixtureRequest, chat_server: Any) -> tuple[str, dict[str, Any]]:
    if request.param == "openai":
        return request.param, {
            "base_url": chat_server.url,
            "model": "test-model",
            "n_samples": 3,
            "max_in_flight": 2,
        }
    if request.param == "embedded":
        return request.param, {"orders": 1}  # a third of the time; three are the default
    if request.param == "embedded, lettered":
        return "embedded", {"method": "logprobs", "permutations": 2}
    return request.param, {}


@pytest.fixture
def teacher(spec: tuple[str, dict[str, Any]]) -> Iterator[Teacher]:
    made = make_teacher(TeacherConfig(teacher=spec[0], **spec[1]), "SimpleDoorKey")
    yield made
    made.close()


def figures(advice: Advice) -> tuple[Any, ...]:
    """Everything but what it cost: the first question of a teacher also fills its caches."""
    return advice.status, advice.plans, advice.coverage, advice.n_samples, advice.replies


def test_contract(teacher: Teacher, spec: tuple[str, dict[str, Any]], states: list[State]) -> None:
    answers = list(teacher.advise(states))

    # every state exactly once, in any order
    assert sorted(a.state.key for a in answers) == sorted(s.key for s in states)
    for advice in answers:
        assert isinstance(advice.status, AdviceStatus)
        assert 0.0 <= advice.coverage <= 1.0 + 1e-9
        assert advice.entropy >= 0.0
        assert min(advice.prompt_tokens, advice.completion_tokens, advice.latency_s) >= 0
        plans = [plan for plan, _ in advice.plans]
        assert len(set(plans)) == len(plans)
        assert all(parse_plan(str(plan)) == plan for plan in plans)
        if advice.status is AdviceStatus.OK:
            assert sum(p for _, p in advice.plans) == pytest.approx(1.0)
            assert all(p > 0 for _, p in advice.plans)
        else:
            assert advice.plans == ()

    # nothing asked, nothing said
    assert list(teacher.advise([])) == []

    # the same teacher made again is the same teacher, and says the same if it says so
    again = make_teacher(TeacherConfig(teacher=spec[0], **spec[1]), "SimpleDoorKey")
    assert again.info == teacher.info
    assert re.fullmatch(r"[A-Za-z0-9.-]{1,80}", teacher.info.slug)
    if teacher.info.backend in DETERMINISTIC:
        before = {a.state.key: figures(a) for a in answers}
        for advice in again.advise(states[:2:-1]):  # other states first, in another order
            assert figures(advice) == before[advice.state.key]
    again.close()
    again.close()  # closing twice does no harm
