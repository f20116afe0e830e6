"""Which of the states without advice are worth a question while the student learns."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from llm4teach.envs.task import Observations
from llm4teach.teacher_labeling.config import LiveConfig

Uncertainty = Callable[[Observations], NDArray[np.float32]]  # (N, *shape) -> nats (N,)
_STEPS = 1_000  # that a number of questions is given for


class AskPolicy(Protocol):
    """Chooses among the K states of a batch that have no advice."""

    def saw(self, steps: int) -> None:
        """Be told of so many further env steps."""
        ...

    def choose(
        self,
        observations: Observations,
        state: NDArray[np.integer],
        counts: NDArray[np.integer],
        questions: NDArray[np.integer],
    ) -> NDArray[np.bool_]:
        """Say which to ask about, bool (K,).

        Args:
            observations: those of the K states, uint8 (M, *observation_shape).
            state: which of the K each is of, int (M,).
            counts: how many are of each, int (K,).
            questions: how many each takes, int (K,).
        """
        ...


class AskUnseen:
    """All of them."""

    def saw(self, steps: int) -> None:
        """Nothing to count."""

    def choose(
        self,
        observations: Observations,
        state: NDArray[np.integer],
        counts: NDArray[np.integer],
        questions: NDArray[np.integer],
    ) -> NDArray[np.bool_]:
        return np.ones(len(counts), np.bool_)


class AskBudgeted:
    """The commonest first, and at most so many questions in any 1,000 env steps in a row.

    Less than one question in them means one in more steps: 0.5 is one in any 2,000. All that a
    state takes are asked at once, so the last one may exceed the number.
    """

    def __init__(self, questions_per_1000_steps: float) -> None:
        rate = questions_per_1000_steps
        self._most = int(rate) if rate >= 1 or not rate else 1
        self._window = _STEPS / rate if 0 < rate < 1 else _STEPS  # env steps
        self._step = 0
        self._asked: deque[int] = deque()  # at which step each of the latest questions was

    def saw(self, steps: int) -> None:
        self._step += steps
        while self._asked and self._asked[0] <= self._step - self._window:
            self._asked.popleft()

    def choose(
        self,
        observations: Observations,
        state: NDArray[np.integer],
        counts: NDArray[np.integer],
        questions: NDArray[np.integer],
    ) -> NDArray[np.bool_]:
        chosen = np.zeros(len(counts), np.bool_)
        for k in np.argsort(-counts, kind="stable"):
            if len(self._asked) >= self._most:
                break
            chosen[k] = True
            self._asked.extend([self._step] * int(questions[k]))
        return chosen


class AskUncertain:
    """Those in one of whose observations the student's policy has much entropy."""

    def __init__(self, uncertainty: Uncertainty, min_entropy: float) -> None:
        self._uncertainty, self._min_entropy = uncertainty, min_entropy

    def saw(self, steps: int) -> None:
        """Nothing to count."""

    def choose(
        self,
        observations: Observations,
        state: NDArray[np.integer],
        counts: NDArray[np.integer],
        questions: NDArray[np.integer],
    ) -> NDArray[np.bool_]:
        highest = np.zeros(len(counts), np.float32)  # (K,)
        np.maximum.at(highest, state, self._uncertainty(observations))
        chosen: NDArray[np.bool_] = highest >= self._min_entropy
        return chosen


def ask_policy(config: LiveConfig, uncertainty: Uncertainty) -> AskPolicy:
    """Return the policy that the settings name; ``uncertainty`` is the student's entropy."""
    if config.ask == "budgeted":
        return AskBudgeted(config.questions_per_1000_steps)
    if config.ask == "never":
        return AskBudgeted(0)
    if config.ask == "uncertain":
        return AskUncertain(uncertainty, config.min_entropy)
    return AskUnseen()
