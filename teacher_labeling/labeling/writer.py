"""Answers on their way into the store: journaled at once, committed every few seconds."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Any

from llm4teach.datasets.advice_store import AdviceRow, AdviceStore
from llm4teach.envs.plan import named_plan
from llm4teach.envs.task import Mixture, State
from llm4teach.teacher_labeling.labeling.work_queue import Batch
from llm4teach.teacher_labeling.teacher import Advice, AdviceStatus, TeacherInfo

COMMIT_EVERY_S = 5.0  # after at most so long, others see an answer; a crash loses none
COMMIT_EVERY_ROWS = 2_048

_text = lru_cache(maxsize=4096)(str)  # teachers say the same few plans again and again


def to_row(advice: Advice, info: TeacherInfo, attempt: int = 1) -> dict[str, Any]:
    """One row of `datasets.schema.ADVICE`, less what the store adds itself."""
    return {
        "state_key": advice.state.key,
        "state_text": advice.state.text,
        "question_key": advice.state.key,
        "status": advice.status.value,
        "options": [{"plan": _text(plan), "probability": p} for plan, p in advice.plans],
        "entropy": advice.entropy,
        "coverage": advice.coverage,
        "min_coverage": advice.min_coverage,
        "raw_sum": advice.raw_sum,
        "method": info.method,
        "settings": info.settings,
        "n_samples": advice.n_samples,
        "replies": list(advice.replies),
        "invalid_replies": advice.invalid_replies,
        "truncated_replies": advice.truncated_replies,
        "dropped": list(advice.dropped),
        "model": info.model,
        "model_revision": info.model_revision,
        "prompt_tokens": advice.prompt_tokens,
        "cached_prompt_tokens": advice.cached_prompt_tokens,
        "completion_tokens": advice.completion_tokens,
        "latency_s": advice.latency_s,
        "cost": advice.cost,
        "attempt": attempt,
    }


def to_advice(row: AdviceRow, state: State) -> Advice:
    """The advice for a state that a row holds, the answer to its question."""
    return Advice(
        state,
        AdviceStatus(row["status"]),
        plans_of(row),
        coverage=row["coverage"],
        n_samples=row["n_samples"],
        replies=tuple(row["replies"]),
        prompt_tokens=row["prompt_tokens"],
        completion_tokens=row["completion_tokens"],
        latency_s=row["latency_s"],
        cost=row["cost"],
        raw_sum=row["raw_sum"],
        # Null in rows of version 0.1.
        cached_prompt_tokens=row["cached_prompt_tokens"] or 0,
        min_coverage=row["min_coverage"] or 0.0,
        invalid_replies=row["invalid_replies"] or 0,
        truncated_replies=row["truncated_replies"] or 0,
        invalid_reply=next(iter(row["replies"]), "") if row["status"] == "invalid" else "",
        dropped=tuple(row["dropped"] or ()),
    )


def plans_of(row: dict[str, Any]) -> Mixture:
    """The distribution over plans that a row holds; empty unless its status is ok."""
    return tuple((named_plan(o["plan"]), float(o["probability"])) for o in row["options"])


class AdviceWriter:
    """Keeps rows in the journals of their batches until it commits them together."""

    def __init__(self, store: AdviceStore) -> None:
        self._store = store
        self._rows: list[AdviceRow] = []
        self._batches: list[Batch] = []
        self._last = time.monotonic()
        self._has_failed = False

    @property
    def is_due(self) -> bool:
        """Whether it is time for a commit; never again after one that failed."""
        late = time.monotonic() - self._last >= COMMIT_EVERY_S
        return not self._has_failed and (late or len(self._rows) >= COMMIT_EVERY_ROWS)

    def add(self, row: AdviceRow, batch: Batch) -> None:
        """Keep a row of a batch safe from now on.

        Raises:
            OSError: it could not be written.
        """
        if batch not in self._batches:
            self._batches.append(batch)
        batch.journal.append(row)
        self._rows.append(row)

    def commit(self) -> None:
        """Commit all rows and remove their journals.

        Raises:
            OSError, DatasetError: they could not be written; the next labeling recovers them.
        """
        try:
            self._store.commit(self._rows)
        except Exception:
            self._has_failed = True
            raise
        for batch in self._batches:
            if batch.lock.held:  # or the journal is another process's by now
                batch.journal.clear()
        self._rows, self._batches, self._last = [], [], time.monotonic()
