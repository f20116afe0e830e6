"""Environments whose observation records both what the student sees and what the teacher sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from llm4teach.envs.custom.spaces import pack, packed_size, student_bytes, unpack
from llm4teach.envs.encoding import text_bytes
from llm4teach.errors import TaskError

Encode = Callable[[Any], "NDArray[np.uint8] | str"]


class TeacherView(Protocol):
    """What the teacher sees of one environment: it may remember what was seen and done."""

    space: gym.Space[Any]  # of the views

    def reset(self, observation: Any, info: dict[str, Any]) -> Any:
        """Forget the last episode; return the view of the first observation."""
        ...

    def update(self, observation: Any, action: int, info: dict[str, Any]) -> Any:
        """Return the view after an action."""
        ...


class Recorder:
    """The layout of a recorded observation: the student's bytes, then the teacher's.

    If both see the same bytes they are recorded once, in their own shape.

    Args:
        space: of the environment's observations.
        encode: makes the student's observation, uint8 of one shape; None for `student_bytes`.
        view_space: of the teacher's views; None if the teacher sees the environment's observation.
        example: an observation, which shows the shape of the student's.

    Raises:
        TaskError: there is no encoding for the student, or the views have no fixed size.
    """

    def __init__(
        self,
        space: gym.Space[Any],
        encode: Encode | None,
        view_space: gym.Space[Any] | None,
        example: Any,
    ) -> None:
        self._space, self._encode, self._view_space = space, encode, view_space or space
        self._view_member = "view" if view_space else "env"
        self.is_text = isinstance(encode(example) if encode else example, str)
        self.student_shape = self._student(example).shape
        self.student_size = int(np.prod(self.student_shape))
        is_bytes = isinstance(space, spaces.Box) and space.dtype == np.uint8
        self.is_shared = is_bytes and encode is None and view_space is None
        self.shape = (
            self.student_shape
            if self.is_shared
            else (self.student_size + packed_size(self._view_space),)
        )

    def record(self, observation: Any, view: Any) -> NDArray[np.uint8]:
        """Return what is recorded of a moment, uint8 (*shape).

        Raises:
            TaskError: the student's observation changed its shape, or the view is not of its space;
                the message names ``env``, ``encode`` or ``view``.
        """
        student = self._student(observation)
        if student.shape != self.student_shape:
            member = "encode" if self._encode else "env"
            raise TaskError(
                f"{member} returned an observation of shape {student.shape}, but at first one of "
                f"{self.student_shape}"
            )
        if self.is_shared:
            return student
        try:
            packed = pack(self._view_space, view)
        except TaskError as error:
            raise TaskError(f"{self._view_member} breaks its observation space: {error}") from None
        return np.concatenate([student.ravel(), packed])

    def student_part(self, records: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return what the student sees, uint8 (N, *student_shape), of records (N, *shape)."""
        if self.is_shared:
            return records
        part = records[:, : self.student_size]
        return np.ascontiguousarray(part).reshape(-1, *self.student_shape)

    def view(self, record: NDArray[np.uint8]) -> Any:
        """Return what the teacher sees, an element of the view's space."""
        if self.is_shared:
            return record
        return unpack(self._view_space, record[self.student_size :])

    def _student(self, observation: Any) -> NDArray[np.uint8]:
        if self._encode is None:
            try:
                return student_bytes(self._space, observation)
            except (IndexError, TypeError, ValueError) as error:
                raise TaskError(
                    f"env returned {observation!r}, which is not in its observation space "
                    f"{self._space}: {error}"
                ) from None
        returned = self._encode(observation)
        encoded = text_bytes(returned) if isinstance(returned, str) else np.asarray(returned)
        if encoded.dtype != np.uint8 or not encoded.ndim:
            raise TaskError(
                "encode must return a uint8 array or a text, but returned an array of "
                f"{encoded.dtype} and shape {encoded.shape}"
            )
        return encoded


class RecordedEnv(gym.Wrapper[NDArray[np.uint8], int, Any, int]):
    """An environment whose observations are records.

    Args:
        env: the environment, with a time limit.
        recorder: makes the records.
        view: the teacher's memory of this environment; None if it sees the observation alone.
    """

    def __init__(
        self, env: gym.Env[Any, int], recorder: Recorder, view: TeacherView | None
    ) -> None:
        super().__init__(env)
        self._recorder, self._view = recorder, view
        self.observation_space = spaces.Box(0, 255, recorder.shape, np.uint8)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Start an episode that the seed determines."""
        observation, info = self.env.reset(seed=seed, options=options)
        view = self._view.reset(observation, info) if self._view else observation
        return self._recorder.record(observation, view), info

    def step(self, action: int) -> Any:
        """Act; an episode that the environment ends is terminated, never truncated as well."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        view = self._view.update(observation, action, info) if self._view else observation
        return (
            self._recorder.record(observation, view),
            float(reward),
            bool(terminated),
            bool(truncated and not terminated),
            info,
        )
