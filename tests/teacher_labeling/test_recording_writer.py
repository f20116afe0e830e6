"""A recording of stored advice says what the store says."""

from pathlib import Path

import pytest

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.envs.plan import parse_plan
from llm4teach.envs.task import State, state_key
from llm4teach.errors import TeacherError
from llm4teach.teacher_labeling.backends.recorded import RecordedTeacher, write_recording
from llm4teach.teacher_labeling.labeling.writer import to_row
from llm4teach.teacher_labeling.teacher import (
    Advice,
    AdviceStatus,
    TeacherInfo,
    advice_from_weights,
)

INFO = TeacherInfo("embedded", "a-model", "r1", "logprobs", "orders=3", "abc")


def state(text: str) -> State:
    return State(state_key("F", text), text, (parse_plan("explore"), parse_plan("drop key")))


def test_it_is_read_back_as_it_was_stored(tmp_path: Path) -> None:
    store = AdviceStore(tmp_path / "store", INFO.teacher_id, INFO.prompt_version)
    weights = {parse_plan("explore"): 0.75, parse_plan("drop key"): 0.25}
    sure = {parse_plan("explore"): 1.0, parse_plan("drop key"): 1e-6}
    store.commit(
        [
            to_row(advice_from_weights(state("b"), weights), INFO),
            to_row(advice_from_weights(state("a"), sure), INFO),
            to_row(Advice(state("c"), AdviceStatus.INVALID), INFO),
        ]
    )
    path = tmp_path / "it.json"
    assert write_recording(path, INFO, {"F": store}, "make it") == 2
    teacher = RecordedTeacher(path, "F")
    first, second, third = teacher.advise([state("a"), state("b"), state("c")])
    assert dict(first.plans) == {parse_plan("explore"): 1.0}
    assert dict(second.plans) == pytest.approx(weights)
    assert third.status is AdviceStatus.NO_ADVICE
    assert (teacher.info.model, teacher.info.model_revision) == ("a-model", "r1")
    assert "make it" in path.read_text() and "abc" in path.read_text()
    assert write_recording(path, INFO, {"F": store}, "", only={state("b").key}) == 1
    assert '"state_text": "b"' in path.read_text() and '"a"' not in path.read_text()


def test_nothing_stored_is_nothing_to_record(tmp_path: Path) -> None:
    store = AdviceStore(tmp_path / "store", INFO.teacher_id, INFO.prompt_version)
    with pytest.raises(TeacherError, match="no advice on F"):
        write_recording(tmp_path / "it.json", INFO, {"F": store}, "")
