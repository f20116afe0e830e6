"""An exported student in 8 bits: weights and activations of its convolutions and linear layers."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

from llm4teach.datasets.storage.parquet import replacing
from llm4teach.datasets.workspace import DatasetError
from llm4teach.envs.task import Observations

_BATCH = 32
_QUANTIZED = ["Conv", "Gemm", "MatMul"]


def quantize_int8(source: Path, target: Path, observations: Observations) -> None:
    """Write an int8 copy of an exported student, by static quantization (QDQ format).

    Scales of the activations come from what the network computes on real observations (Jacob et
    al., arXiv 1712.05877, section 3). The metadata are kept.

    Args:
        source: an ONNX file of `export_student`.
        target: replaced in one step.
        observations: to calibrate on, uint8 (N, *observation_shape).

    Raises:
        DatasetError: the ``export`` extra is not installed.
    """
    try:
        import onnx
        from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    except ImportError:
        message = "int8 needs the export extra: pip install 'llm4teach[export]'"
        raise DatasetError(message) from None

    class Calibration(CalibrationDataReader):  # type: ignore[misc,unused-ignore]
        def __init__(self) -> None:
            parts = range(0, len(observations), _BATCH)
            self._batches = iter([{"observations": observations[i : i + _BATCH]} for i in parts])

        def get_next(self) -> dict[str, Observations] | None:
            return next(self._batches, None)

    model = onnx.load(str(source))
    del model.graph.value_info[:]  # the exporter's shapes of what lies between contradict inference
    level = logging.getLogger().level
    with TemporaryDirectory() as folder, replacing(target) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bare = Path(folder) / "student.onnx"
        onnx.save(model, str(bare))
        logging.getLogger().setLevel(logging.ERROR)  # it advises what has been done already
        try:
            quantize_static(
                bare,
                temporary,
                Calibration(),
                op_types_to_quantize=_QUANTIZED,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
        finally:
            logging.getLogger().setLevel(level)
        kept = onnx.load(str(temporary))
        del kept.metadata_props[:]
        kept.metadata_props.extend(model.metadata_props)
        onnx.save(kept, str(temporary))
