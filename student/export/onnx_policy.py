"""An exported student at work: needs numpy and onnxruntime, and nothing else of this project.

student = OnnxStudent("student.onnx")
action = student.act(observations)[0]
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray


class OnnxStudent:
    """Plays without torch and without any LLM.

    Args:
        path: a file that `llm4teach export --format onnx` wrote.
        threads: CPU threads for one decision; so small a network gains nothing from a second one.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no student.
    """

    def __init__(self, path: str | Path, threads: int = 1) -> None:
        if not Path(path).exists():
            raise FileNotFoundError(f"no exported student at {path}")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = threads
        options.log_severity_level = 4  # what fails is raised, and told by who asked
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
            metadata = self._session.get_modelmeta().custom_metadata_map["llm4teach"]
        except Exception as error:  # onnxruntime has a class of its own for each failure
            reason = str(error).splitlines()[0]
            raise ValueError(f"{path} is no student exported by llm4teach ({reason})") from None
        self.facts: dict[str, Any] = json.loads(metadata)
        self.action_names = tuple(self.facts["action_names"])
        self.observation_shape = tuple(self.facts["observation_shape"])

    def probabilities(self, observations: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Action probabilities, float32 (N, n_actions).

        Args:
            observations: uint8 (N, *observation_shape).

        Raises:
            ValueError: they have another shape or type, or codes that no cell has.
        """
        shape = ("N", *self.observation_shape)
        if observations.dtype != np.uint8 or observations.shape[1:] != self.observation_shape:
            raise ValueError(
                f"observations have to be uint8 of shape {shape}; these are {observations.dtype} "
                f"of shape {observations.shape}"
            )
        probs: NDArray[np.float32]
        try:
            probs, _ = self._session.run(None, {"observations": observations})
        except Exception as error:
            reason = str(error).rpartition("Message: ")[2]
            raise ValueError(f"these are no observations of this task ({reason})") from None
        return probs

    def act(
        self, observations: NDArray[np.uint8], rng: np.random.Generator | None = None
    ) -> NDArray[np.int64]:
        """One action each, int64 (N,): the likeliest, or with ``rng`` drawn by probability."""
        probs = self.probabilities(observations)
        if rng is None:
            likeliest: NDArray[np.int64] = probs.argmax(1)
            return likeliest
        cumulative = probs.cumsum(1, dtype=np.float64)  # (N, n_actions)
        threshold = rng.random((len(probs), 1)) * cumulative[:, -1:]
        drawn: NDArray[np.int64] = (cumulative > threshold).argmax(1)
        return drawn
