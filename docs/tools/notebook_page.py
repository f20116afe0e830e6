"""A notebook as a page: its text, its code and its stored outputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def notebook_page(path: Path) -> str:
    """Return a notebook as Markdown."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    parts = []
    for cell in cells:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        shown = "".join(_text(output) for output in cell["outputs"]).rstrip()
        if shown:
            parts.append(f"```text\n{shown}\n```")
    note = f"*This page is the notebook `{path.name}`; a test runs it.*"
    title, *rest = "\n\n".join(parts).split("\n\n", 1)
    return "\n\n".join([title, note, *rest]) + "\n"


def _text(output: Any) -> str:
    text = output.get("text") or output.get("data", {}).get("text/plain", "")
    return "".join(text)
