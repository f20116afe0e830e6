"""The worker's life: make environments, and answer one message after the other."""

from __future__ import annotations

import platform
import sys
import traceback
from collections.abc import Callable
from typing import Any, BinaryIO, Protocol

import numpy as np

from llm4teach.envs.habitat.worker import protocol
from llm4teach.envs.habitat.worker.layout import ACTIONS, MEASURES, Array
from llm4teach.envs.habitat.worker.protocol import Message, ProtocolError, StepResults


class WorkerEnv(Protocol):
    """What the loop needs of an environment; see `KinematicEnv`."""

    observation_shape: tuple[int, ...]

    def reset(self, seed: int, out: Array) -> None:
        """Start the episode of this seed; write its first observation into ``out``."""
        ...

    def step(self, action: int, out: Array) -> tuple[float, bool, bool]:
        """Act; write the observation; return reward, terminated and truncated."""
        ...

    def measures(self) -> list[float]:
        """The values of `layout.MEASURES` so far."""
        ...

    def render(self) -> Array:
        """The world from above, uint8 (height, width, 3)."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


Make = Callable[[dict[str, Any]], WorkerEnv]  # from the JSON of a MAKE message


class EnvBatch:
    """The environments of one worker; the same message steps many of them."""

    def __init__(self, make: Make) -> None:
        self._make = make
        self._settings: dict[str, Any] = {}
        self.envs: list[WorkerEnv] = []

    def prepare(self, n_envs: int, settings: dict[str, Any]) -> None:
        """Make environments until there are ``n_envs`` with these settings.

        Raises:
            ProtocolError: these are too many.
        """
        if not 0 < n_envs <= protocol.MAX_ENVS:
            raise ProtocolError(f"{n_envs} environments; at most {protocol.MAX_ENVS}")
        if settings != self._settings:
            self.close()
            self._settings = settings
        while len(self.envs) < n_envs:
            self.envs.append(self._make(settings))

    def reset(self, numbers: Array, seeds: Array) -> StepResults:
        """Start episodes."""
        results = self._results(len(numbers))
        for i, (n, seed) in enumerate(zip(numbers.tolist(), seeds.tolist())):
            self.envs[n].reset(seed, results.observations[i])
            results.measures[i] = self.envs[n].measures()
        return results

    def step(self, numbers: Array, actions: Array) -> StepResults:
        """Act in environments whose episodes are running."""
        results = self._results(len(numbers))
        values = actions.tolist()
        if values and not 0 <= min(values) <= max(values) < len(ACTIONS):
            raise ProtocolError(f"actions {values}")
        for i, (n, action) in enumerate(zip(numbers.tolist(), values)):
            result = self.envs[n].step(action, results.observations[i])
            results.rewards[i], results.terminated[i], results.truncated[i] = result
            if result[1] or result[2]:  # they are read only then
                results.measures[i] = self.envs[n].measures()
        return results

    def _results(self, count: int) -> StepResults:
        shape = self.envs[0].observation_shape if self.envs else ()
        return StepResults(
            np.zeros((count, *shape), np.uint8),
            np.zeros(count),
            np.zeros(count, bool),
            np.zeros(count, bool),
            np.zeros((count, len(MEASURES))),
        )

    def close(self) -> None:
        """Close all environments."""
        for env in self.envs:
            env.close()
        self.envs = []


def serve(reading: BinaryIO, writing: BinaryIO, make: Make, facts: dict[str, Any]) -> int:
    """Answer messages until the core closes the pipe or says CLOSE; return the exit code.

    Errors are sent as a FAILED message; after bytes that are no message nothing more
    is read, since it would not be known where the next one begins.
    """
    batch = EnvBatch(make)
    _send(writing, Message(protocol.HELLO, {"python": platform.python_version(), **facts}))
    while True:
        try:
            message = protocol.read_message(reading.read)
        except ProtocolError as error:
            _send(writing, Message(protocol.FAILED, {"error": str(error)}))
            return 1
        if message is None or message.kind == protocol.CLOSE:
            batch.close()
            return 0
        try:
            answer = _answer(batch, message)
        except Exception as error:
            last = traceback.format_exc(limit=-3)
            content = {"error": f"{type(error).__name__}: {error}", "traceback": last[-8000:]}
            answer = Message(protocol.FAILED, content)
        _send(writing, answer)


def _answer(batch: EnvBatch, message: Message) -> Message:
    if message.kind == protocol.MAKE:
        settings = dict(message.json)
        batch.prepare(int(settings.pop("n_envs")), settings)
        shape = list(batch.envs[0].observation_shape)
        return Message(protocol.DONE, {"observation_shape": shape, "measures": list(MEASURES)})
    if message.kind == protocol.RENDER:
        image = batch.envs[protocol.unpack_request(message.payload, len(batch.envs))[0][0]].render()
        return Message(protocol.DONE, {"shape": list(image.shape)}, image.tobytes())
    if message.kind not in (protocol.RESET, protocol.STEP):
        raise ProtocolError(f"no answer to a message of kind {message.kind}")
    numbers, values = protocol.unpack_request(message.payload, len(batch.envs))
    act = batch.reset if message.kind == protocol.RESET else batch.step
    return Message(protocol.DONE, payload=protocol.pack_results(act(numbers, values)))


def _send(writing: BinaryIO, message: Message) -> None:
    try:
        writing.write(protocol.pack(message))
        writing.flush()
    except BrokenPipeError:  # the core is gone, and so is the reason to be
        sys.exit(0)
