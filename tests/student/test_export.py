"""Exported students: the same answers as torch's, from a file that needs neither torch nor us."""

import subprocess
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from llm4teach.errors import DatasetError
from llm4teach.student.export import export
from llm4teach.student.export.export import Format, export_student
from llm4teach.student.export.onnx_policy import OnnxStudent
from llm4teach.student.model.encoders import MapEncoder
from llm4teach.student.model.network import Student

FACTS = {"task": "a test", "action_names": list("abcdefg")}


def random_observations(shape: tuple[int, ...], n: int) -> np.ndarray:
    """Maps of any codes that cells can have, one agent in each."""
    rng = np.random.default_rng(0)
    limits = (11, 6, 4, 1, 3, 40)[: shape[2]]
    seen = np.stack([rng.integers(0, limit, (n, *shape[:2])) for limit in limits], -1)
    seen[..., 3] = 4
    seen[np.arange(n), rng.integers(0, shape[0], n), rng.integers(0, shape[1], n), 3] = (
        rng.integers(0, 4, n)
    )
    return seen.astype(np.uint8)


def random_student(shape: tuple[int, ...], encoder: MapEncoder | Literal["mission"]) -> Student:
    torch.manual_seed(0)
    if encoder == "mission":
        student = Student(shape, 7, reads=encoder)
    else:
        student = Student(shape, 7, encoder)
    for parameter in student.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    return student


@pytest.mark.extended
@pytest.mark.parametrize(
    ("shape", "encoder", "kind", "n"),
    [
        ((10, 10, 4), "cells", "onnx", 10_000),
        ((10, 10, 4), "cells", "torchscript", 10_000),
        ((20, 20, 4), "cells", "onnx", 1_000),
        ((16, 19, 6), "cells", "onnx", 1_000),
        ((16, 19, 6), "mission", "onnx", 1_000),
        ((10, 10, 4), "convolutions", "torchscript", 1_000),
        ((16, 19, 6), "convolutions", "onnx", 1_000),
    ],
)
def test_the_same_answers_for_any_batch(
    shape: tuple[int, ...],
    encoder: MapEncoder | Literal["mission"],
    kind: Format,
    n: int,
    tmp_path: Path,
) -> None:
    student, seen = random_student(shape, encoder), random_observations(shape, n)
    path = tmp_path / "student"
    facts = FACTS | {"observation_shape": list(shape)}
    assert export_student(student, path, kind, facts, seen) < 1e-5
    with torch.no_grad():
        expected = student(torch.from_numpy(seen[:1])).logits.softmax(-1).numpy()
    assert expected.std() > 0.01, "or the test would say nothing"
    if kind == "onnx":
        exported = OnnxStudent(path)
        np.testing.assert_allclose(exported.probabilities(seen[:1]), expected, atol=1e-5)
        assert exported.act(seen[:9]).shape == (9,)
        drawn = exported.act(np.repeat(seen[:1], 4000, 0), np.random.default_rng(0))
        shares = np.bincount(drawn, minlength=7) / 4000
        np.testing.assert_allclose(shares, expected[0], atol=0.03)


@pytest.mark.extended
def test_it_runs_without_torch_and_without_the_rest(tmp_path: Path) -> None:
    student, path = random_student((10, 10, 4), "cells"), tmp_path / "student.onnx"
    facts = FACTS | {"observation_shape": [10, 10, 4]}
    export_student(student, path, "onnx", facts, random_observations((10, 10, 4), 8))
    program = f"""
import sys, numpy as np
from llm4teach.student.export.onnx_policy import OnnxStudent
student = OnnxStudent({str(path)!r})
seen = np.zeros((2, 10, 10, 4), np.uint8); seen[..., 3] = 4; seen[:, 1, 1, 3] = 0
assert student.act(seen).shape == (2,) and student.action_names[0] == "a"
loaded = {{name.split(".")[0] for name in sys.modules}}
assert not loaded & {{"torch", "minigrid", "gymnasium", "pyarrow", "prefect", "numba"}}, loaded
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_an_export_that_answers_differently_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = random_observations((10, 10, 4), 8)
    wrong = np.full((8, 7), 1 / 7, np.float32)
    monkeypatch.setattr(export, "_answers_torchscript", lambda path, observations: wrong)
    with pytest.raises(DatasetError, match="was not written"):
        export_student(
            random_student((10, 10, 4), "cells"), tmp_path / "x.pt", "torchscript", FACTS, seen
        )
    assert list(tmp_path.iterdir()) == []


def test_wrong_files_and_observations_are_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no exported student"):
        OnnxStudent(tmp_path / "none.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"not a model")
    with pytest.raises(ValueError, match="no student exported"):
        OnnxStudent(tmp_path / "broken.onnx")
    path = tmp_path / "student.onnx"
    facts = FACTS | {"observation_shape": [10, 10, 4]}
    seen = random_observations((10, 10, 4), 8)
    export_student(random_student((10, 10, 4), "cells"), path, "onnx", facts, seen)
    for wrong in (seen[0], seen.astype(np.float32), seen[:, :9]):
        with pytest.raises(ValueError, match="uint8 of shape"):
            OnnxStudent(path).probabilities(wrong)
