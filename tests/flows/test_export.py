"""`export`: the file and its card."""

from pathlib import Path

import pytest

from llm4teach.datasets.runs import CHECKPOINT
from llm4teach.datasets.workspace import Workspace
from llm4teach.envs.registry import get_task
from llm4teach.flows.stages.checkpoints import new_student
from llm4teach.flows.stages.export import export
from llm4teach.student.config import StudentConfig
from llm4teach.student.export.onnx_policy import OnnxStudent
from llm4teach.student.model.checkpoint import save_student


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    found = Workspace(str(tmp_path_factory.mktemp("workspace")))
    folder = found.run("teach-1")
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"kind": "teach", "config": {}}')
    facts = {"task": "SimpleDoorKey", "run_id": "teach-1", "after": "pretrain", "seed": 0}
    save_student(
        folder / CHECKPOINT, new_student(get_task("SimpleDoorKey"), StudentConfig(), 0), facts
    )
    return found


def test_the_card_reports_the_check(workspace: Workspace) -> None:
    path, card = export(workspace, "teach-1", "onnx", None)
    assert path.name == "student.onnx"
    assert "differ by at most" in card.read_text()
    assert OnnxStudent(path).facts["task"] == "SimpleDoorKey"


@pytest.mark.extended
def test_an_exported_file_names_no_path_of_this_machine(workspace: Workspace) -> None:
    path, _ = export(workspace, "teach-1", "onnx", None)
    content = path.read_bytes()
    assert b".py" not in content and str(Path.cwd()).encode() not in content
