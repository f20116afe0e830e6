"""For tests of commands and settings: a folder of their own, and no settings from outside."""

import os
from pathlib import Path

import pytest


@pytest.fixture
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The current folder, empty; no variable of the environment is a setting."""
    for name in os.environ:
        if name.startswith("LLM4TEACH_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path
