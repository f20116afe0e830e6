"""Labelling: ask the teacher about the states that have no advice yet, and store what it says."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llm4teach.datasets.advice import AdviceStore
from llm4teach.envs.task import State
from llm4teach.teacher_labeling.advice_rows import to_row
from llm4teach.teacher_labeling.teacher import Advice, AdviceStatus, Teacher

COMMIT_EVERY_S = 5.0  # at most so much of the teacher's time is lost to a crash
COMMIT_EVERY_ROWS = 512


@dataclass
class LabelReport:
    """What a labelling did, in numbers."""

    distinct_states: int = 0
    known: int = 0  # had advice before
    asked: int = 0
    ok: int = 0
    invalid: int = 0
    no_advice: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0

    def count(self, advice: Advice) -> None:
        """Add one answer."""
        self.asked += 1
        self.ok += advice.status is AdviceStatus.OK
        self.invalid += advice.status is AdviceStatus.INVALID
        self.no_advice += advice.status is AdviceStatus.NO_ADVICE
        self.prompt_tokens += advice.prompt_tokens
        self.completion_tokens += advice.completion_tokens

    def add(self, other: LabelReport) -> None:
        """Add a later labelling's numbers; its states may be the same ones."""
        states = max(self.distinct_states, other.distinct_states)
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)
        self.distinct_states = states


def label_states(
    teacher: Teacher,
    store: AdviceStore,
    states: Sequence[State],
    on_answer: Callable[[int, int], None] = lambda done, total: None,
) -> LabelReport:
    """Ask about each distinct state that the store has no advice for; commit as answers come.

    ``on_answer(done, total)`` is called after each answer. What was answered before an error or an
    interrupt is committed.

    Raises:
        TeacherError: the teacher cannot answer.
        DatasetError: the store is damaged.
    """
    by_key = {state.key: state for state in states}
    missing = store.missing(by_key)
    report = LabelReport(distinct_states=len(by_key), known=len(by_key) - len(missing))
    if not missing:
        return report
    began = last_commit = time.monotonic()
    pending: list[Advice] = []

    def commit() -> None:
        store.commit([to_row(advice, teacher.info) for advice in pending])
        pending.clear()

    try:
        for advice in teacher.advise([by_key[key] for key in missing]):
            pending.append(advice)
            report.count(advice)
            on_answer(report.asked, len(missing))
            now = time.monotonic()
            if len(pending) >= COMMIT_EVERY_ROWS or now - last_commit >= COMMIT_EVERY_S:
                commit()
                last_commit = now
    finally:
        commit()
    report.seconds = time.monotonic() - began
    return report
