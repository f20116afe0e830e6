"""Reads the percentages that a model states for a list of options: one line an option, or nothing.

line := [bullet] (letter | letter ")" plan | plan) (":" | "=" | "-") number ["%"]

Like a reply's plan, this is text from outside: matched against the grammar above and against the
options that were offered, and never evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import ascii_letters

from llm4teach.envs.plan import Plan, PlanSyntaxError, parse_plan
from llm4teach.teacher_labeling.elicitation.parsing import MAX_REPLY_CHARACTERS, render_plan

LETTERS = "".join(sorted(ascii_letters, key=str.islower))  # A … Z, then a … z
_LETTER = re.compile(r"(?:option\s+)?([A-Za-z])(?:\s*[).:\]]\s*(.*))?", re.ASCII | re.IGNORECASE)
_BULLET = re.compile(r"(?:[-*•]\s+|\d{1,2}[.)]\s+)?", re.ASCII)
_NUMBER = re.compile(r"\d{1,3}(?:\.\d{1,6})?", re.ASCII)
_DECORATION = "*_`\"' \t"  # Markdown that chat models put around an answer
_MAX_LINE = 500


class PercentagesError(ValueError):
    """The reply does not state one percentage for each option."""


def list_options(options: Sequence[Plan]) -> str:
    """Write options as a lettered list, in the words in which plans are answered."""
    return "\n".join(f"{LETTERS[i]}) {words(plan)}" for i, plan in enumerate(options))


def words(plan: Plan) -> str:
    """Write a plan as its steps and commas: ``go to key, pick up key``."""
    return render_plan(plan)[1:-1]


def parse_percentages(text: str, options: Sequence[Plan]) -> dict[Plan, float]:
    """Return the percentage of each option, by its letter in the list or by its words.

    Lines that name no option are passed over. An option that is named again counts as named last,
    so that second thoughts are heard. Time is linear in the length.

    Raises:
        PercentagesError: the reply is too long, leaves an option out, states more than 100 for one,
            or nothing but zeros.
    """
    if len(text) > MAX_REPLY_CHARACTERS:
        raise PercentagesError(f"a reply has at most {MAX_REPLY_CHARACTERS} characters")
    stated: dict[Plan, float] = {}
    for line in text.splitlines():
        found = _parse_line(line, options)
        if found is not None:
            stated[found[0]] = found[1]
    if missing := [words(plan) for plan in options if plan not in stated]:
        raise PercentagesError(f"the reply states no percentage for {missing[0]!r}")
    if max(stated.values(), default=0.0) > 100 or sum(stated.values()) <= 0:
        raise PercentagesError(f"not percentages: {sorted(stated.values())}")
    return {plan: stated[plan] for plan in options}


def _parse_line(line: str, options: Sequence[Plan]) -> tuple[Plan, float] | None:
    split = _split_number(line)
    if split is None:
        return None
    label, percent = split
    plan = _by_words(label, options)
    if plan is None and (letter := _LETTER.fullmatch(label)) is not None:
        place = LETTERS.find(letter[1].upper() if len(options) <= 26 else letter[1])
        if 0 <= place < len(options):
            # A letter and other words than its own: the model has mixed something up.
            named = _by_words(letter[2], options) if letter[2] else options[place]
            plan = named if named == options[place] else None
    return None if plan is None else (plan, percent)


def _split_number(line: str) -> tuple[str, float] | None:
    """Split ``- **A) explore**: 70 %.`` into ``A) explore`` and 70.0."""
    line = line.strip().rstrip(".,;" + _DECORATION)
    if len(line) > _MAX_LINE:
        return None
    marked = line.removesuffix("%").removesuffix("percent").rstrip()
    label = marked.rstrip("0123456789.")
    number = marked[len(label) :]
    if not _NUMBER.fullmatch(number):
        return None
    if label.endswith("-") and label[:-1].rstrip(_DECORATION)[-1:] in (":", "=", "-"):
        return None  # less than nothing, where "A-60" and "A) -60" have a dash
    bare = label.rstrip(_DECORATION + "({[")
    # "go to door 1" states nothing: a number without % needs a sign before it.
    if bare[-1:] not in (":", "=", "-") and (marked == line or bare == label):
        return None
    bare = bare.rstrip(":=-" + _DECORATION).lstrip(_DECORATION)
    bullet = _BULLET.match(bare)
    return bare[bullet.end() if bullet else 0 :].strip(_DECORATION), float(number)


def _by_words(label: str, options: Sequence[Plan]) -> Plan | None:
    try:
        plan = parse_plan(label.strip("{}" + _DECORATION), separator=",")
    except PlanSyntaxError:
        return None
    return plan if plan in options else None
