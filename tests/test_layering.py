"""The order of all sub-packages, and the size and heading of every module."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Which folder may use which. `errors` belongs to the front door, `llm4teach`, and all may use it.
MAY_IMPORT: dict[str, set[str]] = {
    "envs": set(),
    "datasets": set(),
    "teacher_labeling": {"envs", "datasets"},
    "student": {"envs", "datasets"},
    "analysis": {"envs", "datasets", "teacher_labeling", "student"},
    "flows": {"envs", "datasets", "teacher_labeling", "student", "analysis"},
    "llm4teach": {"envs", "datasets", "teacher_labeling", "student", "analysis", "flows"},
}
# The order within them, lowest first: a module uses its own entry and those on the lines above.
# A folder's name stands for its modules that have no entry of their own.
ORDER = """
    errors

    envs.kernels
    envs
    envs.grid  envs.vector  envs.habitat.worker
    envs.habitat.worker.kinematic
    envs.habitat.worker.sim  envs.habitat.worker.rearrange
    envs.habitat.worker.simulators
    envs.habitat.worker.__main__
    envs.custom
    envs.door_key  envs.minigrid  envs.habitat  envs.crafter
    envs.minigrid.parsed  envs.minigrid.raw
    envs.minigrid.task
    envs.registry

    datasets.storage
    datasets.exporters
    datasets.importers
    datasets

    teacher_labeling
    teacher_labeling.elicitation
    teacher_labeling.labeling
    teacher_labeling.backends.openai  teacher_labeling.backends.llama_cpp
    teacher_labeling.backends
    teacher_labeling.ask_policy  teacher_labeling.factory
    teacher_labeling.live_labelers
    teacher_labeling.live

    student.model
    student
    student.collection  student.training  student.evaluation  student.export

    analysis.sql  analysis
    analysis.offline_rl  analysis.reports
    analysis.teachers  analysis.comparisons  analysis.exports

    flows.runtime
    flows.stages  flows.service
    flows.experiments
    flows
    flows.cli

    llm4teach
"""
MAX_LINES, MAX_FILES = 500, 15
WORKER = "envs.habitat.worker"  # runs in habitat-lab's interpreter, without the rest of the code

RANK = {entry: rank for rank, line in enumerate(ORDER.splitlines()) for entry in line.split()}
PATHS = sorted(path for folder in MAY_IMPORT for path in (ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    """Dotted name without ``llm4teach.``, but for ``llm4teach`` itself and its ``__main__``."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    return ".".join(parts[1:] if parts[0] == "llm4teach" and parts[1:] else parts)


MODULES = {name_of(path): path for path in PATHS}


def folder_of(module: str) -> str:
    return MODULES[module].relative_to(ROOT).parts[0]


@cache
def imported_names(path: Path) -> tuple[str, ...]:
    """All that a file imports, anywhere in it: modules, and what is taken from them as ``a.b``."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import; write llm4teach.…"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return tuple(names)


@cache
def imports(module: str) -> frozenset[str]:
    """Those of `MODULES` that a module imports."""
    names = set()
    for name in imported_names(MODULES[module]):
        short = name.removeprefix("llm4teach.")
        if name == "llm4teach" or short != name:
            owner = short.rpartition(".")[0] or "llm4teach"
            names |= {short if short in MODULES else owner} & set(MODULES)
    return frozenset(names - {module})


def entry_of(module: str) -> str | None:
    """The longest entry of `ORDER` that covers the module."""
    if folder_of(module) == "llm4teach":
        return module if module in RANK else "llm4teach"
    if module in RANK:
        return module
    package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
    return package if package in RANK else None


def order_violations() -> Iterator[str]:
    for module in MODULES:
        above, allowed = entry_of(module), MAY_IMPORT[folder_of(module)]
        for name in imports(module):
            inside = MODULES[module].name == "__init__.py" and name.startswith(f"{module}.")
            if inside or name == "errors":  # a package's own file may offer what lies in it
                continue
            below = entry_of(name)
            assert above and below, f"tests/test_layering.py: give {module} and {name} an entry"
            if folder_of(name) != folder_of(module):
                fine = folder_of(name) in allowed
            else:
                fine = above == below or RANK[below] < RANK[above]
            if not fine:
                yield f"order: {module} imports {name}"


def cycles() -> Iterator[str]:
    """Sets of modules that import each other (strongly connected; Tarjan's algorithm)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for name in sorted(imports(module)):
            if name not in index:
                visit(name)
                low[module] = min(low[module], low[name])
            elif name in stack:
                low[module] = min(low[module], index[name])
        if low[module] == index[module]:
            start = stack.index(module)
            found.append(stack[start:])
            del stack[start:]

    for module in MODULES:
        if module not in index:
            visit(module)
    yield from (f"cycle: {' '.join(sorted(group))}" for group in found if len(group) > 1)


def size_violations() -> Iterator[str]:
    for path in PATHS:
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > MAX_LINES:
            yield f"file: {path.relative_to(ROOT)} has over {MAX_LINES} lines"
    for folder in sorted({path.parent for path in PATHS}):
        if len(list(folder.glob("*.py"))) > MAX_FILES:
            yield f"folder: {folder.relative_to(ROOT)} has over {MAX_FILES} files"


def test_every_folder_and_sub_package_has_its_place_in_the_order() -> None:
    assert {path.parent.name for path in ROOT.glob("*/__init__.py")} <= set(MAY_IMPORT)
    packages = {name for name, path in MODULES.items() if path.name == "__init__.py"}
    unordered = packages - set(RANK)
    assert not unordered, f"give them a place in ORDER: {sorted(unordered)}"
    assert not set(RANK) - set(MODULES), "delete from ORDER what is gone"
    folders = {path.parent for path in PATHS}
    assert not [folder for folder in folders if not (folder / "__init__.py").exists()]


def test_imports_run_one_way_and_sizes_hold() -> None:
    assert sorted({*order_violations(), *cycles(), *size_violations()}) == []
    assert not imports("errors"), "all use it, so it uses nothing"


@pytest.mark.parametrize("module", MODULES)
def test_a_module_says_what_it_is_for(module: str) -> None:
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    heading = (ast.get_docstring(tree) or "").split("\n\n")[0]
    assert heading and "\n" not in heading, "the docstring starts with one line of purpose"


def test_packages_are_imported_by_their_full_names() -> None:
    for path in PATHS:
        for name in imported_names(path):
            top = name.split(".")[0]
            assert top == "llm4teach" or top not in MAY_IMPORT, f"{path}: import llm4teach.{name}"


def test_teachers_need_no_torch() -> None:
    for module in MODULES:
        if folder_of(module) in ("envs", "datasets", "teacher_labeling"):
            tops = {name.split(".")[0] for name in imported_names(MODULES[module])}
            assert "torch" not in tops, module


def test_only_flows_and_teachers_name_a_backend() -> None:
    backends = ("teacher_labeling.backends", "teacher_labeling.factory")
    for module in MODULES:
        if folder_of(module) not in ("teacher_labeling", "flows", "llm4teach"):
            assert not [name for name in imports(module) if name.startswith(backends)], module


def test_the_habitat_worker_runs_in_an_older_interpreter_alone() -> None:
    for module in MODULES:
        if module.startswith(WORKER):
            ast.parse(MODULES[module].read_text(encoding="utf-8"), feature_version=(3, 9))
            assert not [name for name in imports(module) if not name.startswith(WORKER)], module


def test_what_the_core_shares_with_the_habitat_worker_needs_no_habitat() -> None:
    def needs(module: str) -> set[str]:
        tops = {name.split(".")[0] for name in imported_names(MODULES[module])}
        return tops.union(*(needs(name) for name in imports(module)))

    for module in MODULES:
        if not module.startswith(WORKER):
            for name in imports(module):
                if name.startswith(WORKER):
                    other = needs(name) - sys.stdlib_module_names - {"llm4teach", "numpy"}
                    assert not other, f"{module} imports {name}, which needs {other}"


def test_every_package_is_in_the_distribution() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    inits = [path.parent.relative_to(ROOT) for path in PATHS if path.name == "__init__.py"]
    names = {".".join(folder.parts) for folder in inits if folder.parts != ("llm4teach",)}
    assert sorted(listed) == sorted(["llm4teach", *(f"llm4teach.{name}" for name in names)])
