"""Teachers that change another teacher's advice: a share of it corrupted, or only its argmax.

For robustness studies: what does the student make of a teacher that is wrong in a known way?

Of a teacher that is asked `judgments` the advice changes that is composed of its answers
(`changes_of`), and not the answers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from llm4teach.envs.plan import Plan, PlanSyntaxError
from llm4teach.envs.task import Mixture, State
from llm4teach.envs.verbs import Verbs, read_plan
from llm4teach.errors import TeacherError
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.elicitation.token_counts import TokenCounts, tokens_of
from llm4teach.teacher_labeling.questions import JUDGMENTS, Change
from llm4teach.teacher_labeling.teacher import Advice, AdviceStatus, States, Teacher

_GOLDEN = (5**0.5 - 1) / 2  # its multiples, modulo 1, fill [0, 1) evenly however many there are
FaultKind = Literal["none", "random", "wrong", "constant", "stale"]


@dataclass(frozen=True)
class Fault:
    """What is done to the advice, and to how much of it.

    Kinds: ``random``, an admissible plan drawn anew for each state; ``wrong``, the admissible plan
    that the teacher thinks least of, the same in every repetition; ``constant``, always ``plan``,
    admissible or not; ``stale``, the advice that the teacher gave last before, of another state.
    """

    kind: FaultKind
    share: float  # of the states, from 0 to 1
    seed: int = 0
    plan: str = "explore"  # of constant


class Corruption:
    """What a fault makes of a state's advice, where a hash of the state key and the seed say so.

    Seeds in a row take turns: over n of them each state is corrupted n times the share, give or
    take two, so that a study of few states and seeds corrupts the share that is set.

    Which states these are, and what becomes of them, does not depend on the order in which they are
    asked about, except that stale advice is that of the state before. Only advice is corrupted:
    where the teacher has none, there is none.

    Raises:
        TeacherError: the constant plan is not a plan.
    """

    def __init__(self, fault: Fault, verbs: Verbs | None = None) -> None:
        self._fault = fault
        self._constant = _constant_plan(fault, verbs) if fault.kind == "constant" else None
        self.settings = f"{fault.kind}={fault.share:g},fault_seed={fault.seed}"
        self.settings += f",plan={self._constant}" if fault.kind == "constant" else ""
        self._last: Mixture = ()

    def __call__(self, state: State, plans: Mixture) -> Mixture:
        before = self._last
        if not plans:
            return plans
        self._last = plans
        return self._corrupted(state, plans, before) if self._is_due(state) else plans

    def _corrupted(self, state: State, plans: Mixture, before: Mixture) -> Mixture:
        kind, options = self._fault.kind, state.options
        if kind == "stale":
            return before or plans
        if self._constant is not None:
            return ((self._constant, 1.0),)
        if kind == "random" and options:
            which = _chance(f"which/{self._fault.seed}/{state.key}")
            return ((options[int(which * len(options))], 1.0),)
        if kind == "wrong" and options:
            share = dict(plans)
            return ((min(options, key=lambda plan: (share.get(plan, 0.0), plan)), 1.0),)
        return plans

    def _is_due(self, state: State) -> bool:
        turn = (_chance(f"whether/{state.key}") + self._fault.seed * _GOLDEN) % 1.0
        return turn < self._fault.share


def likeliest(state: State, plans: Mixture) -> Mixture:
    """Keep only the likeliest plan, as certain (ties: the first by name)."""
    if not plans:
        return plans
    plan, _ = min(plans, key=lambda option: (-option[1], str(option[0])))
    return ((plan, 1.0),)


class ChangedTeacher:
    """Another teacher with changed advice; replies, tokens and cost stay the teacher's own.

    Args:
        teacher: the other one.
        change: of its advice.
        prefix: of the backend's name.
        about: what is changed, among the settings.
    """

    def __init__(self, teacher: Teacher, change: Change, prefix: str, about: str) -> None:
        self._teacher, self._change, info = teacher, change, teacher.info
        settings = f"{info.settings},{about}" if info.settings else about
        self.info = replace(info, backend=f"{prefix}-{info.backend}", settings=settings)

    def advise(self, states: States) -> Iterator[Advice]:
        """Yield each state's advice, or what is made of it.

        Raises:
            TeacherError: the teacher cannot answer.
        """
        for advice in self._teacher.advise(states):
            if advice.status is AdviceStatus.OK and self.info.method != JUDGMENTS:
                advice = replace(advice, plans=self._change(advice.state, advice.plans))
            yield advice

    def count_tokens(self, states: Sequence[State]) -> TokenCounts | None:
        return tokens_of(self._teacher, states)

    def close(self) -> None:
        self._teacher.close()


class FaultyTeacher(ChangedTeacher):
    """Passes advice on, a share of it corrupted; see `Corruption`."""

    def __init__(self, teacher: Teacher, fault: Fault, verbs: Verbs | None = None) -> None:
        corruption = Corruption(fault, verbs)
        super().__init__(teacher, corruption, "faulty", corruption.settings)


class ArgmaxTeacher(ChangedTeacher):
    """Keeps only the likeliest plan.

    For the question what the probabilities of the other plans are worth to the student.
    """

    def __init__(self, teacher: Teacher) -> None:
        super().__init__(teacher, likeliest, "hard", "argmax")


def fault_of(config: TeacherConfig) -> Fault | None:
    """Return the fault that the settings describe, if any."""
    if config.fault == "none":
        return None
    return Fault(config.fault, config.fault_share, config.fault_seed, config.fault_plan)


def changes_of(config: TeacherConfig, verbs: Verbs | None = None) -> list[Change]:
    """Return what the settings make of a teacher's advice, in this order."""
    changes: list[Change] = [likeliest] if config.hard else []
    if fault := fault_of(config):
        changes.append(Corruption(fault, verbs))
    return changes


def _chance(text: str) -> float:
    """A number from [0, 1) that is the same whenever this text comes up."""
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _constant_plan(fault: Fault, verbs: Verbs | None) -> Plan:
    """Return the plan that a constant fault advises.

    Raises:
        TeacherError: it is none.
    """
    try:
        return read_plan(fault.plan, verbs)
    except PlanSyntaxError as error:
        known = "'explore' or 'go to key > pick up key'" if verbs is None else "one of these"
        raise TeacherError(
            f"the constant plan of the faulty teacher is {fault.plan!r}: {error}; give {known}"
        ) from None
