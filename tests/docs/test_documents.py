"""README, guides and concepts: their commands, code, numbers, links and pictures are right."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import documents
import numpy as np
import pytest
from documents import ROOT

import llm4teach as lt
from llm4teach.datasets.workspace import Workspace
from llm4teach.flows.cli.main import COMMANDS, main
from llm4teach.flows.cli.parser import parse
from llm4teach.flows.runtime.settings import load_settings

README = ROOT / "README.md"
QUICK = {  # of the settings of examples/demo.toml, enough to see each stage at work
    "collect": {"steps": 256, "rounds": 1, "n_envs": 8},
    "pretrain": {"epochs": 1},
    "finetune": {"steps": 256, "n_envs": 8, "rollout_length": 32},
    "evaluate": {"episodes": 4, "teacher_episodes": 1},
}
RECORDED = "recorded/qwen2.5-coder-1.5b-go-to-door"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A workspace with a short run of the demo, with recorded advice."""
    folder = str(tmp_path_factory.mktemp("readme") / "workspace")
    config = tomllib.loads((ROOT / "examples" / "demo.toml").read_text())
    for section, values in QUICK.items():
        config[section] = {**config[section], **values} if section in config else values
    task, teacher = config.pop("task"), config.pop("teacher")
    lt.teach(task, {**teacher, "teacher": RECORDED}, folder, **config)
    return folder


def test_the_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= 180


@pytest.mark.parametrize("page", documents.OWN_PAGES, ids=lambda page: page.name)
def test_every_command_on_a_page_is_understood(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for words in documents.commands(page):
        command, flags = parse(words, COMMANDS)
        if command.uses:
            load_settings(flags, getattr(command, "config", None))


@pytest.mark.parametrize("page", documents.OWN_PAGES, ids=lambda page: page.name)
def test_links_and_pictures_exist(page: Path) -> None:
    for link in documents.links(page):
        name, _, anchor = link.partition("#")
        target = (page.parent / name) if name else page
        if "reference/" in link:  # generated when the site is built, which checks these
            continue
        assert target.exists(), f"{page.name}: {link}"
        if anchor and target.suffix == ".md":
            assert anchor in documents.anchors(target), f"{page.name}: {link}"


def test_the_commands_of_the_quickstart_and_the_query_run(
    workspace: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    words = documents.commands(README)
    (play,) = (w for w in words if w[0] == "play")
    here = ["--workspace", workspace, "--teacher", RECORDED]
    assert main([*play, *here, "--delay", "0"]) == 0
    assert "solved by student" in capsys.readouterr().out
    (sql,) = (w for w in words if w[0] == "sql")
    assert main([*sql, "--workspace", workspace]) == 0
    assert capsys.readouterr().out.count("│ no-llm ") == 2
    dry = next(w for w in words if "--dry-run" in w)
    mine = {"teacher": {"teacher": RECORDED}, "task": "MiniGrid-GoToDoor-8x8-v0"}
    assert load_settings(mine).teacher.teacher == RECORDED
    local = [word for word in dry if word.startswith("--dry") or word == "label"]
    assert main([*local, *here, "--task", "MiniGrid-GoToDoor-8x8-v0"]) == 0
    assert "questions" in capsys.readouterr().out
    (teach,) = (w for w in words if w[0] == "teach")
    assert teach == ["teach", "--config", "examples/demo.toml"]  # which `workspace` ran


@pytest.mark.extended
def test_the_exported_student_plays_as_the_readme_says(workspace: str, tmp_path: Path) -> None:
    (code,) = (b for b in documents.blocks(README, "python") if "OnnxStudent" in b)
    exported = tmp_path / "student.onnx"
    assert len(code.split("\n\n")[1].splitlines()) + 1 <= 5
    words = ["export", "--format", "onnx", "-o", str(exported), "--workspace", workspace]
    assert main([*words, "--task", "MiniGrid-GoToDoor-8x8-v0"]) == 0
    names: dict[str, Any] = {"np": np}
    exec(code.replace('"student.onnx"', repr(str(exported))), names)
    assert names["action"] in names["student"].action_names


@pytest.mark.extended
def test_the_world_in_20_lines_is_learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = (b for b in documents.blocks(README, "python") if "GymTask" in b)
    assert len([line for line in code.splitlines() if line]) <= 20
    (tmp_path / "lake.py").write_text(code)
    flags = ["--task", "lake:task", "--teacher", "lake:teacher"]
    assert f"llm4teach teach {' '.join(flags)}" in README.read_text()
    short = [f"--{k}.{n.replace('_', '-')}={v}" for k, d in QUICK.items() for n, v in d.items()]
    run = [sys.executable, "-m", "llm4teach"]
    for words in (["tasks", "check", "lake:task"], ["teach", *flags, *short]):
        done = subprocess.run([*run, *words], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert Workspace(str(tmp_path / "workspace")).run_ids()


def test_the_results_are_those_of_the_results_page() -> None:
    results = (ROOT / "docs" / "results" / "README.md").read_text()
    readme = README.read_text()
    table = re.findall(
        r"(?m)^\| [A-Z]\w+.*\| ([\d,]+) \| ([\d.]+%) \| ([\d.]+%) \| (.+) \|", readme
    )
    assert 3 <= len(table) <= 6
    for steps, taught, alone, rest in table:
        difference, questions = rest.split(" | ")
        row = rf"\| {steps} \| {taught} \| {alone} \| {re.escape(difference)} \|.*\| {questions} \|"
        assert re.search(row, results), (steps, taught, alone, rest)
    assert "76.8 points" in readme and "+76.8 " in results


def tool(name: str) -> ModuleType:
    if (folder := str(ROOT / "docs" / "tools")) not in sys.path:  # the scripts share svg.py
        sys.path.append(folder)
    path = ROOT / "docs" / "tools" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_diagrams_are_what_the_script_draws() -> None:
    for name, drawing in tool("figures").pictures().items():
        assert (ROOT / "docs" / "images" / name).read_text() == drawing, "docs/tools/figures.py"


@pytest.mark.extended
def test_the_animation_is_small_and_can_be_drawn_again(workspace: str) -> None:
    assert (ROOT / "docs" / "images" / "student.svg").stat().st_size < 1_000_000
    drawn = tool("animation").draw(workspace, best=False)
    assert drawn.startswith("<svg") and "The advice of Qwen" in drawn and "data:image/png" in drawn
