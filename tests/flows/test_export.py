"""`export`: the file and its card."""

import shutil
from pathlib import Path

import pytest
import torch

from llm4teach.datasets.champions import sha256_of
from llm4teach.datasets.runs import CHECKPOINT
from llm4teach.datasets.workspace import Workspace
from llm4teach.envs.registry import get_task
from llm4teach.errors import DatasetError
from llm4teach.flows.cli.main import main
from llm4teach.flows.cli.service import exported
from llm4teach.flows.stages.checkpoints import new_student
from llm4teach.flows.stages.export import export
from llm4teach.student.config import StudentConfig
from llm4teach.student.export.export import Format
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
    assert (path.name, card.name) == ("student.onnx", "student.onnx.md")
    assert "differ by at most" in card.read_text()
    assert OnnxStudent(path).facts["task"] == "SimpleDoorKey"


@pytest.mark.extended
def test_an_exported_file_names_no_path_of_this_machine(workspace: Workspace) -> None:
    path, _ = export(workspace, "teach-1", "onnx", None)
    content = path.read_bytes()
    assert b".py" not in content and str(Path.cwd()).encode() not in content


@pytest.mark.parametrize(
    ("output", "file"),
    [
        ("student.md", "student.md"),
        ("student.v1", "student.v1"),
        ("new/folder/student", "new/folder/student"),
        ("folder", "folder/student.pt"),
        ("later/", "later/student.pt"),
        (".hidden", ".hidden"),
    ],
)
def test_the_file_and_its_card_are_where_they_were_asked_for(
    output: str,
    file: str,
    workspace: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    words = ["teach-1", "--workspace", str(workspace.root), "--format", "torchscript"]
    assert main(["export", *words, "-o", output]) == 0
    assert capsys.readouterr().out == f"{file}\n{file}.md\n"
    torch.jit.load(file)
    assert Path(f"{file}.md").read_text().startswith("# Student of SimpleDoorKey\n")
    written = sorted(str(path) for path in Path().rglob("*") if path.is_file())
    assert written == [file, f"{file}.md"]


@pytest.mark.extended
def test_files_do_not_share_a_card(workspace: Workspace, tmp_path: Path) -> None:
    kinds: dict[str, Format] = {
        "student.md": "onnx",
        "student.v1": "torchscript",
        "student.v2": "torchscript",
    }
    for name, kind in kinds.items():
        _, card = export(workspace, "teach-1", kind, tmp_path / name)
        assert card.name == f"{name}.md"
    for name in kinds:
        assert f"File: `{name}`" in (tmp_path / f"{name}.md").read_text()
    assert len(list(tmp_path.iterdir())) == 6, "all of a student is in one file"
    assert OnnxStudent(tmp_path / "student.md").facts["task"] == "SimpleDoorKey"


def test_a_card_replaces_nothing_else(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "student.onnx.md").write_text("# My notes\n")
    with pytest.raises(DatasetError, match="exists and is no model card"):
        export(workspace, "teach-1", "onnx", tmp_path / "student.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["student.onnx.md"]


@pytest.mark.extended
def test_what_is_served_is_the_present_checkpoint(workspace: Workspace, tmp_path: Path) -> None:
    copied = Workspace(tmp_path / "workspace")
    shutil.copytree(workspace.root, copied.root)
    folder = copied.run("teach-1")
    path = exported(copied, "SimpleDoorKey", "teach-1")
    before = path.read_bytes()
    assert exported(copied, "SimpleDoorKey", "teach-1").read_bytes() == before
    for change in ("damage", "training"):
        if change == "damage":
            path.write_bytes(before[:-100])
        else:
            facts = {"task": "SimpleDoorKey", "run_id": "teach-1", "after": "finetune", "seed": 0}
            student = new_student(get_task("SimpleDoorKey"), StudentConfig(), 1)
            save_student(folder / CHECKPOINT, student, facts)
        served = OnnxStudent(str(exported(copied, "SimpleDoorKey", "teach-1")))
        assert served.facts["checkpoint_sha256"] == sha256_of(folder / CHECKPOINT)
