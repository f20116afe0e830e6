"""The questions without an answer, handed out in batches to the process that locks them."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.datasets.storage.journal import Journal, journal_folder
from llm4teach.datasets.storage.locks import Lock, lock_at
from llm4teach.envs.task import State
from llm4teach.teacher_labeling.config import Price
from llm4teach.teacher_labeling.labeling.budget import Budget
from llm4teach.teacher_labeling.labeling.report import LabelReport
from llm4teach.teacher_labeling.teacher import Usage

PARTITIONS = 16  # of the questions, by their keys: enough for a dozen processes side by side
BATCH_QUESTIONS, BATCH_S = 1_024, 5.0  # of one partition, before other processes get their turn
_HEX_KEY = re.compile(r"[0-9a-f]{16}")


def partition_of(key: str) -> int:
    """Return the partition of a question key, a 64-bit hash in hex or any other string."""
    digest = key if _HEX_KEY.fullmatch(key) else hashlib.blake2b(key.encode()).hexdigest()
    return int(digest[0], PARTITIONS)


@dataclass(eq=False)
class Batch:
    """What is asked of one partition while its lock is held."""

    lock: Lock
    journal: Journal
    in_flight: int = 0
    is_complete: bool = False  # nothing more of it will be handed out


class WorkQueue:
    """Each question without an answer once; a teacher takes the next when it has room for it.

    A partition's questions are handed out while its lock is held. What its last holder journaled,
    and had no time to commit, is committed first. A lock is taken as late as possible, so that
    other processes can work beside this one, and is held for one batch: at most `BATCH_QUESTIONS`
    and `BATCH_S` seconds, and until their answers are committed (`release`).

    Questions are handed out in the teacher's thread and answered in another one.

    Args:
        states: the questions, in any number and order, equal ones too.
        store: of the answers; what it has is left out.
        work: name of this work below the store's folder: the same for all that do it.
        budget: of the questions; when it is exhausted nothing more is handed out.
        expiry_s: of locks in an object store.
        price: of failed questions.
        report: counts what failed questions cost, and what other processes have answered.
        stop: when set, nothing more is handed out or retried.
        retry_invalid: hand out those, too, whose stored answer is invalid.
    """

    def __init__(
        self,
        states: Sequence[State],
        store: AdviceStore,
        work: str,
        budget: Budget,
        expiry_s: float,
        price: Price | None,
        report: LabelReport,
        stop: threading.Event,
        retry_invalid: bool = False,
    ) -> None:
        self._store, self._budget, self._price = store, budget, price
        self._report, self._stop, self._expiry_s = report, stop, expiry_s
        self._locks = store.folder / work
        self._journals = journal_folder(self._locks)
        self._old_journals = journal_folder(store.folder / work.replace(".labeling", ".labelling"))
        self._waiting: dict[int, dict[str, State]] = {}  # by partition and question key
        self._batches: dict[int, Batch] = {}  # of the partitions whose locks are held
        self._current: int | None = None  # the partition that is handed out
        self._tried: set[int] = set()  # partitions that had their turn since the last `end_round`
        self._mutex = threading.Lock()
        self._is_closed = self._is_over = False
        self._handed_out = 0  # and not answered

        self._recover()
        store.refresh()
        distinct: dict[str, State] = {}
        for state in states:
            distinct.setdefault(state.key, state)
        # How often they were asked before, as of now: others may ask them again meanwhile.
        invalid = [key for key in distinct if store.is_invalid(key)] if retry_invalid else []
        self._again = {key: store.attempts(key) for key in invalid}
        for key, state in distinct.items():
            if not self._is_answered(key):
                self._waiting.setdefault(partition_of(key), {})[key] = state
        report.distinct_questions, report.left = len(distinct), len(self)
        report.known = len(distinct) - len(self)

    def __len__(self) -> int:
        """How many are not handed out yet."""
        return sum(map(len, self._waiting.values()))

    def __iter__(self) -> Iterator[State]:
        """Hand out one batch of each partition that no other process has locked."""
        while not self._is_closed and self.lock_next():
            assert self._current is not None
            number = self._current
            batch, waiting = self._batches[number], self._waiting[number]
            until = time.monotonic() + BATCH_S
            for _ in range(min(len(waiting), BATCH_QUESTIONS)):
                if time.monotonic() > until or not batch.lock.held:
                    break
                if self._is_closed or self._stop.is_set() or not self._budget.reserve():
                    self._is_closed = True
                    break
                key = next(iter(waiting))
                with self._mutex:
                    batch.in_flight += 1
                    self._handed_out += 1
                yield waiting.pop(key)
            if not waiting:
                del self._waiting[number]
            self._current, batch.is_complete = None, True

    def lock_next(self) -> bool:
        """Lock a partition that has questions; return False if there is none that is free."""
        if self._current is not None:
            return True
        for number in sorted(self._waiting.keys() - self._tried):
            self._tried.add(number)
            if self._lock(number):
                self._current = number
                return True
        return False

    def answered(self, key: str) -> Batch:
        """Count the answer to a question; return the batch that it belongs to."""
        with self._mutex:
            batch = self._batches[partition_of(key)]
            batch.in_flight -= 1
            self._handed_out -= 1
        return batch

    def attempt_of(self, key: str) -> int:
        """Which attempt at a question that is handed out its answer is, from 1."""
        return self._again.get(key, 0) + 1

    def release(self) -> None:
        """Unlock the partitions whose batches are answered: the answers are committed."""
        with self._mutex:
            for number, batch in list(self._batches.items()):
                if batch.is_complete and not batch.in_flight:
                    del self._batches[number]
                    batch.lock.release()

    def end_round(self) -> None:
        """Unlock everything and refund what was not answered: the teacher has finished."""
        with self._mutex:
            self._budget.refund(self._handed_out)
            self._handed_out, self._current, self._tried = 0, None, set()
            while self._batches:
                self._batches.popitem()[1].lock.release()

    def drop_answered(self) -> None:
        """Leave out what other processes have answered in the meantime."""
        self._store.refresh()
        for number in list(self._waiting):
            self._drop_answered(number)

    def close(self) -> None:
        """Hand out nothing more, and have nothing retried."""
        self._is_closed = self._is_over = True

    @property
    def is_closed(self) -> bool:
        """Whether nothing more is handed out: the budget is exhausted, or `close` was called."""
        return self._is_closed

    # What a teacher calls while it asks (`Metered`).

    def may_retry(self) -> bool:
        return not self.is_over() and self._budget.may_retry()

    def is_over(self) -> bool:
        return self._is_over or self._stop.is_set()

    def may_take(self) -> bool:
        return self._budget.may_take()

    def charge(self, usage: Usage, cost: float) -> None:
        if self._price is not None and not cost:
            cost = self._price.of(usage.prompt_tokens, usage.completion_tokens)
        self._budget.charge(usage.prompt_tokens + usage.completion_tokens, cost)
        self._report.charge(usage, cost)

    def _lock(self, number: int) -> bool:
        """Lock a partition, unless it is locked or has nothing left to ask."""
        lock = lock_at(self._locks / f"{number:x}.lock", self._expiry_s)
        if not lock.acquire():
            return False
        try:
            journal = Journal(self._journals / f"{number:x}.jsonl")
            journal.recover(self._store.commit)
            self._store.refresh()  # its last holder may have committed
            self._drop_answered(number)
        except BaseException:
            lock.release()
            raise
        if number not in self._waiting:
            lock.release()
            return False
        self._batches[number] = Batch(lock, journal)
        return True

    def _drop_answered(self, number: int) -> None:
        waiting = self._waiting[number]
        for key in list(filter(self._is_answered, waiting)):
            del waiting[key]
            self._report.answered_elsewhere += 1
        if not waiting:
            del self._waiting[number]

    def _is_answered(self, key: str) -> bool:
        return self._store.attempts(key) > self._again.get(key, 0)

    def _recover(self) -> None:
        """Commit what processes that died have left in any partition."""
        for path in sorted(self._journals.glob("*.jsonl")):
            lock = lock_at(self._locks / f"{path.stem}.lock", self._expiry_s)
            if lock.acquire():
                try:
                    Journal(path).recover(self._store.commit)
                finally:
                    lock.release()
        # Earlier releases had a journal per process.
        for path in sorted(self._old_journals.glob("*.jsonl")):
            Journal(path).recover(self._store.commit)
