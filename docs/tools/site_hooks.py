"""Hooks of the documentation site: pages made from code and notebooks, links to sources."""

from __future__ import annotations

import posixpath
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).parent))
from notebook_page import notebook_page
from reference_pages import cli_page, schemas_page, settings_page

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
LINK = re.compile(r"(?<=\]\()([^)\s]+)(?=\))")
FROM_ROOT = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
LANGUAGES = {".py": "python", ".toml": "toml", ".yaml": "yaml", ".sql": "sql"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made from code, notebooks and other files of the repository."""

    def add(uri: str, content: str) -> None:
        files.append(File.generated(config, uri, content=content))

    add("reference/cli.md", cli_page())
    add("reference/settings.md", settings_page())
    add("reference/schemas.md", schemas_page())
    for notebook in sorted((DOCS / "tutorials").glob("*.ipynb")):
        add(f"tutorials/{notebook.stem}.md", notebook_page(notebook))
    for name, uri in FROM_ROOT.items():
        add(uri, (ROOT / name).read_text(encoding="utf-8"))
    for folder in sorted(set(_linked(is_wanted=_is_listed))):
        names = sorted(path.name for path in (ROOT / folder).iterdir() if path.is_file())
        listing = "".join(f"- [{name}]({name})\n" for name in names)
        add(f"{folder.removeprefix('docs/')}/index.md", f"# {Path(folder).name}\n\n{listing}")
    for name in sorted(set(_linked(is_wanted=_is_source))):
        path = ROOT / name
        language = LANGUAGES.get(path.suffix, "text")
        source = path.read_text(encoding="utf-8")
        add(f"source/{name}.md", f"# {name}\n\n````{language}\n{source}\n````\n")
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links to notebooks and to files outside docs/ at the pages made from them."""
    folder = posixpath.dirname(page.file.src_uri)
    is_from_root = page.file.src_uri in FROM_ROOT.values()

    def moved(match: re.Match[str]) -> str:
        target, _, anchor = match[1].partition("#")
        if "://" in target or not target or target.startswith("mailto:"):
            return match[1]
        place = _place(target, "" if is_from_root else f"docs/{folder}")
        if place.startswith("docs/"):
            uri = place.removeprefix("docs/").replace(".ipynb", ".md")
            uri += "/index.md" if (ROOT / place).is_dir() else ""
        elif place in FROM_ROOT:
            uri = FROM_ROOT[place]
        elif (ROOT / place).is_file():
            uri = f"source/{place}.md"
        else:
            return match[1]
        return posixpath.relpath(uri, folder or ".") + (f"#{anchor}" if anchor else "")

    return LINK.sub(moved, markdown)


def _place(target: str, folder: str) -> str:
    return posixpath.normpath(posixpath.join(folder, target))


def _linked(is_wanted: Callable[[Path], bool]) -> Iterator[str]:
    """Yield the places of the repository, of the wanted kind, that pages link to."""
    pages = [*DOCS.rglob("*.md"), *(ROOT / name for name in FROM_ROOT)]
    for page in pages:
        folder = page.parent.relative_to(ROOT).as_posix()
        for target in LINK.findall(page.read_text(encoding="utf-8")):
            place = _place(target.partition("#")[0], folder)
            if "://" not in target and not place.startswith("..") and is_wanted(ROOT / place):
                yield place


def _is_listed(path: Path) -> bool:
    return path.is_dir() and DOCS in path.parents


def _is_source(path: Path) -> bool:
    return path.is_file() and DOCS not in path.parents and path.name not in FROM_ROOT


def on_post_page(output: str, **_: Any) -> str:
    """Refuse a page that would load something from elsewhere."""
    remote = re.search(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="(https?:)?//[^"]+"', output)
    if remote and "canonical" not in remote[0]:
        raise ValueError(f"a page loads from elsewhere: {remote[0]}")
    return output
