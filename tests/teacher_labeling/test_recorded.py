"""The recorded teacher: the published figures come out as published; bad files are refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llm4teach.envs.plan import parse_plan
from llm4teach.envs.task import State
from llm4teach.errors import TeacherError
from llm4teach.teacher_labeling.backends.recorded import RecordedTeacher, recordings
from llm4teach.teacher_labeling.teacher import AdviceStatus

FAMILY = "SimpleDoorKey"


def published() -> Any:
    return json.loads(recordings()["vicuna-33b"].read_bytes())


@pytest.fixture
def teacher() -> RecordedTeacher:
    return RecordedTeacher(recordings()["vicuna-33b"], FAMILY)


def test_published_figures(teacher: RecordedTeacher, states: list[State]) -> None:
    advice = {a.state.text: a for a in teacher.advise(states)}
    at_door = advice["Agent sees <door>, holds <key>."]
    # 0.62 "go to door > open door with key" and 0.30 "go to door > open door" are one plan.
    assert at_door.plans[0][0] == parse_plan("go to door > open door")
    assert at_door.plans[0][1] == pytest.approx(0.92)
    assert at_door.coverage == pytest.approx(1.0)
    with_key = advice["Agent sees <nothing>, holds <key>."]
    assert with_key.coverage == pytest.approx(0.98)  # "use key" is not an option
    assert with_key.plans[0][1] == pytest.approx(0.68 / 0.98)
    assert any("pick up handle > use key" in reply for reply in with_key.replies)
    assert len(with_key.plans) == 5


def test_the_order_of_seen_objects_does_not_matter(
    teacher: RecordedTeacher, states: list[State]
) -> None:
    for text in (
        "Agent sees <key>, <door>, holds <nothing>.",
        "Agent sees <door>, <key>, holds <nothing>.",
    ):
        (advice,) = teacher.advise([State("k", text, states[0].options)])
        assert str(advice.plans[0][0]).startswith("go to key > pick up key > go to door")


def test_a_state_that_is_not_in_the_recording(
    teacher: RecordedTeacher, unheard_of_state: State
) -> None:
    (advice,) = teacher.advise([unheard_of_state])
    assert advice.status is AdviceStatus.NO_ADVICE
    assert advice.plans == ()


def test_a_state_with_only_invalid_replies(tmp_path: Path, states: list[State]) -> None:
    recording = published()
    recording["families"][FAMILY][0]["replies"] = [{"plan": "go to east!", "probability": 1}]
    path = tmp_path / "r.json"
    path.write_text(json.dumps(recording))
    (advice,) = RecordedTeacher(path, FAMILY).advise(states[:1])
    assert advice.status is AdviceStatus.INVALID
    assert advice.replies == ("1 go to east!",)


def test_another_content_is_another_teacher(tmp_path: Path, teacher: RecordedTeacher) -> None:
    recording = published()
    recording["families"][FAMILY].pop()
    path = tmp_path / "vicuna-33b.json"
    path.write_text(json.dumps(recording))
    assert RecordedTeacher(path, FAMILY).info.teacher_id != teacher.info.teacher_id


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda r: r.pop("source"), "source"),
        (lambda r: r["families"][FAMILY][0]["replies"][0].update(probability=1.5), "less than"),
        (lambda r: r["families"][FAMILY][0]["replies"][0].update(probability=-0.5), "greater than"),
        (lambda r: r["families"][FAMILY][0]["replies"][0].update(probability=0.9), "sum to 1"),
        (lambda r: r["families"][FAMILY][0]["replies"][0].update(probability="NaN"), "finite"),
        (lambda r: r["families"][FAMILY].append(r["families"][FAMILY][0]), "found 2 times"),
        (lambda r: r.update(families={}), "no task family"),
        (lambda r: r.update(families=7), "families"),
    ],
)
def test_broken_recordings_are_refused(
    break_it: Callable[[Any], object], says: str, tmp_path: Path
) -> None:
    recording = published()
    break_it(recording)
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(recording))
    with pytest.raises(TeacherError, match=says) as caught:
        RecordedTeacher(path, FAMILY)
    assert "broken.json" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1, 2]", b"null"])
def test_not_a_recording_at_all(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_bytes(content)
    with pytest.raises(TeacherError, match=r"r\.json"):
        RecordedTeacher(path, FAMILY)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="cannot be read"):
        RecordedTeacher(tmp_path / "none.json", FAMILY)
