"""Naming teachers: every known name works, every wrong one is answered with the right ones."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llm4teach.teacher_labeling.backends import list_teachers, make_teacher
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.recorded_backend import recordings
from llm4teach.teacher_labeling.teacher import TeacherError


def test_list(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LLM4TEACH_CACHE", str(tmp_path))
    choices = {choice.spec: choice for choice in list_teachers()}
    assert choices["recorded/vicuna-33b"].ready
    assert choices["embedded/smollm2-135m"].ready
    large = choices["embedded/qwen2.5-coder-1.5b"]
    assert not large.ready
    assert "llm4teach teachers --fetch qwen2.5-coder-1.5b" in large.hint
    with pytest.raises(TeacherError, match="--fetch"):
        make_teacher(large.spec)


@pytest.mark.parametrize(
    "spec", ["", "gpt", "recorded", "recorded/none", "embedded/gpt-9", "openai/x", "vllm"]
)
def test_unknown_teacher(spec: str) -> None:
    with pytest.raises(TeacherError, match=r"recorded/vicuna-33b.*openai"):
        make_teacher(spec)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"temprature": 1}, r"no option 'temprature'.*temperature"),
        ({"n_samples": 0}, "n_samples cannot be 0"),
        ({"timeout_s": "soon"}, "timeout_s cannot be 'soon'"),
        ({"family": "NoSuchTask"}, "NoSuchTask"),
    ],
)
def test_wrong_options(options: dict[str, Any], says: str) -> None:
    with pytest.raises(TeacherError, match=says):
        make_teacher("recorded/vicuna-33b", **options)


def test_options_go_before_a_configuration(tmp_path: Path) -> None:
    own = tmp_path / "own.json"
    own.write_bytes(recordings()["vicuna-33b"].read_bytes())
    config = TeacherConfig(teacher="recorded", recording=tmp_path / "none.json")
    assert make_teacher(config, recording=own).info.model == "vicuna-33b"
    with pytest.raises(TeacherError, match=r"none\.json"):
        make_teacher(config)


def test_every_setting_is_described() -> None:
    assert all(field.description for field in TeacherConfig.model_fields.values())


def test_importing_is_light() -> None:
    code = (
        "import sys, llm4teach.teacher_labeling.backends as b\n"
        "b.make_teacher('recorded/vicuna-33b')\n"
        "print([m for m in ('xllamacpp', 'httpx', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
