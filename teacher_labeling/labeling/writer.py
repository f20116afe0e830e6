"""Answers on their way into the store: journalled at once, committed every few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

from llm4teach.datasets.advice_store import AdviceRow, AdviceStore
from llm4teach.datasets.storage.journal import EARLIER, Journal
from llm4teach.envs.plan import parse_plan
from llm4teach.envs.task import Mixture
from llm4teach.teacher_labeling.teacher import Advice, TeacherInfo

COMMIT_EVERY_S = 5.0  # after at most so long, others see an answer; a crash loses none
COMMIT_EVERY_ROWS = 2_048

_text = lru_cache(maxsize=4096)(str)  # teachers say the same few plans again and again


def to_row(advice: Advice, info: TeacherInfo) -> dict[str, Any]:
    """One row of `datasets.schema.ADVICE`, less what the store adds itself."""
    return {
        "state_key": advice.state.key,
        "state_text": advice.state.text,
        "status": advice.status.value,
        "options": [{"plan": _text(plan), "probability": p} for plan, p in advice.plans],
        "entropy": advice.entropy,
        "coverage": advice.coverage,
        "raw_sum": advice.raw_sum,
        "method": info.method,
        "settings": info.settings,
        "n_samples": advice.n_samples,
        "replies": list(advice.replies),
        "model": info.model,
        "model_revision": info.model_revision,
        "prompt_tokens": advice.prompt_tokens,
        "completion_tokens": advice.completion_tokens,
        "latency_s": advice.latency_s,
        "cost": advice.cost,
    }


def plans_of(row: dict[str, Any]) -> Mixture:
    """The distribution over plans that a row holds; empty unless its status is ok."""
    return tuple((parse_plan(o["plan"]), float(o["probability"])) for o in row["options"])


class Commits:
    """Commits in a thread of its own, so that the next answers are journalled without delay.

    There are two journals: while one's rows are committed, new ones go to the other.

    Args:
        store: takes the rows.
        journals: folder.
        owner: name of this labelling, used by nobody else ever.
        on_commit: told the state keys of each commit, in that thread.
    """

    def __init__(
        self,
        store: AdviceStore,
        journals: Path,
        owner: str,
        on_commit: Callable[[Sequence[str]], None],
    ) -> None:
        self._store, self._on_commit = store, on_commit
        # Recovery frees the owner's leases after the journal of the plain name.
        self._journal = Journal(journals, owner)
        self._other = Journal(journals, f"{EARLIER}{owner}")
        self._pending: list[AdviceRow] = []
        self._last = time.monotonic()
        self._thread = ThreadPoolExecutor(1, "commit")
        self._running: Future[None] | None = None
        self._failed = False

    def add(self, row: AdviceRow) -> None:
        """Keep a row safe from now on, and commit it soon.

        Raises:
            OSError, DatasetError: it, or the commit before, could not be written.
        """
        self._journal.append(row)
        self._pending.append(row)
        if self._failed:  # what it should have committed stands in the other journal, and stays
            return
        now = time.monotonic()
        due = now - self._last >= COMMIT_EVERY_S
        free = self._running is None or self._running.done()
        if (due and free) or len(self._pending) >= COMMIT_EVERY_ROWS:
            self._begin()
            self._last = now

    def finish(self) -> None:
        """Commit what is left, and wait for it.

        Raises:
            OSError, DatasetError: something could not be written; the next labelling recovers it.
        """
        if self._pending:
            self._begin()
        self._wait()

    def close(self) -> bool:
        """Free the journals; one that still has rows stays, to be recovered. Whether none has."""
        self._thread.shutdown()
        return self._other.close() & self._journal.close()

    def _begin(self) -> None:
        self._wait()
        rows, journal = self._pending, self._journal
        self._pending, self._journal, self._other = [], self._other, journal

        def commit() -> None:
            self._store.commit(rows)
            journal.clear()
            self._on_commit([row["state_key"] for row in rows])

        self._running = self._thread.submit(commit)

    def _wait(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            try:
                running.result()
            except Exception:
                self._failed = True
                raise
