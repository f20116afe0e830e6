"""The documentation site builds without warnings and network, and its notebooks run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from documents import ROOT

from llm4teach.flows.cli.main import COMMANDS
from llm4teach.flows.runtime.settings import Settings, is_section

pytest.importorskip("mkdocs", reason="needs the extra docs")
pytest.importorskip("nbclient", reason="needs the extra docs")
pytestmark = pytest.mark.extended
TOOLS = str(ROOT / "docs" / "tools")
NOTEBOOKS = sorted((ROOT / "docs" / "tutorials").glob("*.ipynb"))
LOADED = re.compile(r'<(?:script|link|img|iframe)\b[^>]*?\b(?:src|href)="(?:https?:)?//')


@pytest.fixture(autouse=True)
def tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(TOOLS)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    subprocess.run(["make", "-s", ".typecheck"], cwd=ROOT, check=True)
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(folder)]
    nowhere = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, env=os.environ | nowhere)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_loads_only_files_of_the_site(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 50
    for page in pages:
        assert not LOADED.search(page.read_text(encoding="utf-8")), page
    for style in site.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import )['\"]?https?:", style.read_text("utf-8")), style


def test_the_reference_has_every_command_setting_and_table(site: Path) -> None:
    cli, settings, schemas, api = (
        (site / "reference" / f"{name}.html").read_text(encoding="utf-8")
        for name in ("cli", "settings", "schemas", "api")
    )
    assert all(f'id="{name}"' in cli for name in COMMANDS)
    for name, field in Settings.model_fields.items():
        if is_section(field.annotation):
            assert f'id="{name}"' in settings
            for key in field.annotation.model_fields:
                assert f"--{name}.{key}".replace("_", "-") in settings or key == name
    assert all(f'id="{table}"' in schemas for table in ("trajectories", "advice", "evaluations"))
    assert "GymTask" in api and "load_student" in api


def test_a_page_that_loads_from_elsewhere_is_refused() -> None:
    from site_hooks import on_post_page

    assert on_post_page('<a href="https://arxiv.org/">') == '<a href="https://arxiv.org/">'
    with pytest.raises(ValueError, match="loads from elsewhere"):
        on_post_page('<script src="https://cdn.example/x.js"></script>')


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(notebook: Path, tmp_path: Path) -> None:
    from notebooks import run

    for cell in run(notebook, str(tmp_path)).cells:
        text = "".join(str(output.get("text", "")) for output in cell.get("outputs", []))
        assert "llm4teach: error" not in text, cell.source
