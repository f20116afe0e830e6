"""The documents of the repository: their commands, code, links and headings."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "CONTRIBUTING.md", "docs/*.md", "docs/guides/*.md")
OWN_PAGES = sorted(path for pattern in PAGES for path in ROOT.glob(pattern))


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"))


def commands(page: Path) -> list[list[str]]:
    """Return the `llm4teach` commands of a page's bash blocks, as words."""
    found = []
    for block in blocks(page, "bash"):
        text = re.sub(r"(?m)(^|\s+)#[^\n]*$", "", block.replace("\\\n", " "))
        lexer = shlex.shlex(text, posix=True, punctuation_chars="&;|\n")
        lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t", True, ""
        words: list[str] = []
        for token in [*lexer, "\n"]:
            if set(token) <= set("&;|\n"):
                found += [words[1:]] if words[:1] == ["llm4teach"] else []
                words = []
            else:
                words.append(token)
    return found


def links(page: Path) -> list[str]:
    """Return the targets of a page's links and pictures that are files of the repository."""
    text = re.sub(r"(?ms)^```.*?^```", "", page.read_text(encoding="utf-8"))
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    return [target for target in targets if "://" not in target]


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings."""
    text = re.sub(r"(?ms)^```.*?^```", "", page.read_text(encoding="utf-8"))
    titles = re.findall(r"(?m)^#+ (.+)$", text)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}
