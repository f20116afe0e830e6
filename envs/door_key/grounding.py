"""Advice compiled once and grounded by the batch: mixtures of plans as arrays for the kernels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from threading import Lock
from typing import Any

import numpy as np
from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX
from numpy.typing import NDArray

from llm4teach.envs.door_key.advice_kernel import PlanArrays, ground_all, identify_all
from llm4teach.envs.door_key.observation_kernel import MAX_HEIGHT
from llm4teach.envs.door_key.option_kernel import ANY_COLOR, GO_TO, PALETTE, VERBS
from llm4teach.envs.grid.options import NAME
from llm4teach.envs.plan import Option
from llm4teach.envs.task import Mixture, Observations

_MOST = 10_000  # mixtures kept, so that ever new ones do not fill the memory
_NO_KIND = -1


class PlanGrounder:
    """Grounds mixtures in maps of MiniGrid codes, as options.decide_plan does one by one.

    Args:
        n_actions: of the environment; the first six are MiniGrid's.
        lava_blind: paths lead through lava as if it were floor.
        neutral_colors: ``color1 key`` is a key of the first color met.
    """

    def __init__(
        self, n_actions: int, *, lava_blind: bool = False, neutral_colors: bool = False
    ) -> None:
        self._n_actions = n_actions
        self._lava_blind, self._neutral_colors = lava_blind, neutral_colors
        self._lock = Lock()  # a task is shared by all threads
        self._forget()

    def _forget(self) -> None:
        self._by_object: dict[int, int] = {}  # row among the plans by id(mixture)
        self._by_value: dict[Mixture, int] = {}
        self._kept: list[Mixture] = []  # keeps them alive, so that no id is used again
        self._plans: PlanArrays | None = None
        self._latest: tuple[Mixture, ...] | None = None
        self._latest_indices = np.empty(0, np.int64)

    def ground(
        self,
        observations: Observations,
        mixtures: Sequence[Mixture],
        which: NDArray[np.integer[Any]],
    ) -> NDArray[np.float32]:
        """Return the grounded advice, float32 (N, n_actions); see Task.ground.

        Raises:
            ValueError: an observation has no agent, or is too high.
        """
        maps = _as_compiled_for(observations)
        probs = np.zeros((len(maps), self._n_actions), np.float32)
        if not len(maps):
            return probs
        with self._lock:
            plans, indices = self._look_up(mixtures)
        row = ground_all(maps, indices[which], plans, self._lava_blind, self._neutral_colors, probs)
        _refuse_without_agent(row)
        return probs

    def identify(self, observations: Observations, *, counted: bool = False) -> NDArray[np.int64]:
        """Return what was seen of keys and doors, int64 (N,), packed as by `state.pack`.

        Args:
            observations: uint8 (N, width, height, 4).
            counted: doors are counted, not distinguished by their color.

        Raises:
            ValueError: an observation has no agent, or is too high.
        """
        maps = _as_compiled_for(observations)
        ids = np.empty(len(maps), np.int64)
        _refuse_without_agent(identify_all(maps, counted, self._neutral_colors, ids))
        return ids

    def _look_up(self, mixtures: Sequence[Mixture]) -> tuple[PlanArrays, NDArray[np.int64]]:
        """The plans as arrays, and which mixtures among them these are."""
        if mixtures is not self._latest:
            if len(self._kept) > _MOST:
                self._forget()
            # Only a tuple is known to hold the same mixtures the next time.
            self._latest = mixtures if isinstance(mixtures, tuple) else None
            self._latest_indices = np.array(
                [self._index(mixture) for mixture in mixtures], np.int64
            )
        if self._plans is None:
            self._plans = _compile(list(self._by_value))
        return self._plans, self._latest_indices

    def _index(self, mixture: Mixture) -> int:
        index = self._by_object.get(id(mixture))
        if index is None:
            index = self._by_value.get(mixture)
            if index is None:
                index = self._by_value[mixture] = len(self._by_value)
                self._plans = None
            self._by_object[id(mixture)] = index
            self._kept.append(mixture)
        return index


def _as_compiled_for(observations: Observations) -> Observations:
    """The same maps as the kernels are compiled for; for others they would be compiled again.

    Raises:
        ValueError: the maps are too high.
    """
    if observations.shape[2] > MAX_HEIGHT:
        raise ValueError(
            f"maps of up to {MAX_HEIGHT} rows can be searched, not {observations.shape}"
        )
    flags = observations.flags
    if flags.c_contiguous and flags.writeable and observations.dtype == np.uint8:
        return observations
    return np.array(observations, np.uint8, order="C")


def _refuse_without_agent(row: int) -> None:
    if row >= 0:
        raise ValueError(
            f"observation {row} has no agent: there is no heading below 4 in its channel 3"
        )


def _compile(mixtures: Sequence[Mixture]) -> PlanArrays:
    plans = [plan for mixture in mixtures for plan, _ in mixture]
    options = [option for plan in plans for option in plan.options]
    vocabulary = {option: i for i, option in enumerate(dict.fromkeys(options))}
    return PlanArrays(
        np.array([0, *accumulate(len(mixture) for mixture in mixtures)], np.int64),
        np.array([share for mixture in mixtures for _, share in mixture], np.float64),
        np.array([0, *accumulate(len(plan.options) for plan in plans)], np.int64),
        np.array([vocabulary[option] for option in options], np.int64),
        np.array([_numbers(option) for option in vocabulary], np.int64).reshape(-1, 4),
    )


def _numbers(option: Option) -> tuple[int, int, int, int]:
    """Verb, kind, color and number of an option, for `option_kernel.decide`."""
    name = NAME.fullmatch(option.target)
    kind, color, nth = _NO_KIND, ANY_COLOR, 0
    if name is not None:
        kind = OBJECT_TO_IDX.get(name["kind"], 255)
        if name["neutral"]:
            color = PALETTE - int(name["neutral"])
        elif name["color"]:
            color = COLOR_TO_IDX.get(name["color"], 255)
        nth = int(name["nth"] or 0)
    if option.verb not in VERBS:
        return GO_TO, _NO_KIND, ANY_COLOR, 0
    return VERBS.index(option.verb), kind, color, nth
