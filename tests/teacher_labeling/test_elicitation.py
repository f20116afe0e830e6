"""The three elicitations, apart from any engine: what they ask, and what they make of answers."""

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from probe import probe_states

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.envs.plan import parse_plan
from llm4teach.envs.task import State
from llm4teach.errors import TeacherError
from llm4teach.teacher_labeling.backends.openai.protocol import rescaled
from llm4teach.teacher_labeling.config import Price, TeacherConfig
from llm4teach.teacher_labeling.elicitation.base import Answer, Elicitation, to_advice
from llm4teach.teacher_labeling.elicitation.factory import make_elicitation
from llm4teach.teacher_labeling.elicitation.option_logprobs import CONTENT_FREE, orders_of
from llm4teach.teacher_labeling.factory import make_teacher
from llm4teach.teacher_labeling.labeling.writer import to_row
from llm4teach.teacher_labeling.teacher import AdviceStatus, TeacherInfo, Usage

FAMILY = "SimpleDoorKey"
STATE = probe_states(FAMILY)[1]  # explore; go to key, pick up key; go to door, open door
EXPLORE, KEY, DOOR = STATE.options


def elicitation(method: str, **settings: Any) -> Elicitation:
    return make_elicitation(TeacherConfig(method=method, **settings), FAMILY)  # type: ignore[arg-type]


def lettered(*probabilities: float) -> Answer:
    return Answer(scores={"ABCDEFG"[i]: math.log(p) for i, p in enumerate(probabilities)})


def test_sampling_by_hand() -> None:
    asked = elicitation("sampling", n_samples=4)
    (question,) = asked.requests(STATE)
    assert (question.n, question.temperature, question.labels) == (4, 1.0, ())
    replies = (
        "Action: {explore}",
        "no idea",
        "Action: explore",
        "Action: {go to key, pick up key}",
    )
    verdict = asked.judge(STATE, [Answer(replies)])
    assert verdict.weights == {EXPLORE: 0.5, KEY: 0.25}  # a quarter is no plan
    assert verdict.replies == replies


def test_verbalized_by_hand() -> None:
    asked = elicitation("verbalized", n_samples=10)
    (question,) = asked.requests(STATE)
    assert (question.n, question.temperature) == (1, 0.0)  # without chance one is enough
    assert "B) go to key, pick up key" in question.messages[-1]["content"]
    verdict = asked.judge(STATE, [Answer(("A: 30%\nB: 90%\nC: 30%",))])
    assert verdict.weights == pytest.approx({EXPLORE: 0.2, KEY: 0.6, DOOR: 0.2})
    assert verdict.raw_sum == pytest.approx(1.5)
    broken = asked.judge(STATE, [Answer(("A: 30%\nB: 90%",))])
    assert broken.weights == {} and broken.raw_sum is None


def test_several_lists_of_percentages_are_averaged_and_bad_ones_count_against_the_coverage() -> (
    None
):
    asked = elicitation("verbalized", n_samples=4, temperature=0.7)
    good = ("A: 100%\nB: 0%\nC: 0%", "A: 0%\nB: 50%\nC: 50%")
    verdict = asked.judge(STATE, [Answer((*good, "hm", "A: 1%"))])
    advice = to_advice(STATE, verdict, Usage(), 0.0, Price())
    assert dict(advice.plans) == pytest.approx({EXPLORE: 0.5, KEY: 0.25, DOOR: 0.25})
    assert advice.coverage == pytest.approx(0.5)
    assert advice.raw_sum == pytest.approx(1.0)


def test_logprobs_by_hand() -> None:
    """Two rotations; in each the letters' own probabilities, normalized, then averaged."""
    asked = elicitation("logprobs", permutations=2)
    first, second = asked.requests(STATE)
    assert first.labels == ("A", "B", "C") and first.n == 1
    assert "A) explore\nB) go to key" in first.messages[-1]["content"]
    assert "A) go to key, pick up key\nB) go to door" in second.messages[-1]["content"]
    verdict = asked.judge(STATE, [lettered(0.4, 0.2, 0.2), lettered(0.1, 0.1, 0.2)])
    # normalized: (1/2, 1/4, 1/4) for explore, key, door; (1/4, 1/4, 1/2) for key, door, explore
    shares = {plan: weight / 0.6 for plan, weight in verdict.weights.items()}
    assert shares == pytest.approx({EXPLORE: 0.5, KEY: 0.25, DOOR: 0.25})
    assert math.fsum(verdict.weights.values()) == pytest.approx(0.6)  # (0.8 + 0.4) / 2
    assert len(verdict.replies) == 2 and "A {explore} -0.916291" in verdict.replies[0]


def test_permutations_take_the_letters_own_weight_out() -> None:
    """A model that looks at letters only says nothing, once each option has had each letter."""
    asked = elicitation("logprobs", permutations=3)
    verdict = asked.judge(STATE, [lettered(0.7, 0.2, 0.1)] * 3)
    assert list(verdict.weights.values()) == pytest.approx([1 / 3] * 3)
    biased = elicitation("logprobs", permutations=1).judge(STATE, [lettered(0.7, 0.2, 0.1)])
    assert biased.weights[EXPLORE] == pytest.approx(0.7)


def test_calibration_divides_by_what_is_said_of_nothing() -> None:
    asked = elicitation("logprobs", permutations=1, calibrate=True)
    question, bare = asked.requests(STATE)
    assert STATE.text in question.messages[-1]["content"] and not question.shared
    assert CONTENT_FREE in bare.messages[-1]["content"] and bare.shared
    assert STATE.text not in bare.messages[-1]["content"]
    verdict = asked.judge(STATE, [lettered(0.5, 0.25, 0.25), lettered(0.5, 0.25, 0.25)])
    assert list(verdict.weights.values()) == pytest.approx([1 / 3] * 3)
    verdict = asked.judge(STATE, [lettered(0.4, 0.4, 0.1), lettered(0.8, 0.1, 0.1)])
    # 0.4/0.8 : 0.4/0.1 : 0.1/0.1 = 0.5 : 4 : 1, of 5.5
    assert {p: w / 0.9 for p, w in verdict.weights.items()} == pytest.approx(
        {EXPLORE: 0.5 / 5.5, KEY: 4 / 5.5, DOOR: 1 / 5.5}
    )


def test_temperature_flattens() -> None:
    hot = elicitation("logprobs", permutations=1, temperature=2.0)
    verdict = hot.judge(STATE, [lettered(0.64, 0.16, 0.04)])
    odds = [0.8, 0.4, 0.2]  # square roots
    assert list(verdict.weights.values()) == pytest.approx([0.84 * o / 1.4 for o in odds])
    with pytest.raises(TeacherError, match="temperature must be above 0"):
        elicitation("logprobs", temperature=0.0)


def test_no_score_is_no_advice_and_one_order_without_any_does_no_harm() -> None:
    asked = elicitation("logprobs", permutations=2)
    verdict = asked.judge(STATE, [Answer(), Answer()])
    assert to_advice(STATE, verdict, Usage(), 0, Price()).status is AdviceStatus.INVALID
    verdict = asked.judge(STATE, [Answer(), lettered(0.2, 0.2, 0.4)])
    advice = to_advice(STATE, verdict, Usage(), 0, Price())
    assert dict(advice.plans)[EXPLORE] == pytest.approx(0.5)
    assert advice.coverage == pytest.approx(0.4)


@pytest.mark.parametrize("method", ["verbalized", "logprobs"])
def test_nothing_to_choose_from_is_not_asked(method: str) -> None:
    assert elicitation(method).requests(replace(STATE, options=())) == []


def test_too_many_options() -> None:
    plans = tuple(parse_plan(f"go to box{i}") for i in range(60))
    with pytest.raises(TeacherError, match="60 options"):
        elicitation("logprobs").requests(State("k", "text", plans))


@given(st.integers(1, 6), st.integers(1, 24))
def test_orders_are_distinct_and_begin_with_rotations(n: int, permutations: int) -> None:
    plans = tuple(parse_plan(f"go to box{i}") for i in range(n))
    orders = orders_of(plans, permutations)
    assert len(set(orders)) == len(orders) == min(permutations, math.factorial(n))
    assert all(sorted(order) == sorted(plans) for order in orders)
    assert orders[0] == plans
    if permutations >= n:  # each option has had each letter
        assert all(len(set(place)) == n for place in zip(*orders[:n], strict=True))
    assert orders == orders_of(plans, permutations)


def test_forced_scores_are_set_to_the_free_scale() -> None:
    """Of A, B, C with true p 0.6, 0.2, 0.05 the list told A and B only; its least was 0.1."""
    forced = {"A": math.log(0.6 / 0.85), "B": math.log(0.2 / 0.85), "C": math.log(0.05 / 0.85)}
    free = {"A": math.log(0.6), "B": math.log(0.2)}
    whole = rescaled(forced, free, least=math.log(0.1))
    assert {k: math.exp(v) for k, v in whole.items()} == pytest.approx(
        {"A": 0.6, "B": 0.2, "C": 0.05}
    )
    unseen = rescaled(forced, {}, least=math.log(0.001))
    assert math.fsum(map(math.exp, unseen.values())) == pytest.approx(0.001)  # no more than that


def test_settings_that_change_answers_change_the_teacher() -> None:
    settings: list[dict[str, Any]] = [
        {"method": "sampling"},
        {"method": "sampling", "n_samples": 5},
        {"method": "sampling", "temperature": 0.5},
        {"method": "verbalized"},
        {"method": "verbalized", "max_tokens": 300},
        {"method": "logprobs"},
        {"method": "logprobs", "permutations": 2},
        {"method": "logprobs", "temperature": 2},
        {"method": "logprobs", "calibrate": True},
    ]
    made = [make_elicitation(TeacherConfig(**s), FAMILY) for s in settings]
    assert len({(e.method, e.settings) for e in made}) == len(settings)
    # the ways of asking that there were before keep their advice
    assert made[0].settings == "n=10,temperature=1,seed=0,max_tokens=200"
    embedded = make_teacher(TeacherConfig(), FAMILY)
    assert (embedded.info.method, embedded.info.settings) == ("logprobs", "orders=1")


def test_a_method_that_does_not_fit() -> None:
    with pytest.raises(TeacherError, match="embedded engine's"):
        elicitation("plan-logprobs")
    with pytest.raises(TeacherError, match=r"does not list the \$options"):
        elicitation("logprobs", prompt="sampling")


def test_all_that_is_known_of_an_answer_is_stored(tmp_path: Path) -> None:
    asked = elicitation("verbalized")
    verdict = asked.judge(STATE, [Answer(("A: 30%\nB: 90%\nC: 30%",))])
    spent = Usage()
    for tokens in ((100, 20), (11, 2)):
        spent.add(*tokens)
    advice = to_advice(STATE, verdict, spent, 1.5, Price(prompt=1.0, completion=10.0))
    info = TeacherInfo(
        "openai", "m", "rev7", asked.method, asked.settings, prompt_version=asked.prompt_version
    )
    store = AdviceStore(tmp_path, info.teacher_id, info.prompt_version)
    store.commit([to_row(advice, info)])
    (row,) = store.rows()
    assert {o["plan"]: o["probability"] for o in row["options"]}[str(KEY)] == pytest.approx(0.6)
    expected = {
        "coverage": 1.0,
        "raw_sum": pytest.approx(1.5),
        "method": "verbalized",
        "settings": "n=1,temperature=0,seed=0,max_tokens=200",
        "n_samples": 1,
        "replies": ["A: 30%\nB: 90%\nC: 30%"],
        "prompt_tokens": 111,
        "completion_tokens": 22,
        "latency_s": 1.5,
        "cost": pytest.approx((111 + 220) / 1e6),
        "prompt_version": asked.prompt_version,
        "model": "m",
        "model_revision": "rev7",
        "entropy": pytest.approx(-2 * 0.2 * math.log(0.2) - 0.6 * math.log(0.6)),
    }
    assert {name: row[name] for name in expected} == expected


@pytest.mark.extended
@pytest.mark.parametrize("method", ["sampling", "verbalized", "logprobs"])
def test_the_embedded_engine_can_do_all_three(method: str) -> None:
    """Real replies of the small LLM; a state's advice does not depend on what came before."""
    config = TeacherConfig(method=method, n_samples=2, max_tokens=32, permutations=2)  # type: ignore[arg-type]
    teacher = make_teacher(config, FAMILY)
    first, second = list(teacher.advise([STATE, probe_states(FAMILY)[0]]))
    again = next(iter(teacher.advise([STATE])))
    teacher.close()
    assert (first.state, second.state) == (STATE, probe_states(FAMILY)[0])
    assert len(first.replies) == {"sampling": 2, "verbalized": 1, "logprobs": 2}[method]
    assert first.prompt_tokens > 100 and first.completion_tokens > 0
    assert (again.plans, again.replies) == (first.plans, first.replies)
    if method == "logprobs":
        assert 0 < first.coverage <= 1
        assert len(first.plans) == 3
        assert all(a[1] >= b[1] for a, b in pairwise(first.plans))
