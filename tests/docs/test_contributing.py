"""The steps of CONTRIBUTING for a task, a teacher and a schedule, followed; release numbers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import yaml
from documents import ROOT

import llm4teach
from llm4teach.datasets.workspace import Workspace

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
SMALL = (
    "--collect.steps 256 --collect.rounds 1 --collect.n-envs 8 --pretrain.epochs 1 "
    "--finetune.steps 512 --finetune.n-envs 8 --finetune.rollout-length 32 --evaluate.episodes 2"
)


def follow(title: str, folder: Path) -> str:
    """Save the section's code and run its commands, short where they train; return the output."""
    section = PAGE.split(f"## {title}")[1].split("\n## ")[0]
    code = [textwrap.dedent(b) for b in re.findall(r"(?ms)^ *```python\n(.*?)^ *```", section)]
    names = re.findall(r"Save this as `(\w+\.py)`", section)
    for name, text in zip(names, code, strict=True):
        (folder / name).write_text(text)
    script = "".join(
        textwrap.dedent(b) for b in re.findall(r"(?ms)^ *```bash\n(.*?)^ *```", section)
    )
    script = re.sub(r"(?m)^(llm4teach teach .*)$", rf"\1 {SMALL}", script)
    own = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "LLM4TEACH_"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), own["PATH"]])
    done = subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=folder,
        env=own | {"PATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.extended
def test_add_a_task(tmp_path: Path) -> None:
    output = follow("Add a task, step by step", tmp_path)
    assert "keeps the contract" in output
    assert Workspace(str(tmp_path / "corridor" / "workspace")).run_ids()


@pytest.mark.extended
def test_add_a_teacher(tmp_path: Path) -> None:
    output = follow("Add a teacher, step by step", tmp_path)
    assert "mine/first@1/first option" in output


@pytest.mark.extended
def test_add_a_schedule(tmp_path: Path) -> None:
    follow("Add a schedule of kl_coef, step by step", tmp_path)
    workspace = Workspace(str(tmp_path / "workspace"))
    (run_id,) = workspace.run_ids()
    assert "halving:schedule" in (workspace.run(run_id) / "config.json").read_text()


def test_changelog_citation_and_package_name_the_same_release() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    releases = re.findall(r"(?m)^## \[([\d.]+)\] - (\d{4}-\d\d-\d\d)$", changelog)
    assert [version for version, _ in releases] == ["0.2.0", "0.1.0"]
    sections = re.findall(r"(?m)^### (.+)$", changelog)
    assert set(sections) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["version"], str(citation["date-released"])) == releases[0]
    assert citation["cff-version"] == "1.2.0" and citation["title"] and citation["authors"]
    assert f'version = "{releases[0][0]}"' in (ROOT / "pyproject.toml").read_text()
    assert llm4teach.__version__ == releases[0][0]
