"""The states that nobody has asked about yet, handed out one by one to who holds their lease."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.datasets.storage.key_index import KeyCodes, key_codes
from llm4teach.datasets.storage.leases import Leases
from llm4teach.envs.task import State
from llm4teach.teacher_labeling.teacher import Metered

_BUCKET_BITS = 4  # 16 leases: enough for a dozen runs, and cheap for a thousand states
_PIECE = 65_536  # states
_Places = NDArray[np.int64]


class Budget(Metered, Protocol):
    """What the questions are paid from."""

    def begin(self) -> bool:
        """Take one question from it; False if there is none left."""
        ...


class Claims:
    """Each state without advice once; a teacher pulls the next when it has room for it.

    States are claimed by buckets of similar keys, as late as possible: what is not yet claimed is
    there for other runs. The order, by bucket, is the same in every run.

    Args:
        states: in any number and order, equal ones too.
        store: what it has advice for is left out.
        leases: of this run.
        budget: of the questions; after the first no, nothing is handed out.
        inherit: has the answers committed that a run has left whose leases it has lost, which is
            told by the leases' owner.
    """

    def __init__(
        self,
        states: Sequence[State],
        store: AdviceStore,
        leases: Leases,
        budget: Budget,
        inherit: Callable[[str], None],
    ) -> None:
        self._states, self._store, self._leases, self._budget = states, store, leases, budget
        self._inherit, self.charge = inherit, budget.charge
        self._codes = _codes_of(states)  # (N,)
        store.refresh()
        _, first = np.unique(self._codes, return_index=True)
        self.distinct = len(first)
        missing = np.sort(first[~store.known(self._codes[first])])
        buckets = self._codes[missing] >> np.uint64(64 - _BUCKET_BITS)
        self._unclaimed: dict[int, _Places] = {
            int(bucket): missing[buckets == bucket] for bucket in np.unique(buckets)
        }
        self._current: tuple[int, list[int]] | None = None  # a bucket; what is left of it, reversed
        self._open: dict[int, int] = {}  # claimed states of a bucket that are not committed yet
        self._mutex = threading.Lock()  # handed out and committed in different threads
        self.closed = False  # nothing is handed out any more
        self._is_over = False
        self.handed_out = 0
        self.answered_elsewhere = 0  # found committed by others when their turn came

    def __len__(self) -> int:
        """How many are not handed out yet."""
        current = self._current
        ready = 0 if current is None else len(current[1])
        return ready + sum(map(len, self._unclaimed.values()))

    def __iter__(self) -> Iterator[State]:
        """Hand out states until there are none left that others have not claimed."""
        while not self.closed and self.claim():
            assert self._current is not None
            bucket, places = self._current
            if not self._leases.holds(_name(bucket)):
                self._put_back()
            elif not self._budget.begin():
                self.closed = True
                self._put_back()
            else:
                place = places.pop()
                if not places:
                    self._current = None
                self.handed_out += 1
                yield self._states[place]

    def close(self) -> None:
        """Hand nothing out any more, and have nothing repeated of what was."""
        self.closed = self._is_over = True

    def may_retry(self) -> bool:
        return not self.is_over() and self._budget.may_retry()

    def is_over(self) -> bool:
        return self._is_over or self._budget.is_over()

    def claim(self) -> bool:
        """Make sure that there is a state to hand out; False if others hold all that are left."""
        if self._current is not None:
            return True
        by_name = {_name(bucket): bucket for bucket in self._unclaimed}
        for name in self._leases.free_first(by_name):
            if not self._leases.acquire(name, self._inherit):
                continue
            bucket = by_name[name]
            self._store.refresh()  # before the lease was ours, its last holder may have committed
            places = self._without_answered(self._unclaimed.pop(bucket))
            with self._mutex:
                self._open[bucket] = self._open.get(bucket, 0) + len(places)
                self._release_if_done(bucket)
            if len(places):
                self._current = bucket, places[::-1].tolist()
                break
        return self._current is not None

    def look_again(self) -> None:
        """Drop what others have answered in the meantime."""
        self._store.refresh()
        for bucket, places in list(self._unclaimed.items()):
            left = self._without_answered(places)
            if len(left):
                self._unclaimed[bucket] = left
            else:
                del self._unclaimed[bucket]

    def committed(self, state_keys: Sequence[str]) -> None:
        """Give back the leases that are no longer needed once these states are stored."""
        buckets = key_codes(state_keys) >> np.uint64(64 - _BUCKET_BITS)
        with self._mutex:
            for bucket, count in zip(*np.unique(buckets, return_counts=True), strict=True):
                if bucket in self._open:
                    self._open[int(bucket)] -= int(count)
                    self._release_if_done(int(bucket))

    def _without_answered(self, places: _Places) -> _Places:
        answered = self._store.known(self._codes[places])
        self.answered_elsewhere += int(np.count_nonzero(answered))
        return places[~answered]

    def _put_back(self) -> None:
        assert self._current is not None
        bucket, places = self._current
        self._current, self._unclaimed[bucket] = None, np.array(places[::-1], np.int64)
        with self._mutex:
            self._open[bucket] -= len(places)
            self._release_if_done(bucket)

    def _release_if_done(self, bucket: int) -> None:
        if self._open[bucket] == 0:
            del self._open[bucket]
            self._leases.release(_name(bucket))


def _codes_of(states: Sequence[State]) -> KeyCodes:
    """The states' keys, uint64 (N,): piece by piece, as a million strings take 80 MB."""
    keys, pieces = (state.key for state in states), [np.empty(0, np.uint64)]
    while piece := list(islice(keys, _PIECE)):
        pieces.append(key_codes(piece))
    return np.concatenate(pieces)


def _name(bucket: int) -> str:
    return f"{bucket:02x}"
