"""BabyAI's own account of an episode's instructions: which of their clauses are done."""

from __future__ import annotations

from typing import Any

from minigrid.envs.babyai.core.verifier import AfterInstr, AndInstr, SeqInstr


def clauses_of(level: Any) -> list[tuple[Any, bool]]:
    """Return the clauses of a level's mission, in order, and whether each is done."""
    return [clause for step in account_of(level.instrs) for clause in step]


def account_of(instruction: Any) -> list[list[tuple[Any, bool]]]:
    """BabyAI's instructions in the order in which they are to be done, and whether they are."""
    if not isinstance(instruction, SeqInstr):
        return [[(instruction, False)]]
    sequence: Any = instruction
    first, second = (sequence.instr_a, sequence.a_done), (sequence.instr_b, sequence.b_done)
    if isinstance(instruction, AndInstr):
        return [[(one, done == "success") for one, done in (first, second)]]
    if isinstance(instruction, AfterInstr):  # "a after you b"
        first, second = second, first
    return [
        [(leaf, ok or done == "success") for step in account_of(one) for leaf, ok in step]
        for one, done in (first, second)
    ]
