"""Leases: the right to work on something for a while, renewed as long as its holder lives."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import TracebackType

from llm4teach.datasets.storage.conditional_store import ConditionalStore

_LATELY_S = 2.0
SECONDS = 60.0  # a lease not renewed for so long may be taken over


class Leases:
    """The leases of one holder; a context that renews them, and gives them back on leaving.

    Guarantees: at any time at most one holder believes that it has a lease, if the clocks of all
    holders differ by less than the time between the last renewal (a third of the term) and the end
    of the term, and if the store compares and swaps in one step. A holder that was suspended
    finds its lease gone (`holds`); what it does in the instant before it looks is not prevented,
    so that whoever commits work checks once more (AdviceStore.commit).

    Args:
        store: where the leases are kept.
        owner: name of the holder, used by nobody else ever.
        seconds: term of a lease.
        clock: unix time in seconds.
    """

    def __init__(
        self,
        store: ConditionalStore,
        owner: str,
        seconds: float = SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.owner = owner
        self._store, self._seconds, self._clock = store, seconds, clock
        self._held: dict[str, tuple[bytes, float]] = {}  # the record and the end of its term
        self._taken: set[str] = set()  # names with a record, when it was last looked
        self._looked_at = 0.0
        self._mutex = threading.Lock()
        self._stop = threading.Event()
        self._heart: threading.Thread | None = None

    def __enter__(self) -> Leases:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self._heart is not None:
            self._heart.join()
        for name in list(self._held):
            self.release(name)

    def acquire(self, name: str, inherit: Callable[[str], None] = lambda owner: None) -> bool:
        """Take the lease if nobody has it, or its term is over; say whether.

        Args:
            name: of the lease.
            inherit: told whose term was over, if that is so, once the lease is this holder's.
        """
        if self.holds(name):
            return True
        content, ends_at = self._record()
        found = None
        if name in self._taken or not self._store.write(name, content, None):
            found = self._store.read(name)
            if found is not None and _ends_at(found) > self._clock():
                return False
            if not self._store.write(name, content, found):
                return False  # somebody else was quicker
        with self._mutex:
            self._held[name] = content, ends_at
        if self._heart is None:
            self._heart = threading.Thread(target=self._beat, name="leases", daemon=True)
            self._heart.start()
        if found is not None:
            inherit(_owner(found))
        return True

    def free_first(self, names: Iterable[str]) -> list[str]:
        """The names in their order, those that somebody else had a lease on lately at the end."""
        if self._clock() - self._looked_at > _LATELY_S:
            self._taken, self._looked_at = set(self._store.names()), self._clock()
        taken = self._taken - self._held.keys()
        return sorted(names, key=lambda name: name in taken)

    def holds(self, name: str) -> bool:
        """Whether the lease is still this holder's."""
        held = self._held.get(name)
        return held is not None and held[1] > self._clock()

    def renew(self) -> None:
        """Begin a new term of every lease held; those that somebody has taken over are dropped."""
        for name in list(self._held):
            with self._mutex:
                held = self._held.get(name)
                if held is None:
                    continue
                content, ends_at = self._record()
                if self._store.write(name, content, held[0]):
                    self._held[name] = content, ends_at
                else:
                    del self._held[name]

    def release(self, name: str) -> None:
        """Give a lease back."""
        with self._mutex:
            held = self._held.pop(name, None)
            if held is not None:
                self._store.delete(name, held[0])

    def keep(self) -> None:
        """Let the records stand until somebody buries this holder, or their term ends."""
        with self._mutex:
            self._held.clear()

    def forget(self, owner: str) -> None:
        """Remove the leases of a holder that is known to be dead."""
        for name in self._store.names():
            found = self._store.read(name)
            if found is not None and _owner(found) == owner:
                self._store.delete(name, found)

    def _record(self) -> tuple[bytes, float]:
        ends_at = self._clock() + self._seconds
        return json.dumps({"owner": self.owner, "ends_at": ends_at}).encode(), ends_at

    def _beat(self) -> None:
        while not self._stop.wait(self._seconds / 3):
            with suppress(OSError):  # the next beat may succeed; else the term ends
                self.renew()


def _ends_at(record: bytes) -> float:
    """End of the term, unix time; a damaged record's is over."""
    try:
        return float(json.loads(record)["ends_at"])
    except (ValueError, KeyError, TypeError):
        return 0.0


def _owner(record: bytes) -> str:
    try:
        return str(json.loads(record)["owner"])
    except (ValueError, KeyError, TypeError):
        return ""
