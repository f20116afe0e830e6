"""One process at a time: a lock where the disk has locks, a lease where an object store has not."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llm4teach.datasets.storage.conditional_store import store_at
from llm4teach.datasets.storage.leases import Leases
from llm4teach.datasets.storage.locks import LockedError, locked
from llm4teach.datasets.storage.paths import Place

_WAIT_S = 0.5  # between looks at somebody else's lease


@contextmanager
def alone(place: Place, wait: bool = True) -> Iterator[None]:
    """Hold the lock that the file ``place`` stands for; it is made, and stays.

    On an object store it is a lease: of a holder that was killed it can be taken over when the
    term is over, a minute later.

    Raises:
        LockedError: another process holds it, and ``wait`` is False.
    """
    if isinstance(place, Path):
        with locked(place, wait):
            yield
        return
    name = place.name.lstrip(".")
    with Leases(store_at(place.parent / ".leases"), f"{os.getpid()}-{uuid.uuid4().hex}") as mine:
        while not mine.acquire(name):
            if not wait:
                raise LockedError(f"another process holds {place}")
            time.sleep(_WAIT_S)
        yield
