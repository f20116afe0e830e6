"""`export`: the file and its card, in float32 and in 8 bits."""

from pathlib import Path

import numpy as np
import pytest

from llm4teach.datasets.runs import CHECKPOINT
from llm4teach.datasets.workspace import DatasetError, Workspace
from llm4teach.envs.registry import get_task
from llm4teach.flows.stages.checkpoints import new_student
from llm4teach.flows.stages.export import export
from llm4teach.student.export.onnx_policy import OnnxStudent
from llm4teach.student.model.checkpoint import save_student


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    found = Workspace(str(tmp_path_factory.mktemp("workspace")))
    folder = found.run("teach-1")
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"kind": "teach", "config": {}}')
    facts = {"task": "SimpleDoorKey", "run_id": "teach-1", "after": "pretrain", "seed": 0}
    save_student(folder / CHECKPOINT, new_student(get_task("SimpleDoorKey"), 0), facts)
    return found


def test_int8_is_smaller_nearly_the_same_and_says_what_it_changes(workspace: Workspace) -> None:
    whole, card = export(workspace, "teach-1", "onnx", None)
    small, small_card = export(workspace, "teach-1", "onnx", None, int8_episodes=8)
    assert small.name == "student-int8.onnx"
    assert small.stat().st_size < 0.7 * whole.stat().st_size
    assert "differ by at most" in card.read_text()
    assert "on the same 8 held-out episodes" in small_card.read_text().replace("\n", " ")
    players = OnnxStudent(whole), OnnxStudent(small)
    assert players[1].facts["weights"] == "int8"
    assert players[0].action_names == players[1].action_names
    seen = np.zeros((4, 10, 10, 4), np.uint8)
    seen[..., 3] = 4
    seen[np.arange(4), 3, 3, 3] = np.arange(4)
    probs = [player.probabilities(seen) for player in players]
    np.testing.assert_allclose(*probs, atol=0.05)


def test_an_exported_file_names_no_path_of_this_machine(workspace: Workspace) -> None:
    path, _ = export(workspace, "teach-1", "onnx", None)
    content = path.read_bytes()
    assert b".py" not in content and str(Path.cwd()).encode() not in content


def test_int8_is_for_onnx(workspace: Workspace) -> None:
    with pytest.raises(DatasetError, match="writes ONNX, not torchscript"):
        export(workspace, "teach-1", "torchscript", None, int8_episodes=8)
