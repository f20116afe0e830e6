"""A task's own encoder: any torch module from observations to features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from llm4teach.envs.encoding import EncoderFactory
from llm4teach.errors import TaskError
from llm4teach.student.model.encoder import Encoder

_TRIED = 2  # observations that a new module is tried on
_LARGEST = 255


class OwnEncoder(Encoder):
    """Wraps a module that knows nothing of encoders.

    Args:
        module: maps observations (N, *shape) to features, float32 (N, features).
        features: how many these are.
        takes_bytes: it receives uint8, and else float32 from 0 to 1.
    """

    def __init__(self, module: nn.Module, features: int, takes_bytes: bool) -> None:
        super().__init__(features)
        self.module, self._takes_bytes = module, takes_bytes

    def forward(self, inputs: Tensor) -> Tensor:
        """Return features, float32 (N, features), of uint8 (N, *shape)."""
        features: Tensor = self.module(inputs if self._takes_bytes else _as_float(inputs))
        return features


def own_encoder(factory: EncoderFactory, shape: tuple[int, ...]) -> Encoder:
    """Return a task's own encoder of observations of this shape.

    Raises:
        TaskError: the factory fails, or what it returns is no module or has no features; the
            message names the member ``encoder``.
    """
    try:
        module = factory(shape)
    except Exception as error:  # code of the user, which may raise anything
        problem = f"encoder failed for the shape {shape}: {type(error).__name__}: {error}"
        raise TaskError(problem) from error
    if not isinstance(module, nn.Module):
        raise TaskError(f"encoder must return a torch.nn.Module, but returned {module!r}")
    nothing = torch.zeros(_TRIED, *shape, dtype=torch.uint8)
    if isinstance(module, Encoder):
        wanted = (_TRIED, module.features)
        _check(_tried(module, module.encode(nothing)), wanted)
        return module
    try:
        features = _tried(module, nothing)
        takes_bytes = features.is_floating_point()
    except TaskError:  # torch refuses to mix bytes with weights
        takes_bytes = False
    if not takes_bytes:
        features = _tried(module, _as_float(nothing))
    _check(features, (_TRIED, features.shape[-1] if features.ndim == 2 else "features"))
    return OwnEncoder(module, features.shape[1], takes_bytes)


def _as_float(observations: Tensor) -> Tensor:
    return observations.float() / _LARGEST


@torch.no_grad()
def _tried(module: nn.Module, inputs: Tensor) -> Tensor:
    """Return what a module makes of observations, without training it."""
    was_training = module.training
    try:
        returned = module.eval()(inputs)
    except Exception as error:  # code of the user, which may raise anything
        raise TaskError(
            f"the module of encoder failed on {inputs.dtype} {tuple(inputs.shape)}: "
            f"{type(error).__name__}: {error}"
        ) from error
    finally:
        module.train(was_training)
    if not isinstance(returned, Tensor):
        raise TaskError(f"the module of encoder must return a tensor, but returned {returned!r}")
    return returned


def _check(features: Tensor, wanted: tuple[int, int | str]) -> None:
    if tuple(features.shape) != wanted or not features.is_floating_point():
        raise TaskError(
            f"the module of encoder must return float32 (N, features), for {_TRIED} observations "
            f"{wanted}; it returned {features.dtype} {tuple(features.shape)}".replace("'", "")
        )
