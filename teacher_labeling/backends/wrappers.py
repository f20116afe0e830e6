"""Teachers that change another teacher's advice: a share of it corrupted, or only its argmax.

For robustness studies: what does the student make of a teacher that is wrong in a known way?
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from llm4teach.envs.plan import Plan, PlanSyntaxError
from llm4teach.envs.task import State
from llm4teach.envs.verbs import Verbs, read_plan
from llm4teach.errors import TeacherError
from llm4teach.teacher_labeling.elicitation.token_counts import TokenCounts, tokens_of
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


class FaultyTeacher:
    """Passes advice on, corrupted where a hash of the state key and the seed say so.

    Seeds in a row take turns: over n of them each state is corrupted n times the share, give or
    take two, so that a study of few states and seeds corrupts the share that is set.

    Which states these are, and what becomes of them, does not depend on the order in which they are
    asked about, except that stale advice is that of the state answered before. Only advice is
    corrupted: where the teacher has none, there is none. Replies, tokens and cost stay the
    teacher's own.

    Raises:
        TeacherError: the constant plan is not a plan.
    """

    def __init__(self, teacher: Teacher, fault: Fault, verbs: Verbs | None = None) -> None:
        self._teacher, self._fault = teacher, fault
        self._constant = _constant_plan(fault, verbs) if fault.kind == "constant" else None
        info = teacher.info
        about = f"{fault.kind}={fault.share:g},fault_seed={fault.seed}"
        about += f",plan={self._constant}" if fault.kind == "constant" else ""
        settings = f"{info.settings},{about}" if info.settings else about
        self.info = replace(info, backend=f"faulty-{info.backend}", settings=settings)
        self._last: Advice | None = None

    def advise(self, states: States) -> Iterator[Advice]:
        """Yield each state's advice, or what is made of it.

        Raises:
            TeacherError: the teacher cannot answer.
        """
        for advice in self._teacher.advise(states):
            before = self._last
            if advice.status is not AdviceStatus.OK:
                yield advice
                continue
            self._last = advice
            yield self._corrupted(advice, before) if self._is_due(advice.state) else advice

    def count_tokens(self, states: Sequence[State]) -> TokenCounts | None:
        return tokens_of(self._teacher, states)

    def close(self) -> None:
        self._teacher.close()

    def _corrupted(self, advice: Advice, before: Advice | None) -> Advice:
        kind, options = self._fault.kind, advice.state.options
        if kind == "stale":
            return advice if before is None else replace(advice, plans=before.plans)
        if self._constant is not None:
            return _certain(advice, self._constant)
        if kind == "random" and options:
            which = _chance(f"which/{self._fault.seed}/{advice.state.key}")
            return _certain(advice, options[int(which * len(options))])
        if kind == "wrong" and options:
            share = dict(advice.plans)
            return _certain(advice, min(options, key=lambda plan: (share.get(plan, 0.0), plan)))
        return advice

    def _is_due(self, state: State) -> bool:
        turn = (_chance(f"whether/{state.key}") + self._fault.seed * _GOLDEN) % 1.0
        return turn < self._fault.share


class ArgmaxTeacher:
    """Another teacher, of whose advice only the likeliest plan is kept (ties: the first by name).

    For the question what the probabilities of the other plans are worth to the student.
    """

    def __init__(self, teacher: Teacher) -> None:
        self._teacher = teacher
        info = teacher.info
        settings = f"{info.settings},argmax" if info.settings else "argmax"
        self.info = replace(info, backend=f"hard-{info.backend}", settings=settings)

    def advise(self, states: States) -> Iterator[Advice]:
        """Yield each state's advice, its likeliest plan certain.

        Raises:
            TeacherError: the teacher cannot answer.
        """
        for advice in self._teacher.advise(states):
            if advice.status is AdviceStatus.OK and advice.plans:
                plan, _ = min(advice.plans, key=lambda option: (-option[1], str(option[0])))
                advice = replace(advice, plans=((plan, 1.0),))
            yield advice

    def count_tokens(self, states: Sequence[State]) -> TokenCounts | None:
        return tokens_of(self._teacher, states)

    def close(self) -> None:
        self._teacher.close()


def _chance(text: str) -> float:
    """A number from [0, 1) that is the same whenever this text comes up."""
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _certain(advice: Advice, plan: Plan) -> Advice:
    return replace(advice, plans=((plan, 1.0),))


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
