"""Run the tutorials' notebooks and store their outputs: python docs/tools/notebooks.py [NAME …]."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
from nbclient import NotebookClient

COLOR = re.compile(r"\x1b\[[0-9;]*m")
TUTORIALS = Path(__file__).resolve().parents[1] / "tutorials"


def run(path: Path, folder: str) -> Any:
    """Return the notebook with the outputs of its cells, run in a folder.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    notebook = nbformat.read(path, 4)
    programs = str(Path(sys.executable).parent)  # where the command llm4teach is
    os.environ["PATH"] = os.pathsep.join([programs, os.environ["PATH"]])
    os.environ |= {"LLM4TEACH_QUIET": "1", "COLUMNS": "110"}
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": folder}}
    )
    client.execute()
    return notebook


def tidy(notebook: Any, folder: str) -> None:
    """Keep what a reader needs of the outputs: no warnings, no paths, no run's counters."""
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    )
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({})
        if cell.cell_type != "code":
            continue
        cell.execution_count = None
        cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = None
            if "text" in output:
                output.text = COLOR.sub("", output.text.replace(f"{folder}/", ""))


def main() -> None:
    """Run those that are named, or all."""
    for path in sorted(TUTORIALS.glob("*.ipynb")):
        if len(sys.argv) == 1 or path.stem in sys.argv[1:]:
            with TemporaryDirectory() as folder:
                notebook = run(path, folder)
                tidy(notebook, folder)
            nbformat.write(notebook, path)
            print(path.name)


if __name__ == "__main__":
    main()
