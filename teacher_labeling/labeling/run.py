"""Labelling: ask the teacher about the states that have no advice yet, and store what it says."""

from __future__ import annotations

import hashlib
import os
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.datasets.storage.conditional_store import store_at
from llm4teach.datasets.storage.journal import copy_rows, journal_folder, recover
from llm4teach.datasets.storage.leases import Leases
from llm4teach.envs.task import State
from llm4teach.teacher_labeling.config import LabelConfig, Price
from llm4teach.teacher_labeling.labeling.budget import Spending, charged, is_local
from llm4teach.teacher_labeling.labeling.work_queue import Claims
from llm4teach.teacher_labeling.labeling.writer import Commits, to_row
from llm4teach.teacher_labeling.teacher import Advice, AdviceStatus, Teacher

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.05, 2.0  # between looks at what others are doing


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
    cost: float = 0.0  # US dollars
    seconds: float = 0.0
    answered_elsewhere: int = 0  # asked meanwhile by another run
    waiting_for: int = 0  # states that other runs are asking about right now
    left: int = 0  # states still without advice
    stopped_by: str = ""  # the budget that was reached, in words

    def count(self, advice: Advice) -> None:
        """Add one answer."""
        self.asked += 1
        self.ok += advice.status is AdviceStatus.OK
        self.invalid += advice.status is AdviceStatus.INVALID
        self.no_advice += advice.status is AdviceStatus.NO_ADVICE
        self.prompt_tokens += advice.prompt_tokens
        self.completion_tokens += advice.completion_tokens
        self.cost += advice.cost

    def add(self, other: LabelReport) -> None:
        """Add a later labelling's numbers; its states may be the same ones."""
        states = max(self.distinct_states, other.distinct_states)
        latest = {name: getattr(other, name) for name in ("waiting_for", "left", "stopped_by")}
        for name, value in vars(other).items():
            setattr(self, name, latest.get(name, getattr(self, name) + value))
        self.distinct_states = states


OnProgress = Callable[[LabelReport], None]


def label_states(
    teacher: Teacher,
    store: AdviceStore,
    states: Sequence[State],
    on_progress: OnProgress = lambda report: None,
    *,
    limits: LabelConfig = LabelConfig(),  # noqa: B008  (frozen)
    spending: Spending | None = None,
    stop: threading.Event | None = None,
    report: LabelReport | None = None,
) -> LabelReport:
    """Ask about each distinct state that the store has no advice for; commit as answers come.

    Runs that label the same states at once share them by leases: none is asked twice but what a run
    had in flight that was killed, or hung for longer than ``limits.lease_s``. A run waits for what
    others are asking, and takes over what those that died have left. What was answered before an
    error, an interrupt or the end of the budget is kept; answers survive even a killed process.

    Args:
        teacher: whom to ask. It must take the states as it comes to ask them, not all at once:
            budget and leases are looked at when it takes one.
        store: of this teacher's advice.
        states: in any number and order.
        on_progress: called after each answer, and while waiting for others.
        limits: budget, prices and term of the leases; see also `pricing.priced`.
        spending: counts against the budget, where it is not this labelling's alone.
        stop: when set, no further questions are asked.
        report: filled in as it goes, for who wants to know also how far a failure got.

    Raises:
        TeacherError: the teacher cannot answer.
        DatasetError: the store is damaged.
    """
    identity = f"{store.teacher_id}\n{store.prompt_version}".encode()
    work = store.folder / ".labelling" / hashlib.sha256(identity).hexdigest()[:12]
    leases = Leases(store_at(work / "leases"), f"{os.getpid()}-{uuid.uuid4().hex}", limits.lease_s)
    journals = journal_folder(work)
    spending = spending or Spending(limits)
    stop = stop or threading.Event()

    def take_over() -> None:
        """Commit and free what runs that died have left."""
        recover(journals, store.commit, leases.forget)

    def inherit(owner: str) -> None:
        """Commit what a run has answered whose leases are over, also if it only hangs."""
        take_over()
        copy_rows(journals, owner, store.commit)

    take_over()
    report = report or LabelReport()
    budget = _Budget(spending, stop, report, limits.prices.get(teacher.info.model))
    claims = Claims(states, store, leases, budget, inherit)
    missing = len(claims)
    report.distinct_states = claims.distinct
    report.known, report.left = claims.distinct - missing, missing
    if not missing:
        return report
    began, wait_s = time.monotonic(), _FIRST_WAIT_S
    commits = Commits(store, journals, leases.owner, claims.committed)
    desk = _Desk(teacher, claims, commits, budget, on_progress)
    with leases:
        try:
            while len(claims) and not (claims.closed or spending.reached or stop.is_set()):
                if claims.claim():
                    desk.ask()
                    wait_s = _FIRST_WAIT_S
                else:
                    report.waiting_for = len(claims)
                    on_progress(report)
                    stop.wait(wait_s)
                    wait_s = min(1.5 * wait_s, _LONGEST_WAIT_S)
                    take_over()
                    claims.look_again()
                report.answered_elsewhere = claims.answered_elsewhere
        finally:
            if not commits.close():  # rows that are paid for wait for their recovery
                leases.keep()
            report.seconds = time.monotonic() - began
    report.waiting_for, report.stopped_by = 0, spending.reached
    report.left = missing - report.asked - report.answered_elsewhere
    return report


@dataclass
class _Budget:
    """Pays for the questions, and writes down what was spent."""

    spending: Spending
    stop: threading.Event
    report: LabelReport
    price: Price | None

    def begin(self) -> bool:
        return not self.stop.is_set() and self.spending.begin()

    def may_retry(self) -> bool:
        return not self.stop.is_set() and self.spending.may_retry()

    def is_over(self) -> bool:
        return self.stop.is_set()

    def charge(self, prompt_tokens: int, completion_tokens: int, cost: float) -> None:
        if self.price is not None and not cost:
            cost = self.price.of(prompt_tokens, completion_tokens)
        self.spending.waste(prompt_tokens + completion_tokens, cost)
        self.report.prompt_tokens += prompt_tokens
        self.report.completion_tokens += completion_tokens
        self.report.cost += cost


@dataclass
class _Desk:
    """Where answers come in."""

    teacher: Teacher
    claims: Claims
    commits: Commits
    budget: _Budget
    on_progress: OnProgress
    answered: int = 0

    def ask(self) -> None:
        """Ask about all that can be claimed.

        When an answer cannot be stored nothing more is asked, and what is in flight is taken in
        before the failure is raised: it will be billed.
        """
        failure: Exception | None = None
        try:
            for advice in self.teacher.advise(self.claims):
                try:
                    self._take_in(advice)
                except Exception as error:
                    failure = failure or error
                    self.claims.close()
            if failure is not None:
                raise failure
        finally:
            self.budget.spending.give_back(self.claims.handed_out - self.answered)
            self.claims.handed_out = self.answered
            self.commits.finish()

    def _take_in(self, advice: Advice) -> None:
        info, report = self.teacher.info, self.budget.report
        advice = charged(advice, self.budget.price)
        self.budget.spending.end(advice, is_billed=not is_local(info))
        report.count(advice)  # it is paid for, whether it can be stored or not
        self.answered += 1
        self.commits.add(to_row(advice, info))
        report.left -= 1
        self.on_progress(report)
