"""Students of Crafter that differ in what they remember; `frame_memory.py` compares them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from llm4teach.envs.crafter.symbols import ACHIEVEMENTS, ACTIONS, DONE, PIXEL_SHAPE, PIXELS
from llm4teach.envs.task import Observations, State
from llm4teach.student.model.encoders import ImageEncoder

HIDDEN = 64  # features between encoder and policy, and units of the GRU
ROWS, COLUMNS, COLORS = PIXEL_SHAPE


class Form(NamedTuple):
    """What a student remembers, and how it learns."""

    frames: int = 1  # the last frames, as channels of one image
    recurrent: bool = False  # a GRU over the encoder's features, beside them
    done: bool = False  # also reads which achievements are done
    sequences: bool = False  # learns from sequences, not from steps in random order


FORMS = {
    "one frame": Form(),
    "one frame, from sequences": Form(sequences=True),
    "four frames": Form(frames=4),
    "GRU": Form(recurrent=True, sequences=True),
    "one frame and the achievements done": Form(done=True),
}


class MemoryStudent(nn.Module):
    """The encoder `image` and a policy, with a memory between them if its form has one.

    Crafter's student read its pixels so when this was measured; today it has the encoder `tiles`.
    """

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.form = form
        self.encoder = ImageEncoder(ROWS, COLUMNS, COLORS * form.frames)
        width = self.encoder.features
        self.memory = nn.GRU(width, HIDDEN) if form.recurrent else None
        width += HIDDEN * form.recurrent + len(ACHIEVEMENTS) * form.done
        self.trunk = nn.Linear(width, HIDDEN)
        self.policy = nn.Linear(HIDDEN, len(ACTIONS))
        nn.init.orthogonal_(self.policy.weight, 0.01)  # start near the uniform policy
        nn.init.zeros_(self.policy.bias)

    def forward(self, images: Tensor, done: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (T, B, 17) and the memory after the last step, (1, B, HIDDEN).

        Args:
            images: uint8 (T, B, 63, 63, 3 frames), the newest frame first.
            done: float32 (T, B, 22).
            hidden: memory before the first step, float32 (1, B, HIDDEN).
        """
        parts = [self.encoder(images.flatten(0, 1)).unflatten(0, images.shape[:2])]
        if self.memory is not None:
            remembered, hidden = self.memory(parts[0], hidden)
            parts.append(remembered)
        if self.form.done:
            parts.append(done)
        return self.policy(F.relu(self.trunk(torch.cat(parts, -1)))), hidden


def grown(common: MemoryStudent, form: Form) -> MemoryStudent:
    """A student that acts as one of a single frame does, until it learns to use what it has more.

    What ``common`` reads comes first among the inputs of each layer; the weights of others are 0.
    """
    student = MemoryStudent(form)
    weights = student.state_dict()
    for name, weight in common.state_dict().items():
        weights[name].zero_()
        weights[name][tuple(slice(size) for size in weight.shape)] = weight
    return student


class StudentPlay:
    """A behavior policy: the student, with the last frames and the memory of each episode."""

    def __init__(self, student: MemoryStudent, n_envs: int) -> None:
        self._student, frames = student, student.form.frames
        self._images = torch.zeros(n_envs, ROWS, COLUMNS, COLORS * frames, dtype=torch.uint8)
        self._hidden = torch.zeros(1, n_envs, HIDDEN)

    @torch.no_grad()
    def act(
        self,
        observations: Observations,
        envs: NDArray[np.intp],
        started: NDArray[np.bool_],
        states: Sequence[State] | None = None,
    ) -> tuple[NDArray[np.float32], list[str]]:
        """Action probabilities; see `BehaviorPolicy.act`."""
        pixels, done = read(observations)
        rows, new = torch.from_numpy(envs), torch.from_numpy(started)
        images = torch.cat([pixels, self._images[rows][..., :-COLORS]], -1)
        images[new] = pixels[new].repeat(1, 1, 1, self._student.form.frames)
        self._images[rows] = images
        self._hidden[:, rows[new]] = 0
        logits, hidden = self._student(images[None], done[None], self._hidden[:, rows])
        self._hidden[:, rows] = hidden
        return logits[0].softmax(-1).numpy(), ["student"] * len(envs)

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Evaluations are not resumed."""


def read(records: Observations) -> tuple[Tensor, Tensor]:
    """Pixels, uint8 (N, 63, 63, 3), and achievements done, float32 (N, 22), of records."""
    done = records[:, PIXELS + DONE : PIXELS + DONE + len(ACHIEVEMENTS)].astype(np.float32)
    pixels = np.ascontiguousarray(records[:, :PIXELS]).reshape(-1, *PIXEL_SHAPE)
    return torch.from_numpy(pixels), torch.from_numpy(done)
