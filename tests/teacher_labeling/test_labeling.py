"""Labeling and the live teacher: every state once, nothing lost, whatever fails on the way."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.envs.door_key.state import Naming, door_key_state, pack
from llm4teach.envs.door_key.task import DoorKeyTask
from llm4teach.envs.plan import parse_plan
from llm4teach.envs.registry import get_task
from llm4teach.envs.task import Observations, State, describe, ground_plan
from llm4teach.errors import TeacherError
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.factory import make_teacher
from llm4teach.teacher_labeling.labeling.run import label_states
from llm4teach.teacher_labeling.labeling.writer import plans_of, to_row
from llm4teach.teacher_labeling.live import LiveTeacher
from llm4teach.teacher_labeling.teacher import Advice, AdviceStatus, TeacherInfo

FAMILY = "SimpleDoorKey"
# key seen, door seen, key held
SCENES = [(0, 0, 0), (0, 1, 0), (1, 0, 0), (0, 0, 1), (0, 1, 1), (1, 1, 0)]
STATES = [door_key_state(FAMILY, Naming.PLAIN, pack(*scene)) for scene in SCENES]


class Counting:
    """The recorded teacher, counting its questions; it may fail after some of them."""

    def __init__(self, fail_after: int | None = None) -> None:
        self._inner = make_teacher(TeacherConfig(teacher="recorded/vicuna-33b"), FAMILY)
        self.info: TeacherInfo = self._inner.info
        self.asked: list[str] = []
        self.fail_after = fail_after

    def advise(self, states: Sequence[State]) -> Iterator[Advice]:
        for state in states:
            if self.fail_after is not None and len(self.asked) >= self.fail_after:
                raise TeacherError("the server at http://127.0.0.1:1 went away")
            self.asked.append(state.key)
            yield from self._inner.advise([state])

    def close(self) -> None:
        self._inner.close()


def store_of(teacher: Counting, folder: Path) -> AdviceStore:
    return AdviceStore(folder, teacher.info.teacher_id, teacher.info.prompt_version)


def test_each_distinct_state_is_asked_once_ever(tmp_path: Path) -> None:
    teacher = Counting()
    report = label_states(teacher, store_of(teacher, tmp_path), STATES[:4] * 3)
    assert (report.distinct_questions, report.known, report.asked, report.ok) == (4, 0, 4, 4)
    again = Counting()  # another process on another day
    report = label_states(again, store_of(again, tmp_path), STATES)
    assert (report.distinct_questions, report.known, report.asked) == (6, 4, 2)
    assert set(again.asked).isdisjoint(teacher.asked)
    report = label_states(again, store_of(again, tmp_path), STATES)
    assert report.asked == 0 and len(again.asked) == 2


def test_what_was_answered_before_a_failure_is_kept(tmp_path: Path) -> None:
    teacher = Counting(fail_after=4)
    with pytest.raises(TeacherError, match="went away"):
        label_states(teacher, store_of(teacher, tmp_path), STATES)
    assert len(store_of(teacher, tmp_path).rows()) == 4
    healed = Counting()
    label_states(healed, store_of(healed, tmp_path), STATES)
    assert sorted(healed.asked + teacher.asked) == sorted(state.key for state in STATES)


def test_no_advice_is_an_answer_too(tmp_path: Path) -> None:
    unknown = door_key_state(
        FAMILY, Naming.PLAIN, pack(1, 0, 1)
    )  # the recording has never seen two keys
    teacher = Counting()
    report = label_states(teacher, store_of(teacher, tmp_path), [unknown])
    assert report.no_advice == 1
    assert label_states(teacher, store_of(teacher, tmp_path), [unknown]).asked == 0
    (row,) = store_of(teacher, tmp_path).rows()
    assert row["status"] == "no_advice" and plans_of(row) == ()


def test_advice_survives_its_row(tmp_path: Path) -> None:
    plans = ((parse_plan("go to key > pick up key"), 0.75), (parse_plan("explore"), 0.25))
    advice = Advice(STATES[2], AdviceStatus.OK, plans, coverage=0.5, replies=("raw",), cost=0.01)
    teacher = Counting()
    store_of(teacher, tmp_path).commit([to_row(advice, teacher.info)])
    (row,) = store_of(teacher, tmp_path).rows()
    assert plans_of(row) == plans
    assert row["entropy"] == pytest.approx(0.562335, abs=1e-6)  # of (3/4, 1/4), by hand
    assert (row["coverage"], row["replies"], row["cost"]) == (0.5, ["raw"], 0.01)
    assert row["teacher_id"] == teacher.info.teacher_id


def observations(n: int = 80) -> np.ndarray:
    env, rng = get_task("SimpleDoorKey").make_env(), np.random.default_rng(3)
    rows: list[np.ndarray] = []
    while len(rows) < n:
        if len(rows) % 16 == 0:
            rows.append(env.reset(seed=len(rows))[0])
        rows.append(env.step(int(rng.integers(0, 4)))[0])
    return np.stack(rows[:n])


def test_the_live_teacher_asks_only_about_the_unseen(tmp_path: Path) -> None:
    task, teacher, seen = get_task("SimpleDoorKey"), Counting(), observations()
    distinct = {state.key for state in describe(task, seen)}
    assert len(distinct) >= 2
    known = STATES[0]
    label_states(teacher, store_of(teacher, tmp_path), [known])
    live = LiveTeacher(task, store_of(teacher, tmp_path), teacher)
    for _ in range(3):
        probs = live.teacher_probs(seen)
        assert probs.shape == (len(seen), 7) and probs.dtype == np.float32
        np.testing.assert_allclose(probs.sum(1), 1, rtol=1e-6)
    live.close()
    assert live.questions.asked == len(distinct - {known.key})
    assert sorted(teacher.asked) == sorted(distinct | {known.key})
    assert len(store_of(teacher, tmp_path).rows()) == len(distinct | {known.key})


def test_states_with_large_ids_come_up_late(tmp_path: Path) -> None:
    """Ids beyond the table that the live teacher starts with, and all in another order."""

    class Renumbered(DoorKeyTask):
        def identify(self, observations: Observations) -> NDArray[np.int64]:
            return 7 * super().identify(observations) ** 2

        def state(self, state_id: int) -> State:
            return super().state(round((state_id / 7) ** 0.5))

    teacher, seen = Counting(), observations()
    task = Renumbered(FAMILY, FAMILY)
    assert task.identify(seen).max() >= 64
    live = LiveTeacher(task, store_of(teacher, tmp_path), teacher)
    plain = LiveTeacher(get_task(FAMILY), store_of(teacher, tmp_path), teacher)
    for batch in np.array_split(seen, 8):
        np.testing.assert_array_equal(live.teacher_probs(batch), plain.teacher_probs(batch))
    assert live.teacher_probs(seen[:0]).shape == (0, 7)


def test_without_a_teacher_the_unseen_have_no_advice(tmp_path: Path) -> None:
    teacher = Counting()
    live = LiveTeacher(get_task("SimpleDoorKey"), store_of(teacher, tmp_path))
    assert not live.teacher_probs(observations(10)).any()
    assert not teacher.asked and not store_of(teacher, tmp_path).rows()


def test_grounded_advice_is_the_weighted_sum_of_option_policies(tmp_path: Path) -> None:
    task, teacher, seen = get_task("SimpleDoorKey"), Counting(), observations()
    label_states(teacher, store_of(teacher, tmp_path), STATES)
    fast = LiveTeacher(task, store_of(teacher, tmp_path)).teacher_probs(seen)
    by_key = {row["state_key"]: plans_of(row) for row in store_of(teacher, tmp_path).rows()}
    for row, observation, state in zip(fast, seen, describe(task, seen), strict=True):
        slow = np.zeros(7)
        for plan, share in by_key[state.key]:
            slow += share * ground_plan(task, observation[None], plan)[0]
        np.testing.assert_allclose(row, slow / slow.sum(), rtol=1e-5)
