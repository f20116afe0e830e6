"""Every example is run by a test."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_a_test_runs_it(example: Path) -> None:
    tests = (path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__))
    assert any(example.stem in path.read_text("utf-8") for path in tests)
