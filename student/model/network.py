"""The student: an encoder for its kind of observation, a layer above it, and two heads."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llm4teach.envs.encoding import EncoderFactory, EncoderName
from llm4teach.student.model.convolutions import ConvolutionalEncoder
from llm4teach.student.model.encoders import MapEncoder, make_encoder
from llm4teach.student.model.own_encoder import own_encoder

OF_TASK = "task"  # in the settings: the task's own encoder


class Output(NamedTuple):
    """What the student says of N observations."""

    logits: Tensor  # float32 (N, n_actions)
    values: Tensor  # float32 (N,)


class Student(nn.Module):
    """A small actor-critic.

    Maps of cells are turned so that the agent faces one way always: what it learns facing east
    holds for all headings. Colors are renumbered, a door's first: what it learns of red and blue
    holds for green and gray, and a key that fits looks like one.

    Args:
        observation_shape: of one of the student's observations.
        n_actions: number of actions.
        encoder: what reads maps of cells; vectors and depth images have encoders of their own.
        width: of that encoder; 0 for its usual one.
        hidden: features between encoder and heads.
        record_shape: of what is recorded of a moment, whose first bytes are the student's
            observation; None if that is all of it.
        reads: what reads the observations, as `Task.encoder`; by default their shape decides.

    Raises:
        TaskError: no encoder reads such observations, or the task's own one fails.
    """

    def __init__(
        self,
        observation_shape: tuple[int, ...],
        n_actions: int,
        encoder: MapEncoder = "cells",
        width: int = 0,
        hidden: int = 64,
        record_shape: tuple[int, ...] | None = None,
        reads: EncoderName | EncoderFactory | None = None,
    ) -> None:
        super().__init__()
        self.observation_shape = tuple(observation_shape)
        self.record_shape = tuple(record_shape or observation_shape)
        self.encoder = (
            own_encoder(reads, self.observation_shape)
            if callable(reads)
            else make_encoder(self.observation_shape, encoder, width, reads)
        )
        self.settings: dict[str, Any] = {
            "observation_shape": list(observation_shape),
            "n_actions": n_actions,
            "encoder": encoder,
            "width": self.encoder.width,
            "hidden": hidden,
        }
        if reads is not None:
            self.settings["reads"] = OF_TASK if callable(reads) else reads
        if self.record_shape != self.observation_shape:
            self.settings["record_shape"] = list(self.record_shape)
        self.trunk = nn.Linear(self.encoder.features, hidden)
        self.policy = nn.Linear(hidden, n_actions)
        self.value = nn.Linear(hidden, 1)
        if isinstance(self.encoder, ConvolutionalEncoder):
            self.encoder.initialize()
        nn.init.orthogonal_(self.policy.weight, 0.01)  # start near the uniform policy
        nn.init.zeros_(self.value.weight)
        nn.init.zeros_(self.policy.bias)
        nn.init.zeros_(self.value.bias)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.trunk.weight.device

    def encode(self, observations: Tensor) -> Tensor:
        """Return what `from_inputs` takes, (N, ...), for uint8 (N, *observation_shape).

        Records, uint8 (N, *record_shape), are taken as well.

        No parameter is involved: of one observation it is the same for ever. It is computed where
        the observations are, and moved to the student's device.

        Raises:
            TaskError: the observations are not of the kind that the student reads.
        """
        if observations.shape[1:] == self.record_shape != self.observation_shape:
            part = observations.flatten(1)[:, : math.prod(self.observation_shape)]
            observations = part.reshape(-1, *self.observation_shape)
        return self.encoder.encode(observations).to(self.device)

    def from_inputs(self, inputs: Tensor) -> Output:
        """Logits and values of what `encode` has returned."""
        features = F.relu(self.trunk(self.encoder(inputs)))  # (N, hidden)
        return Output(self.policy(features), self.value(features).squeeze(1))

    def forward(self, observations: Tensor) -> Output:
        """Logits and values of observations, uint8 (N, *observation_shape)."""
        return self.from_inputs(self.encode(observations))


def n_bytes(module: nn.Module) -> int:
    """Size of a module's parameters in bytes."""
    return sum(p.numel() * p.element_size() for p in module.parameters())
