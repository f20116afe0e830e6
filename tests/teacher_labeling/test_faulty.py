"""The faulty teacher: as much is corrupted as was said, always the same, and it is on record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import labeling_children as children
import pytest

from llm4teach.envs.plan import parse_plan
from llm4teach.envs.task import State
from llm4teach.errors import TeacherError
from llm4teach.teacher_labeling.backends.wrappers import ArgmaxTeacher, Fault, FaultyTeacher
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.factory import make_teacher
from llm4teach.teacher_labeling.teacher import Advice, AdviceStatus, Teacher

OPTIONS = tuple(
    parse_plan(text)
    for text in ("explore", "go to key > pick up key", "go to door > open door", "drop key")
)
STATES = [State(s.key, s.text, OPTIONS) for s in children.made_up_states(2_000)]


class Sure:
    """Advises the key with 0.6, the door with 0.3 and to explore with 0.1; not in every state."""

    info = children.INFO

    def __init__(self, unknown: Sequence[str] = ()) -> None:
        self.unknown = set(unknown)

    def advise(self, states: Sequence[State]) -> Iterator[Advice]:
        plans = ((OPTIONS[1], 0.6), (OPTIONS[2], 0.3), (OPTIONS[0], 0.1))
        for state in states:
            if state.key in self.unknown:
                yield Advice(state, AdviceStatus.NO_ADVICE)
            else:
                yield Advice(state, AdviceStatus.OK, plans, 1.0, 10, (f"of {state.key}",), 7, 3)

    def close(self) -> None:
        pass


def told(teacher: Teacher, states: Sequence[State] = STATES) -> dict[str, Advice]:
    return {advice.state.key: advice for advice in teacher.advise(states)}


def changed(fault: Fault) -> dict[str, Advice]:
    plain = told(Sure())
    return {
        k: a for k, a in told(FaultyTeacher(Sure(), fault)).items() if a.plans != plain[k].plans
    }


@pytest.mark.parametrize("kind", ["random", "wrong", "constant"])
def test_the_share_is_kept_and_seeded(kind: Any) -> None:
    found = changed(Fault(kind, 0.3))
    assert 0.25 < len(found) / len(STATES) < 0.35  # 4.9 standard deviations of 2,000 draws
    assert found == changed(Fault(kind, 0.3))
    assert found.keys() != changed(Fault(kind, 0.3, seed=1)).keys()
    assert found.keys() <= changed(Fault(kind, 0.6)).keys(), "more is corrupted, not other states"
    assert not changed(Fault(kind, 0.0)) and len(changed(Fault(kind, 1.0))) == len(STATES)
    backwards = told(FaultyTeacher(Sure(), Fault(kind, 0.3)), STATES[::-1])
    assert {k: backwards[k] for k in found} == found, "whatever the order"
    for key, advice in found.items():
        assert advice.replies == (f"of {key}",) and advice.prompt_tokens == 7
        assert [p for _, p in advice.plans] == [1.0] and advice.entropy == 0


@pytest.mark.parametrize("share", [0.1, 0.2, 0.4])
def test_a_few_states_and_seeds_have_their_share_too(share: float) -> None:
    """Six states, as many as SimpleDoorKey has, and six seeds."""
    for first in range(0, 300, 6):
        states = STATES[first : first + 6]
        teachers = [FaultyTeacher(Sure(), Fault("constant", share, seed)) for seed in range(6)]
        times = {state.key: 0 for state in states}
        for teacher in teachers:
            for key, advice in told(teacher, states).items():
                times[key] += len(advice.plans) == 1
        assert all(abs(n - 6 * share) < 2 for n in times.values())


def test_what_becomes_of_it() -> None:
    assert {a.plans for a in changed(Fault("constant", 0.3)).values()} == {((OPTIONS[0], 1.0),)}
    assert {a.plans for a in changed(Fault("wrong", 0.3)).values()} == {((OPTIONS[3], 1.0),)}
    counts = dict.fromkeys(OPTIONS, 0)
    for advice in changed(Fault("random", 1.0)).values():
        counts[advice.plans[0][0]] += 1
    assert min(counts.values()) > 400, "each admissible plan about equally often: 500"


def test_stale_advice_is_of_the_state_before() -> None:
    class Numbered(Sure):
        def advise(self, states: Sequence[State]) -> Iterator[Advice]:
            for i, state in enumerate(states):
                yield Advice(state, AdviceStatus.OK, ((OPTIONS[i % 4], 1.0),), 1.0)

    found = told(FaultyTeacher(Numbered(), Fault("stale", 0.5)))
    stale = 0
    for i, state in enumerate(STATES):
        plan = found[state.key].plans[0][0]
        assert plan in (OPTIONS[i % 4], OPTIONS[(i - 1) % 4])
        stale += plan == OPTIONS[(i - 1) % 4]
    assert 0.44 < stale / len(STATES) < 0.56


def test_no_advice_stays_none() -> None:
    unknown = [state.key for state in STATES[:50]]
    found = told(FaultyTeacher(Sure(unknown), Fault("constant", 1.0)))
    for key in unknown:
        assert found[key].status is AdviceStatus.NO_ADVICE and found[key].plans == ()


def test_it_is_another_teacher_and_says_how() -> None:
    names = set()
    for settings in (
        {},
        {"fault": "random"},
        {"fault": "random", "fault_share": 0.5},
        {"fault": "random", "fault_seed": 1},
        {"fault": "constant"},
        {"fault": "constant", "fault_plan": "drop key"},
    ):
        teacher = make_teacher(
            TeacherConfig(teacher="recorded/vicuna-33b", **settings), "SimpleDoorKey"
        )
        names.add(teacher.info.teacher_id)
    assert len(names) == 6
    assert sum("faulty-recorded/" in name for name in names) == 5
    assert any("random=0.5,fault_seed=0" in name for name in names)
    with pytest.raises(TeacherError, match="'fly home'"):
        make_teacher(
            TeacherConfig(teacher="recorded/vicuna-33b", fault="constant", fault_plan="fly home"),
            "SimpleDoorKey",
        )


def test_a_hard_teacher_keeps_the_likeliest_plan_alone() -> None:
    hard = ArgmaxTeacher(Sure(unknown=[STATES[0].key]))
    plain, found = told(Sure(), STATES[:9]), told(hard, STATES[:9])
    assert found[STATES[0].key].status is AdviceStatus.NO_ADVICE
    for state in STATES[1:9]:
        assert found[state.key].plans == ((OPTIONS[1], 1.0),)
        assert found[state.key].replies == plain[state.key].replies
    assert hard.info.backend == f"hard-{children.INFO.backend}"
    assert hard.info.teacher_id != children.INFO.teacher_id


def test_hard_comes_before_a_fault() -> None:
    config = TeacherConfig(teacher="recorded/vicuna-33b", hard=True, fault="random")
    info = make_teacher(config, "SimpleDoorKey").info
    assert info.backend == "faulty-hard-recorded" and "argmax,random=0.3" in info.settings
