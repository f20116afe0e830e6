"""Reads models' replies: the plan that one ends in, or the percentages that it states.

A reply is text from outside. It is matched against the grammar of ``envs.plan``, or the task's own
(`Verbs`), and the options that were offered, and against nothing else: it is never evaluated, and a
reply that does not fit is refused, never guessed at. Reasoning before the answer does not count
(`answer_text`).

A percentage line is

    line := [bullet] (letter | letter ")" plan | plan) (":" | "=" | "-") number ["%"]
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from string import ascii_letters

from llm4teach.envs.plan import Plan, PlanSyntaxError
from llm4teach.envs.verbs import Verbs, read_plan
from llm4teach.teacher_labeling.elicitation.answer_text import CUT, answer_text

TAIL_CHARACTERS = 20_000  # of an answer that are read; far above three lines, and bounds the work
MAX_PLAN_STEPS = 8
# "Action:", or the word alone on a line, as a heading.
_ACTION = re.compile(
    r"(?<![a-z0-9])action[*_`]{0,3}(?:[ \t]{0,3}:|(?=[ \t]{0,3}\r?\n))", re.ASCII | re.IGNORECASE
)
_BEFORE_ACTION = re.compile(  # on its line, where the line is the answer's own
    r"[\s>#*_~`\"'•.)(\[\d-]*(?:(?:final|next|best|chosen|selected|recommended|my)\s+)?[*_`]{0,3}",
    re.ASCII | re.IGNORECASE,
)
_LONGEST_BEFORE = 40  # characters
_SENTENCE_ENDS = tuple(".!?;:)]}\"'*_`|-")
_FENCE = re.compile(r"\s*```[a-z]*\s*", re.ASCII | re.IGNORECASE)
_DECORATION = "*_`\"' \t"  # Markdown that chat models put around an answer
LETTERS = "".join(sorted(ascii_letters, key=str.islower))  # A … Z, then a … z
_LETTER = re.compile(r"(?:option\s+)?([A-Za-z])(?:\s*[).:\]]\s*(.*))?", re.ASCII | re.IGNORECASE)
_BULLET = re.compile(r"(?:[-*•]\s+|\d{1,2}[.)]\s+)?", re.ASCII)
_NUMBER = re.compile(r"\d{1,3}(?:\.\d{1,6})?", re.ASCII)
_MAX_LINE = 500  # characters


def parse_reply(text: str) -> Plan:
    """Return the plan that a reply ends in: ``parse_steps(final_words(answer_text(text)))``.

    Raises:
        PlanSyntaxError: the reply has no answer, no action, or its last action is not a plan.
    """
    return parse_steps(final_words(answer_text(text)))


def final_words(answer: str | None) -> str:
    """Return the steps that an answer ends in, unchanged.

    Two forms are understood, in any case: ``Action: {go to key, pick up key}`` and, on one line,
    ``Action: go to key``, each also on the line after ``Action:``. The last ``Action:`` counts, so
    that quoted instructions and second thoughts before it change nothing; one inside a sentence
    (``no further action: stop``) counts only if there is no other. Of a truncated answer only one
    that begins a line counts. Time is linear in the length.

    Raises:
        PlanSyntaxError: there is no answer, or it has no action.
    """
    if answer is None:
        raise PlanSyntaxError("the reply ended before its answer")
    answer = answer.strip()[-TAIL_CHARACTERS:]
    place = _action(answer)
    if place is None:
        raise PlanSyntaxError("the reply has no 'Action:'")
    steps = _FENCE.sub("", answer[place:], count=1) if "```" in answer[place:] else answer[place:]
    steps = steps.lstrip(_DECORATION + "\r\n")
    if steps.startswith("{"):
        body, closed, _ = steps.lstrip("{").partition("}")
        if not closed:
            raise PlanSyntaxError("the brace after the reply's 'Action:' is not closed")
        return body
    return steps.partition("\n")[0].strip(_DECORATION + "[]()\r.,;")


def _action(answer: str) -> int | None:
    """Return where the steps of the last action begin; None if there is none."""
    is_cut = answer.endswith(CUT)
    last: int | None = None
    last_is_own = False
    for match in _ACTION.finditer(answer):
        line = answer.rfind("\n", 0, match.start()) + 1
        before = answer[max(line, match.start() - _LONGEST_BEFORE - 1) : match.start()]
        begins_line = len(before) <= _LONGEST_BEFORE and bool(_BEFORE_ACTION.fullmatch(before))
        if is_cut or match[0][-1] != ":":
            is_own = begins_line
            if not begins_line:
                continue
        else:
            after = answer[match.end() : match.end() + _LONGEST_BEFORE]
            is_braced = after.lstrip(_DECORATION + "\r\n").startswith("{")
            after_sentence = match[0][0] == "A" and before.rstrip().endswith(_SENTENCE_ENDS)
            is_own = begins_line or is_braced or after_sentence
        if is_own or not last_is_own:
            last, last_is_own = match.end(), is_own
    return last


def lone_option(answer: str | None, options: tuple[Plan, ...], verbs: Verbs | None = None) -> Plan:
    """Return the listed option that an answer consists of: its letter, its words, or both.

    For questions that list the options: models answer so, whatever form they are asked for.

    Raises:
        PlanSyntaxError: the answer is anything else.
    """
    line = (answer or "").strip()
    plan = None if "\n" in line or len(line) > _MAX_LINE else _listed(line, options, verbs)
    if plan is None:
        raise PlanSyntaxError("the reply has no 'Action:' and is none of the options")
    return plan


@lru_cache(maxsize=4096)  # models say the same few plans again and again
def parse_steps(
    text: str,
    options: tuple[Plan, ...] = (),
    verbs: Verbs | None = None,
    are_listed: bool = False,
) -> Plan:
    """Read ``go to key, pick up key``, or the words of one of ``options``, whatever they are.

    Args:
        text: the steps.
        options: plans that are admissible.
        verbs: of the task's family; None for those of ``envs.plan``.
        are_listed: the question listed the options, so that letters stand for them.

    Raises:
        PlanSyntaxError: it is not a plan, or has too many steps.
    """
    text = text.strip(" ,\r\n")
    own = _listed(text, options, verbs) if are_listed else _by_words(text, options, verbs)
    if own is not None:
        return own
    steps = [step.strip(_DECORATION + "\r\n") for step in text.split(",")]
    if len(steps) > MAX_PLAN_STEPS:
        raise PlanSyntaxError(f"a plan has at most {MAX_PLAN_STEPS} steps")
    return read_plan(",".join(steps), verbs, separator=",")


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


def parse_percentages(
    answer: str | None, options: Sequence[Plan], verbs: Verbs | None = None
) -> dict[Plan, float]:
    """Return the percentage of each option, by its letter in the list or by its words.

    Of an answer (`answer_text`) of more than `TAIL_CHARACTERS`, so many at its end are read.

    Lines that name no option are passed over. An option that is named again counts as named last,
    so that second thoughts count. Time is linear in the length.

    Raises:
        PercentagesError: there is no answer, or it leaves an option out, states more than 100 for
            one, or nothing but zeros.
    """
    if answer is None:
        raise PercentagesError("the reply ended before its answer")
    stated: dict[Plan, float] = {}
    for line in answer.strip()[-TAIL_CHARACTERS:].splitlines():
        parsed = _parse_line(line, options, verbs)
        if parsed is not None:
            stated[parsed[0]] = parsed[1]
    if missing := [words(plan) for plan in options if plan not in stated]:
        raise PercentagesError(f"the reply states no percentage for {missing[0]!r}")
    if max(stated.values(), default=0.0) > 100 or sum(stated.values()) <= 0:
        raise PercentagesError(f"not percentages: {sorted(stated.values())}")
    return {plan: stated[plan] for plan in options}


def _parse_line(
    line: str, options: Sequence[Plan], verbs: Verbs | None
) -> tuple[Plan, float] | None:
    split = _split_number(line)
    if split is None:
        return None
    label, percent = split
    plan = _listed(label, options, verbs)
    return None if plan is None else (plan, percent)


def _listed(label: str, options: Sequence[Plan], verbs: Verbs | None) -> Plan | None:
    """Return the option of a lettered list that a label names: by words, letter, or both."""
    plan = _by_words(label, options, verbs)
    if plan is None and (letter := _LETTER.fullmatch(label)) is not None:
        place = LETTERS.find(letter[1].upper() if len(options) <= 26 else letter[1])
        if 0 <= place < len(options):
            # A letter and other words than its own: the model has mixed something up.
            named = _by_words(letter[2], options, verbs) if letter[2] else options[place]
            plan = named if named == options[place] else None
    return plan


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


def _by_words(label: str, options: Sequence[Plan], verbs: Verbs | None) -> Plan | None:
    """Return the option that a label names: in its own words, or in others of the grammar."""
    bare = label.strip("{}" + _DECORATION)
    simple = " ".join(bare.lower().split())
    for plan in options:
        if words(plan) == simple:
            return plan
    if verbs is not None and (found := verbs.find(bare, options, ",")) is not None:
        return found
    try:
        plan = read_plan(bare, verbs, separator=",")
    except PlanSyntaxError:
        return None
    return plan if plan in options else None
