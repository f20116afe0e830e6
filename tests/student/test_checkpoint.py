"""Checkpoint files: their permissions, and what is reported when one cannot be read."""

import os
from pathlib import Path

import pytest

from llm4teach.errors import DatasetError
from llm4teach.student.model.checkpoint import load_student, save_student
from llm4teach.student.model.network import Student


def test_the_file_follows_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        save_student(tmp_path / "a.safetensors", Student((5, 5, 4), 3), {"task": "Toy"})
    finally:
        os.umask(before)
    modes = {path.suffix: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {".safetensors": 0o640, ".json": 0o640}


def test_an_unreadable_file_is_not_reported_as_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.safetensors"
    with pytest.raises(DatasetError, match="no checkpoint at"):
        load_student(path)
    path.mkdir()
    with pytest.raises(DatasetError, match="cannot be read: Is a directory"):
        load_student(path)

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refused)  # root may read every file
    with pytest.raises(DatasetError, match="cannot be read: Permission denied"):
        load_student(path)
