"""The one-way dependencies between the packages, and the size and heading of every module."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FRONT_DOOR = "llm4teach"  # imports the flows; everybody may import its errors
MAY_IMPORT = {
    "envs": set(),
    "datasets": set(),
    "teacher_labeling": {"envs", "datasets"},
    "student": {"envs", "datasets", "teacher_labeling"},
    "analysis": {"envs", "datasets", "teacher_labeling", "student"},
    "flows": {"envs", "datasets", "teacher_labeling", "student", "analysis"},
    FRONT_DOOR: {"flows"},
}
MAX_LINES = 500
MODULES = sorted(path for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py"))


def module_id(path: Path) -> str:
    return str(path.relative_to(ROOT))


def package_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0]


def imported_by(path: Path) -> Iterator[str]:
    """Every module that a file imports, anywhere in it; of ``from a import b`` also ``a.b``."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import; write llm4teach.…"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_package_is_covered() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages == set(MAY_IMPORT)


@pytest.mark.parametrize("path", MODULES, ids=module_id)
def test_dependencies_run_one_way(path: Path) -> None:
    mine = package_of(path)
    allowed = MAY_IMPORT[mine] | {mine}
    for name in imported_by(path):
        if name.startswith("llm4teach.errors"):
            continue
        if name.startswith("llm4teach."):
            assert name.split(".")[1] in allowed, f"{mine} must not import {name}"
        top = name.split(".")[0]
        assert top not in MAY_IMPORT or top == FRONT_DOOR, f"import llm4teach.{name}, not {name}"


@pytest.mark.parametrize("path", MODULES, ids=module_id)
def test_teachers_need_no_torch(path: Path) -> None:
    if package_of(path) in ("envs", "datasets", "teacher_labeling"):
        assert "torch" not in {name.split(".")[0] for name in imported_by(path)}


@pytest.mark.parametrize("path", MODULES, ids=module_id)
def test_only_flows_and_teachers_name_a_backend(path: Path) -> None:
    if package_of(path) in ("student", "analysis"):
        named = [name for name in imported_by(path) if name.startswith("llm4teach.teacher_lab")]
        assert not [name for name in named if "backend" in name]


@pytest.mark.parametrize("path", MODULES, ids=module_id)
def test_a_module_is_short_and_says_what_it_is_for(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_LINES
    heading = (ast.get_docstring(ast.parse(text)) or "").split("\n\n")[0]
    assert heading and "\n" not in heading, "the docstring starts with one line of purpose"
