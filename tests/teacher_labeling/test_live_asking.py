"""The live teacher in training: in the background, by policy, through an outage."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.envs.plan import parse_plan
from llm4teach.envs.task import Mixture, Observations, State, state_key
from llm4teach.errors import TeacherError
from llm4teach.teacher_labeling import live_labelers
from llm4teach.teacher_labeling.ask_policy import AskBudgeted, AskUncertain
from llm4teach.teacher_labeling.config import LabelConfig
from llm4teach.teacher_labeling.labeling.run import label_states
from llm4teach.teacher_labeling.live import LiveTeacher
from llm4teach.teacher_labeling.live_labelers import BackgroundLabeler, LiveLabeler
from llm4teach.teacher_labeling.teacher import Advice, AdviceStatus, TeacherInfo

PLANS = tuple(parse_plan(text) for text in ("go to key", "go to door", "explore"))


class NumberTask:
    """An observation is one number, which is its state."""

    name = family = trained_as = "Numbers"
    action_names = ("a", "b", "c")
    observation_shape = (1,)
    max_steps = 1

    def identify(self, observations: Observations) -> NDArray[np.int64]:
        return observations[:, 0].astype(np.int64)

    def state(self, state_id: int) -> State:
        text = f"number {state_id}"
        return State(state_key("Numbers", text), text, PLANS)

    def ground(
        self, observations: Observations, mixtures: Sequence[Mixture], which: NDArray[np.integer]
    ) -> NDArray[np.float32]:
        probs = np.zeros((len(observations), 3), np.float32)
        for row, place in zip(probs, which, strict=True):
            for plan, share in mixtures[place]:
                row[PLANS.index(plan)] += share
        return probs


class SlowTeacher:
    """Answers state n with action n % 3, when it is let; while it is down, not at all."""

    info = TeacherInfo("openai", "m", "1", "sampling", remote=True)

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.batches = 0
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.down = False

    def advise(self, states: Sequence[State]) -> Iterator[Advice]:
        self.batches += 1
        for state in states:
            if self.down:
                raise TeacherError("the server at http://127.0.0.1:1 is down")
            self.asked.append(state.text)
            assert self.may_answer.wait(300)
            plan = PLANS[int(state.text.split()[1]) % 3]
            yield Advice(state, AdviceStatus.OK, ((plan, 1.0),), 1.0)

    def close(self) -> None:
        pass


TASK = NumberTask()


def numbers(*values: int) -> Observations:
    return np.array(values, np.uint8)[:, None]


def expected(*values: int) -> NDArray[np.float32]:
    return np.eye(3, dtype=np.float32)[np.array(values) % 3]


def store_in(folder: Path) -> AdviceStore:
    return AdviceStore(folder, SlowTeacher.info.teacher_id, "")


def eventually(condition: Callable[[], bool], seconds: float = 300.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.005)


def test_training_goes_on_while_the_teacher_thinks(tmp_path: Path) -> None:
    teacher, store = SlowTeacher(), store_in(tmp_path)
    label_states(teacher, store, [TASK.state(0)])
    teacher.may_answer.clear()
    live = LiveTeacher(TASK, store, BackgroundLabeler(teacher, store))
    seen = numbers(0, 1, 2, 1, 4)
    for _ in range(3):  # the known state has its advice, the others none yet
        np.testing.assert_array_equal(live.teacher_probs(seen)[:1], expected(0))
        assert not live.teacher_probs(seen)[1:].any()
    teacher.may_answer.set()
    eventually(lambda: bool(live.teacher_probs(seen).sum() == 5))
    np.testing.assert_array_equal(live.teacher_probs(seen), expected(0, 1, 2, 1, 4))
    live.close()
    assert sorted(teacher.asked) == [f"number {n}" for n in (0, 1, 2, 4)]
    assert live.questions.asked == 3
    assert not store_in(tmp_path).missing(TASK.state(n).key for n in (0, 1, 2, 4))


def test_closing_keeps_what_is_in_flight_and_asks_no_more(tmp_path: Path) -> None:
    teacher, store = SlowTeacher(), store_in(tmp_path)
    teacher.may_answer.clear()
    live = LiveTeacher(TASK, store, BackgroundLabeler(teacher, store))
    live.teacher_probs(numbers(*range(20)))
    eventually(lambda: len(teacher.asked) == 1)
    threading.Timer(0.2, teacher.may_answer.set).start()
    live.close()
    assert len(teacher.asked) == len(store_in(tmp_path).rows()) < 20


def test_a_server_that_is_down_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_labelers, "FIRST_RETRY_S", 0.02)
    teacher, store, told = SlowTeacher(), store_in(tmp_path), list[str]()
    label_states(teacher, store, [TASK.state(0)])
    teacher.down = True
    asking = BackgroundLabeler(teacher, store, warn=told.append)
    live = LiveTeacher(TASK, store, asking)
    for n in range(1, 6):
        probs = live.teacher_probs(numbers(0, n))
        assert probs[0].any() and not probs[1].any()
    eventually(lambda: teacher.batches >= 4)
    assert len(told) == 1 and "training goes on" in told[0] and "127.0.0.1:1" in told[0]
    teacher.down = False
    seen = numbers(*range(6))
    eventually(lambda: bool(live.teacher_probs(seen).sum() == 6))
    np.testing.assert_array_equal(live.teacher_probs(seen), expected(*range(6)))
    live.close()
    assert len(told) == 1 and sorted(teacher.asked) == [f"number {n}" for n in range(6)]


def test_what_breaks_in_the_background_is_heard_of(tmp_path: Path) -> None:
    class Broken(SlowTeacher):
        def advise(self, states: Sequence[State]) -> Iterator[Advice]:
            raise ZeroDivisionError("a bug")

    store = store_in(tmp_path)
    live = LiveTeacher(TASK, store, BackgroundLabeler(Broken(), store))

    def fails() -> bool:
        try:
            live.teacher_probs(numbers(1))
        except ZeroDivisionError:
            return True
        return False

    eventually(fails)
    live.close()


def test_the_answers_of_another_run_arrive_too(tmp_path: Path) -> None:
    mine, other = SlowTeacher(), SlowTeacher()
    other.may_answer.clear()
    states = [TASK.state(n) for n in (1, 2)]
    rival = threading.Thread(target=label_states, args=(other, store_in(tmp_path), states))
    rival.start()
    eventually(lambda: len(other.asked) == 1)
    live = LiveTeacher(TASK, store_in(tmp_path), BackgroundLabeler(mine, store_in(tmp_path)))
    first = int(other.asked[0].split()[1])
    assert not live.teacher_probs(numbers(first)).any()
    other.may_answer.set()
    rival.join()
    eventually(lambda: bool(live.teacher_probs(numbers(first)).any()))
    live.close()
    assert not mine.asked


def test_a_budget_ends_the_questions_and_not_the_training(tmp_path: Path) -> None:
    teacher, store = SlowTeacher(), store_in(tmp_path)
    live = LiveTeacher(TASK, store, LiveLabeler(teacher, store, LabelConfig(max_requests=2)))
    for _ in range(3):
        probs = live.teacher_probs(numbers(0, 1, 2, 3, 4))
        assert probs.sum() == 2
    assert len(teacher.asked) == 2


def test_budgeted_asks_the_commonest_and_at_most_so_many_in_a_thousand_steps(
    tmp_path: Path,
) -> None:
    teacher, store = SlowTeacher(), store_in(tmp_path)
    live = LiveTeacher(TASK, store, teacher, policy=AskBudgeted(2.9))
    live.teacher_probs(numbers(1, 2, 2, 3, 3, 3, 4))
    assert sorted(teacher.asked) == ["number 2", "number 3"]
    live.teacher_probs(numbers(*[1] * 900, 4))  # 908 steps so far
    assert len(teacher.asked) == 2
    live.teacher_probs(numbers(*[4] * 99))  # 1,007
    assert sorted(teacher.asked)[2:] == ["number 4"], "the commonest, when the window has moved"
    # At random: never more than two in any 1,000 steps in a row.
    policy, rng, times, step = AskBudgeted(2.0), np.random.default_rng(0), list[int](), 0
    for _ in range(300):
        size = int(rng.integers(1, 200))
        step += size
        policy.saw(size)
        counts = rng.integers(1, 9, int(rng.integers(1, 5)))
        chosen = policy.choose(numbers(0), np.zeros(1, int), counts, np.ones_like(counts))
        assert counts[chosen].min(initial=9) >= counts[~chosen].max(initial=0)
        times += [step] * int(chosen.sum())
    assert len(times) > 50
    assert all(later - earlier >= 1_000 for earlier, later in zip(times, times[2:], strict=False))


@pytest.mark.parametrize(
    ("rate", "asked_at"), [(0.5, [100, 2_100, 4_100]), (0.0, []), (1e-9, [100])]
)
def test_less_than_one_question_in_1000_steps(rate: float, asked_at: list[int]) -> None:
    policy, times = AskBudgeted(rate), []
    for step in range(100, 5_001, 100):
        policy.saw(100)
        if policy.choose(numbers(0), np.zeros(1, int), np.ones(1, int), np.ones(1, int)).any():
            times.append(step)
    assert times == asked_at


def test_uncertain_asks_where_the_student_is_undecided(tmp_path: Path) -> None:
    def entropy(observations: Observations) -> NDArray[np.float32]:
        return observations[:, 0].astype(np.float32) / 10

    teacher, store = SlowTeacher(), store_in(tmp_path)
    label_states(SlowTeacher(), store, [TASK.state(30)])
    live = LiveTeacher(TASK, store, teacher, policy=AskUncertain(entropy, 1.0))
    probs = live.teacher_probs(numbers(3, 12, 30, 9, 10, 12))
    assert sorted(teacher.asked) == ["number 10", "number 12"]
    assert probs.any(axis=1).tolist() == [False, True, True, False, True, True]
    # One undecided observation of a state is enough.
    policy = AskUncertain(lambda observations: np.array([0.1, 2.0, 0.3], np.float32), 1.0)
    assert policy.choose(
        numbers(1, 2, 3), np.array([0, 1, 1]), np.array([1, 2]), np.ones(2, int)
    ).tolist() == [
        False,
        True,
    ]


def test_a_hit_looks_nothing_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher, store = SlowTeacher(), store_in(tmp_path)
    live = LiveTeacher(TASK, store, teacher)
    seen = numbers(*np.random.default_rng(0).integers(0, 50, 64))
    ids = TASK.identify(seen)
    live.places(ids, seen)
    for owner, name in ((AdviceStore, "lookup"), (LiveTeacher, "_meet"), (NumberTask, "state")):
        monkeypatch.delattr(owner, name)
    live.places(ids, seen)
