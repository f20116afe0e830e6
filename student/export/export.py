"""A student for other programs: an ONNX or TorchScript file that needs none of this project.

The file takes observations, uint8 (N, *observation_shape), and gives action probabilities,
float32 (N, n_actions), and values, float32 (N,). What it was trained on stands in its metadata.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from llm4teach.datasets.storage.parquet import replacing
from llm4teach.datasets.storage.paths import StoragePath
from llm4teach.envs.task import Observations
from llm4teach.errors import DatasetError
from llm4teach.student.model.network import Student

Format = Literal["onnx", "torchscript"]
SUFFIXES: Mapping[Format, str] = {"onnx": ".onnx", "torchscript": ".pt"}
TOLERANCE = 1e-5  # of probabilities: sums in another order
META = "llm4teach"  # key of the metadata, JSON


class _Inference(nn.Module):
    def __init__(self, student: Student) -> None:
        super().__init__()
        self.student = student

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        output = self.student(observations)
        return output.logits.softmax(-1), output.values


def export_student(
    student: Student,
    path: StoragePath,
    kind: Format,
    facts: Mapping[str, Any],
    observations: Observations,
) -> float:
    """Write the file, and compare what it answers with the student itself.

    Args:
        student: on the CPU.
        path: of the file, which is replaced in one step.
        kind: of file.
        facts: for the metadata, as plain JSON.
        observations: real ones to compare on, uint8 (N, *observation_shape), at least two.

    Returns:
        The largest difference of a probability on these observations.

    Raises:
        DatasetError: the ``export`` extra is not installed, or the file answers differently; then
            nothing is left behind.
    """
    module = _Inference(student).eval()
    seen = torch.from_numpy(np.ascontiguousarray(observations))
    with torch.no_grad():
        expected = module(seen)[0].numpy()
    with replacing(path) as temporary:
        write = _write_onnx if kind == "onnx" else _write_torchscript
        with _silence():
            write(module, temporary, seen[:2], {META: json.dumps(dict(facts))})
        answers = _answers_onnx if kind == "onnx" else _answers_torchscript
        difference = float(np.abs(answers(temporary, observations) - expected).max())
        if not difference <= TOLERANCE:
            raise DatasetError(
                f"the exported student's probabilities differ by {difference:.2g} from the "
                f"original's (at most {TOLERANCE:g} is allowed); {path} was not written"
            )
    return difference


def _write_onnx(
    module: nn.Module, path: Path, example: Tensor, metadata: Mapping[str, str]
) -> None:
    try:
        import onnxscript  # noqa: F401
    except ImportError:
        message = "ONNX needs the export extra: pip install 'llm4teach[export]'"
        raise DatasetError(message) from None
    program = torch.onnx.export(
        module,
        (example,),
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
        input_names=["observations"],
        output_names=["probabilities", "values"],
        verbose=False,
    )
    assert program is not None
    graph = program.model.graph
    for part in (*graph, *(value for node in graph for value in node.outputs)):
        part.metadata_props.clear()  # where in our source it came from, half of the file
    program.model.metadata_props.update(metadata)
    program.save(str(path))


def _write_torchscript(
    module: nn.Module, path: Path, example: Tensor, metadata: Mapping[str, str]
) -> None:
    scripted = torch.jit.trace(module, (example,), check_trace=False)  # type: ignore[no-untyped-call]
    torch.jit.save(scripted, str(path), _extra_files=dict(metadata))


def _answers_onnx(path: Path, observations: Observations) -> np.ndarray[Any, Any]:
    from llm4teach.student.export.onnx_policy import OnnxStudent

    return OnnxStudent(path).probabilities(observations)


def _answers_torchscript(path: Path, observations: Observations) -> np.ndarray[Any, Any]:
    module = torch.jit.load(str(path))  # type: ignore[no-untyped-call]
    with torch.no_grad():
        probs: np.ndarray[Any, Any] = module(torch.from_numpy(observations))[0].numpy()
    return probs


@contextmanager
def _silence() -> Iterator[None]:
    """Keep the exporters' remarks to themselves: they are about their own insides."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
