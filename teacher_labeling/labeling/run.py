"""Labeling: ask the teacher about the states that have no advice yet, and store its answers."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Sequence

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.envs.task import State
from llm4teach.errors import TeacherError
from llm4teach.teacher_labeling.config import LabelConfig, Price
from llm4teach.teacher_labeling.labeling.budget import Budget, with_cost
from llm4teach.teacher_labeling.labeling.report import LabelReport as LabelReport
from llm4teach.teacher_labeling.labeling.work_queue import WorkQueue
from llm4teach.teacher_labeling.labeling.writer import AdviceWriter, to_row
from llm4teach.teacher_labeling.teacher import Advice, Teacher

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.05, 2.0  # between attempts to lock what other processes hold

OnProgress = Callable[[LabelReport], None]


def label_states(
    teacher: Teacher,
    store: AdviceStore,
    states: Sequence[State],
    on_progress: OnProgress = lambda report: None,
    *,
    limits: LabelConfig = LabelConfig(),  # noqa: B008  (frozen)
    budget: Budget | None = None,
    stop: threading.Event | None = None,
    report: LabelReport | None = None,
) -> LabelReport:
    """Ask about each distinct state that the store has no advice for; commit as answers come.

    Processes that label the same states at once share them (`WorkQueue`): none is asked twice,
    except what a process had in flight that was killed, or that hung for longer than
    ``limits.lease_s`` while it worked in an object store. A process waits for what others are
    asking. What was answered before an error, an interrupt or the end of the budget is kept;
    answers survive even a killed process.

    Args:
        teacher: is asked. It must take the states as it comes to ask them, not all at once:
            budget and locks are looked at when it takes one.
        store: of this teacher's advice.
        states: or questions about them (`questions.distinct_questions`), in any number and order.
        on_progress: called after each answer, and while waiting for others.
        limits: budget, prices and expiry of the locks; see also `budget.priced`.
        budget: counts the questions, where it is not this labeling's alone.
        stop: when set, no further questions are asked.
        report: filled in as it goes, for callers that need it also after a failure.

    Raises:
        TeacherError: the teacher cannot answer; if that is so of some states only
            (``failed_states``), all others were asked before.
        DatasetError: the store is damaged.
    """
    began, wait_s = time.monotonic(), _FIRST_WAIT_S
    identity = f"{store.teacher_id}\n{store.prompt_version}".encode()
    work = f".labeling/{hashlib.sha256(identity).hexdigest()[:12]}"
    budget, report, stop = (
        budget or Budget(limits),
        report or LabelReport(),
        stop or threading.Event(),
    )
    price = limits.prices.get(teacher.info.model)
    queue = WorkQueue(
        states, store, work, budget, limits.lease_s, price, report, stop, limits.retry_invalid
    )
    missing = len(queue)
    if not missing:
        return report
    failure: TeacherError | None = None
    failed_states: frozenset[str] = frozenset()
    labeling = _Labeling(teacher, queue, AdviceWriter(store), budget, price, report, on_progress)
    try:
        while len(queue) and not (queue.is_closed or budget.reached or stop.is_set()):
            if queue.lock_next():
                asked = report.asked
                try:
                    labeling.ask()
                except TeacherError as error:
                    if not error.failed_states or report.asked == asked:
                        raise
                    failed_states |= error.failed_states
                    failure = failure or error  # raised when all others are asked
                wait_s = _FIRST_WAIT_S
                continue
            report.waiting_for = len(queue)
            on_progress(report)
            stop.wait(wait_s)
            wait_s = min(1.5 * wait_s, _LONGEST_WAIT_S)
            queue.end_round()
            queue.drop_answered()
    finally:
        queue.end_round()
        report.seconds = time.monotonic() - began
    report.waiting_for, report.stopped_by = 0, budget.reached
    report.left = missing - report.asked - report.answered_elsewhere
    if failure is not None:
        failure.failed_states = failed_states
        raise failure
    return report


class _Labeling:
    """Takes in the teacher's answers."""

    def __init__(
        self,
        teacher: Teacher,
        queue: WorkQueue,
        writer: AdviceWriter,
        budget: Budget,
        price: Price | None,
        report: LabelReport,
        on_progress: OnProgress,
    ) -> None:
        self._teacher, self._queue, self._writer = teacher, queue, writer
        self._budget, self._report, self._on_progress = budget, report, on_progress
        self._price = price

    def ask(self) -> None:
        """Ask a batch of each partition that is free.

        When an answer cannot be stored nothing more is asked, and what is in flight is taken in
        before the failure is raised: it will be billed.
        """
        failure: Exception | None = None
        try:
            for advice in self._teacher.advise(self._queue):
                try:
                    self._take_in(advice)
                except Exception as error:
                    failure = failure or error
                    self._queue.close()
            if failure is not None:
                raise failure
        finally:
            try:
                self._writer.commit()
            finally:
                self._queue.end_round()

    def _take_in(self, advice: Advice) -> None:
        info, report = self._teacher.info, self._report
        advice = with_cost(advice, self._price)
        self._budget.charge_answer(advice, is_billed=info.is_priced)
        report.count(advice)  # it is paid for, whether it can be stored or not
        key = advice.state.key
        row = to_row(advice, info, self._queue.attempt_of(key))
        self._writer.add(row, self._queue.answered(key))
        if self._writer.is_due:
            self._writer.commit()
            self._queue.release()
        report.left -= 1
        self._on_progress(report)
