"""What an evaluation reads and writes."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from llm4teach.datasets.runs import FILMS, read_manifest
from llm4teach.datasets.storage.paths import StoragePath
from llm4teach.datasets.workspace import Workspace
from llm4teach.flows.cli.main import main
from llm4teach.student.model import checkpoint

STORED = Path(__file__).parents[1] / "data" / "workspace-0.1"


def test_each_checkpoint_is_loaded_once_and_films_have_their_own_file(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(STORED, own_folder / "workspace")
    loads: Counter[str] = Counter()
    load_tensors = checkpoint.load_tensors

    def counted(path: StoragePath) -> Any:
        loads[path.name] += 1
        return load_tensors(path)

    monkeypatch.setattr(checkpoint, "load_tensors", counted)
    settings = ["--teacher", "recorded/vicuna-33b", "--evaluate.episodes", "4", "--quiet"]
    assert main(["evaluate", *settings]) == 0
    assert loads == {"checkpoint.safetensors": 1, "pretrained.safetensors": 1}
    workspace = Workspace("workspace")
    run_id = workspace.run_ids()[-1]
    assert run_id.startswith("evaluate-")
    folder = workspace.run(run_id)
    assert (folder / FILMS).exists()
    assert "films" not in read_manifest(folder)["results"]
