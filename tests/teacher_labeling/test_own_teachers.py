"""Teachers outside this package: functions, objects, factories, and what is none."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llm4teach.envs.plan import named_plan
from llm4teach.envs.task import State
from llm4teach.errors import TeacherError
from llm4teach.teacher_labeling.backends.function import FunctionTeacher
from llm4teach.teacher_labeling.config import LabelConfig, TeacherConfig
from llm4teach.teacher_labeling.factory import BACKENDS, find_backend, make_teacher
from llm4teach.teacher_labeling.labeling.budget import price_of
from llm4teach.teacher_labeling.teacher import AdviceStatus

STATE = State("k", "a red door", (named_plan("open door"), named_plan("look away")))
SOURCE = """
from llm4teach.teacher_labeling.backends.function import FunctionTeacher
from llm4teach.teacher_labeling.factory import Backend

def always_open(text, options):
    return {"open door": 3, "look away": 1}

teacher = FunctionTeacher(always_open)

def make(config, family):
    return FunctionTeacher(always_open, name=f"for {family}")

backend = Backend(lambda config, family, model, key: teacher, "opens doors")
number = 3

def make_nothing(config, family):
    return None
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "own_teachers.py").write_text(SOURCE)
    yield tmp_path
    sys.modules.pop("own_teachers", None)


@pytest.mark.parametrize("attribute", ["teacher", "make", "backend"])
def test_it_is_asked_like_any_other(here: Path, attribute: str) -> None:
    config = TeacherConfig(teacher=f"own_teachers:{attribute}")
    teacher = make_teacher(config, "Doors")
    (advice,) = teacher.advise([STATE])
    assert advice.status is AdviceStatus.OK
    assert [(str(plan), p) for plan, p in advice.plans] == [
        ("open door", 0.75),
        ("look away", 0.25),
    ]
    price = price_of(config, LabelConfig(), teacher.info)
    assert price is not None and price.is_free, "a teacher in this process costs nothing"
    hard = make_teacher(config.model_copy(update={"hard": True}), "Doors")
    (advice,) = hard.advise([STATE])
    assert [str(plan) for plan, p in advice.plans if p] == ["open door"], "wrappers apply, too"


def test_its_identity_follows_its_source() -> None:
    def one(text: str, options: tuple[str, ...]) -> str:
        return options[0]

    def other(text: str, options: tuple[str, ...]) -> str:
        return options[1]

    first, second = FunctionTeacher(one, "rules").info, FunctionTeacher(other, "rules").info
    assert first != second and first == FunctionTeacher(one, "rules").info
    assert FunctionTeacher(one, "rules", "7").info.teacher_id == "function/rules@7/function"


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("close door", "it must return one of the options"),
        ({"open door": -1}, "weights of 0 or more"),
        ({"open door": float("nan")}, "weights of 0 or more"),
        (ZeroDivisionError("by zero"), "failed on 'a red door': ZeroDivisionError: by zero"),
    ],
)
def test_what_is_no_advice_is_refused(said: Any, problem: str) -> None:
    def advise(text: str, options: tuple[str, ...]) -> Any:
        if isinstance(said, Exception):
            raise said
        return said

    with pytest.raises(TeacherError, match=problem):
        list(FunctionTeacher(advise).advise([STATE]))


def test_one_that_does_not_know_has_no_advice() -> None:
    (advice,) = FunctionTeacher(lambda text, options: {}).advise([STATE])
    assert advice.status is AdviceStatus.INVALID and not advice.plans


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("own_teachers:number", "is no teacher, but 3"),
        ("own_teachers:missing", "has no 'missing'"),
        ("own_nothing:teacher", "there is no module 'own_nothing'"),
        ("own_teachers:make_nothing", "which has no advise or no info"),
        ("nobody", "there is no teacher 'nobody'; choose one of .* or your own as module:attr"),
    ],
)
def test_what_is_no_teacher_is_refused(here: Path, spec: str, problem: str) -> None:
    with pytest.raises(TeacherError, match=problem):
        make_teacher(TeacherConfig(teacher=spec), "Doors")


@pytest.mark.parametrize(("remote", "priced"), [(False, False), (True, True), (True, False)])
def test_its_entry_states_whether_it_is_remote_and_priced(
    here: Path, remote: bool, priced: bool
) -> None:
    (here / "own_teachers.py").write_text(
        SOURCE + f"stated = Backend(backend.make, '', remote={remote}, priced={priced})\n"
    )
    config = TeacherConfig(teacher="own_teachers:stated", hard=True)
    info = make_teacher(config, "Doors").info
    assert (info.remote, info.is_priced) == (remote, priced)
    price = price_of(config, LabelConfig(), info)
    assert price is None if priced else price is not None and price.is_free


def test_the_entries_of_this_package_agree_with_their_teachers() -> None:
    for name in ("none", "recorded/vicuna-33b", "embedded", "openai"):
        backend = find_backend(name)
        assert backend is not None
        info = make_teacher(TeacherConfig(teacher=name, model="m"), "SimpleDoorKey").info
        assert (backend.remote, backend.priced) == (info.remote, info.is_priced), name
    assert [name for name, backend in BACKENDS.items() if backend.remote] == ["openai"]


def test_the_shortest_example(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(__file__).resolve().parents[2] / "examples"
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])
    body = (folder / "none_teacher.py").read_text().partition("\nclass ")[2]
    assert len([line for line in body.splitlines() if line.strip()]) <= 15
    config = TeacherConfig(teacher="none_teacher:teacher")
    (advice, silent) = make_teacher(config, "Doors").advise([STATE, replace(STATE, options=())])
    assert [p for _, p in advice.plans] == [0.5, 0.5]
    assert silent.plans == ()
