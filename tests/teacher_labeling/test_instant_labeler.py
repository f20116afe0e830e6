"""Teachers whose answers cost nothing: the advice as stored, each answer once, in few parts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.datasets.storage.parquet import flat_part_names
from llm4teach.envs.plan import parse_plan
from llm4teach.envs.registry import get_task
from llm4teach.envs.task import State, state_key
from llm4teach.teacher_labeling import live_labelers
from llm4teach.teacher_labeling.backends.function import FunctionTeacher
from llm4teach.teacher_labeling.backends.uniform import UniformTeacher
from llm4teach.teacher_labeling.config import LabelConfig, TeacherConfig
from llm4teach.teacher_labeling.factory import make_teacher
from llm4teach.teacher_labeling.live import LiveTeacher
from llm4teach.teacher_labeling.live_labelers import InstantLabeler, LiveLabeler, labeler_of
from llm4teach.teacher_labeling.teacher import Teacher

PLANS = tuple(map(parse_plan, ("explore", "go to red ball", "pick up red ball")))


def states(numbers: Sequence[int]) -> list[State]:
    texts = [f"text {i}" for i in numbers]
    return [
        State(state_key("Texts", text), text, PLANS[: i % 4])
        for i, text in zip(numbers, texts, strict=True)
    ]


def store_of(teacher: Teacher, folder: Path) -> AdviceStore:
    return AdviceStore(folder, teacher.info.teacher_id, teacher.info.prompt_version)


def live_teacher(folder: Path, labeler: type[LiveLabeler]) -> LiveTeacher:
    teacher = UniformTeacher()
    store = store_of(teacher, folder)
    return LiveTeacher(get_task("SimpleDoorKey"), store, labeler(teacher, store))


def test_advice_is_that_of_a_labeler_that_stores_each_batch(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    instant = live_teacher(tmp_path / "instant", InstantLabeler)
    obvious = live_teacher(tmp_path / "obvious", LiveLabeler)
    for _ in range(20):
        asked = states(rng.integers(0, 200, 12).tolist())
        assert instant.mixtures(asked) == obvious.mixtures(asked)
    for live in (instant, obvious):
        live.close()
    assert instant.questions.asked == obvious.questions.asked
    stored = [
        {row["question_key"]: row["options"] for row in store_of(UniformTeacher(), folder).rows()}
        for folder in (tmp_path / "instant", tmp_path / "obvious")
    ]
    assert stored[0] == stored[1]
    assert len(stored[0]) == instant.questions.asked


def test_many_batches_become_few_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_labelers, "COMMIT_EVERY_ROWS", 50)
    live = live_teacher(tmp_path, InstantLabeler)
    for i in range(120):
        live.mixtures(states([4 * i + 1]))
    assert len(flat_part_names(tmp_path)) == 7  # of 1, 2, 4, 8, 16, 32 and 50 rows
    for _ in range(2):
        live.close()
        assert len(flat_part_names(tmp_path)) == 8
    assert len(store_of(UniformTeacher(), tmp_path).rows()) == 120


def test_two_at_once_store_each_answer_once(tmp_path: Path) -> None:
    both = [live_teacher(tmp_path, InstantLabeler) for _ in range(2)]
    for live in both:
        live.mixtures(states(range(1, 4)))
    for live in both:
        live.close()
    assert len(store_of(UniformTeacher(), tmp_path).rows()) == 3


@pytest.mark.parametrize("name", ["none", "expert", "recorded/qwen2.5-coder-1.5b-go-to-door"])
def test_teachers_that_need_no_model_are_instant(name: str, tmp_path: Path) -> None:
    teacher = make_teacher(TeacherConfig(teacher=name), "MiniGridRaw")
    assert isinstance(labeler_of(teacher, store_of(teacher, tmp_path)), InstantLabeler)
    hard = make_teacher(TeacherConfig(teacher=name, hard=True), "MiniGridRaw")
    assert hard.info.instant


def test_a_budget_and_a_function_that_may_cost_are_kept_count_of(tmp_path: Path) -> None:
    teacher = UniformTeacher()
    limited = labeler_of(teacher, store_of(teacher, tmp_path), LabelConfig(max_requests=2))
    assert not isinstance(limited, InstantLabeler)
    live = LiveTeacher(get_task("SimpleDoorKey"), store_of(teacher, tmp_path), limited)
    assert [bool(mixture) for mixture in live.mixtures(states([1, 5, 9]))].count(True) == 2

    function = FunctionTeacher(lambda text, options: options[0])
    assert not isinstance(labeler_of(function, store_of(function, tmp_path)), InstantLabeler)
