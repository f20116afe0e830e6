"""A task's own encoder: any torch module, kept with the student's weights, and what is none."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from counter_task import counter
from torch import Tensor, nn

import llm4teach as lt
from llm4teach.envs.registry import _registered, register_task
from llm4teach.errors import DatasetError, TaskError
from llm4teach.student.config import PretrainConfig
from llm4teach.student.model.checkpoint import load_student, save_student
from llm4teach.student.model.encoder import Encoder
from llm4teach.student.model.network import Student
from llm4teach.student.policies import StudentPolicy
from llm4teach.student.training.distill import Steps, distill

Shape = tuple[int, ...]


class Bytes(nn.Module):
    """Takes uint8 as it is."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(size, 16)

    def forward(self, x: Tensor) -> Tensor:
        assert x.dtype == torch.uint8
        return torch.relu(self.linear(x.flatten(1).float() / 255))


class OfMine(Encoder):
    """An `Encoder` whose `encode` is kept with each step."""

    def __init__(self, size: int) -> None:
        super().__init__(16)
        self.linear = nn.Linear(size, 16)

    def encode(self, observations: Tensor) -> Tensor:
        return observations.flatten(1).float() / 255

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.relu(self.linear(inputs))


def plain(shape: Shape) -> nn.Module:
    size = int(np.prod(shape))
    return nn.Sequential(nn.Flatten(), nn.Linear(size, 16), nn.ReLU())


def lazy(shape: Shape) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(16), nn.ReLU())


def of_bytes(shape: Shape) -> nn.Module:
    return Bytes(int(np.prod(shape)))


def of_mine(shape: Shape) -> nn.Module:
    return OfMine(int(np.prod(shape)))


@pytest.fixture
def own_tasks() -> Iterator[None]:
    yield
    _registered.clear()


@pytest.mark.usefixtures("own_tasks")
@pytest.mark.parametrize("factory", [plain, lazy, of_bytes, of_mine])
def test_it_learns_and_is_kept(factory: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    shape = (2, 3, 2, 2)  # which no built-in encoder reads
    rng, n = np.random.default_rng(0), 300
    actions = rng.integers(2, size=n)
    observations = rng.integers(0, 90, (n, *shape), np.uint8)
    observations[:, 0, 1, 0, 0] = 250 * actions
    student = Student(shape, 2, reads=factory)
    steps = Steps(
        observations, np.eye(2, dtype=np.float32)[actions], np.zeros(n, np.float32),
        np.ones(n, bool), np.ones(n, bool),
    )  # fmt: skip
    distill(student, steps, PretrainConfig(epochs=20), seed=0)
    policy = StudentPolicy(student)
    assert (policy(observations).argmax(1) == actions).mean() > 0.97

    register_task(counter(encoder=factory, name="Own"))
    save_student(tmp_path / "a.safetensors", student, {"task": "Own"})
    loaded, _ = load_student(tmp_path / "a.safetensors")
    assert np.array_equal(StudentPolicy(loaded)(observations), policy(observations))

    _registered.clear()
    with pytest.raises(DatasetError, match="has the encoder of its task Own, which cannot be lo"):
        load_student(tmp_path / "a.safetensors")
    register_task(counter(name="Own"))
    with pytest.raises(DatasetError, match="but the encoder of Own is 'vector' now"):
        load_student(tmp_path / "a.safetensors")
    _registered.clear()
    register_task(counter(encoder=lambda shape: nn.Flatten(), name="Own"))
    with pytest.raises(DatasetError, match="does not fit this release's network"):
        load_student(tmp_path / "a.safetensors")


@pytest.mark.extended
@pytest.mark.parametrize("factory", [lazy, of_bytes, of_mine])
def test_it_is_exported(factory: Any, tmp_path: Path) -> None:
    from llm4teach.student.export.export import export_student

    torch.manual_seed(0)
    observations = np.random.default_rng(0).integers(0, 256, (20, 2, 3), np.uint8)
    facts = {"action_names": ["a", "b"], "observation_shape": [2, 3]}
    student = Student((2, 3), 2, reads=factory)
    export_student(student, tmp_path / "s.onnx", "onnx", facts, observations)


def fails(shape: Shape) -> Any:
    raise ZeroDivisionError("by zero")


class Scalar(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.float().sum(1)


class Pair(nn.Module):
    def forward(self, x: Tensor) -> Any:
        return x.float(), x.float()


class Wrong(Encoder):
    def __init__(self) -> None:
        super().__init__(7)

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.float()


@pytest.mark.parametrize(
    ("factory", "problem"),
    [
        (fails, r"^encoder failed for the shape \(4,\): ZeroDivisionError: by zero$"),
        (lambda shape: 3, "^encoder must return a torch.nn.Module, but returned 3$"),
        (lambda shape: Scalar(), r"^the module of encoder must return .* \(2, features\); it .*2,"),
        (lambda shape: Pair(), "^the module of encoder must return a tensor, but returned"),
        (lambda shape: nn.Linear(9, 2), "^the module of encoder failed on torch.float32 .*shapes"),
        (lambda shape: Wrong(), r"^the module of encoder must return .* \(2, 7\); it .* \(2, 4\)$"),
    ],
)
def test_what_is_no_encoder_is_described(factory: Callable[[Shape], Any], problem: str) -> None:
    with pytest.raises(TaskError, match=problem):
        Student((4,), 2, reads=factory)
    (found,) = lt.check_task(counter(encoder=factory))
    assert found.member == "encoder"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        (
            "vectors",
            "encoder is 'vectors'; it must be one of cells, mission, vector, ",
        ),
        ("image", r"encoder is 'image', which reads images .* but .* have the shape \(4,\)"),
        ("cells", "which reads maps of cells"),
    ],
)
def test_names_that_do_not_fit_are_refused(name: str, problem: str) -> None:
    with pytest.raises(TaskError, match=problem):
        counter(encoder=name)
    task = counter()
    task._encoder = name  # type: ignore[assignment]
    (found,) = lt.check_task(task)
    assert found.member == "encoder"


def test_a_name_is_stronger_than_the_shape() -> None:
    assert type(Student((16, 16, 4), 2, reads="image").encoder).__name__ == "ImageEncoder"
    assert type(Student((16, 16, 4), 2).encoder).__name__ == "CellEncoder"
    assert type(Student((9,), 2, reads="text").encoder).__name__ == "TextEncoder"


def test_tasks_need_no_torch() -> None:
    code = (
        "import sys; sys.path.insert(0, 'tests/support'); from counter_task import counter; "
        "counter(encoder=lambda shape: 1 / 0).encoder; counter().encoder; "
        "assert 'torch' not in sys.modules"
    )
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)
