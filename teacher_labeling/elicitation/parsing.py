"""Reads models' replies: the plan that one ends in, or the percentages that it states.

A reply is text from outside. It is matched against the grammar of ``envs.plan`` and the options
that were offered, and against nothing else: it is never evaluated, and a reply that does not fit is
refused, never guessed at.

A percentage line is

    line := [bullet] (letter | letter ")" plan | plan) (":" | "=" | "-") number ["%"]
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from string import ascii_letters

from llm4teach.envs.plan import Plan, PlanSyntaxError, parse_plan

MAX_REPLY_CHARACTERS = 20_000  # far above three lines of reasoning; bounds the work
MAX_PLAN_STEPS = 8
_TO_LAST_ACTION = re.compile(
    r".*(?<![a-z0-9])action[*_`]{0,3}:", re.DOTALL | re.IGNORECASE | re.ASCII
)
_DECORATION = "*_`\"' \t"  # Markdown that chat models put around an answer
LETTERS = "".join(sorted(ascii_letters, key=str.islower))  # A … Z, then a … z
_LETTER = re.compile(r"(?:option\s+)?([A-Za-z])(?:\s*[).:\]]\s*(.*))?", re.ASCII | re.IGNORECASE)
_BULLET = re.compile(r"(?:[-*•]\s+|\d{1,2}[.)]\s+)?", re.ASCII)
_NUMBER = re.compile(r"\d{1,3}(?:\.\d{1,6})?", re.ASCII)
_MAX_LINE = 500  # characters


def parse_reply(text: str) -> Plan:
    """Return the plan that a reply ends in: ``parse_steps(final_words(text))``.

    Raises:
        PlanSyntaxError: the reply is too long, has no action, or its last action is not a plan.
    """
    return parse_steps(final_words(text))


def final_words(text: str) -> str:
    """Return the steps that a reply ends in, as they stand there.

    Two forms are understood, in any case: ``Action: {go to key, pick up key}`` and, on one line,
    ``Action: go to key``. The last ``Action:`` of the reply counts, so that quoted instructions
    and second thoughts before it change nothing. Time is linear in the length.

    Raises:
        PlanSyntaxError: the reply is too long, or has no action.
    """
    if len(text) > MAX_REPLY_CHARACTERS:
        raise PlanSyntaxError(f"a reply has at most {MAX_REPLY_CHARACTERS} characters")
    before = _TO_LAST_ACTION.match(text)
    if before is None:
        raise PlanSyntaxError("the reply has no 'Action:'")
    answer = text[before.end() :].lstrip(_DECORATION)
    if answer.startswith("{"):
        body, closed, _ = answer[1:].partition("}")
        if not closed:
            raise PlanSyntaxError("the brace after the reply's 'Action:' is not closed")
    else:
        body = answer.partition("\n")[0].strip(_DECORATION + "\r.")
    return body


@lru_cache(maxsize=4096)  # models say the same few plans again and again
def parse_steps(text: str) -> Plan:
    """Read ``go to key, pick up key``.

    Raises:
        PlanSyntaxError: it is not a plan, or has too many steps.
    """
    if text.count(",") >= MAX_PLAN_STEPS:
        raise PlanSyntaxError(f"a plan has at most {MAX_PLAN_STEPS} steps")
    return parse_plan(text, separator=",")


def render_plan(plan: Plan) -> str:
    """Write a plan the way replies do: ``parse_reply("Action: " + render_plan(p)) == p``."""
    return "{" + ", ".join(map(str, plan.options)) + "}"


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
    so that second thoughts count. Time is linear in the length.

    Raises:
        PercentagesError: the reply is too long, leaves an option out, states more than 100 for one,
            or nothing but zeros.
    """
    if len(text) > MAX_REPLY_CHARACTERS:
        raise PercentagesError(f"a reply has at most {MAX_REPLY_CHARACTERS} characters")
    stated: dict[Plan, float] = {}
    for line in text.splitlines():
        parsed = _parse_line(line, options)
        if parsed is not None:
            stated[parsed[0]] = parsed[1]
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
