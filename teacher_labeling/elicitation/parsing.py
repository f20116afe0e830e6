"""Reads the plan out of a model's reply: the last ``Action: {…}`` in it, or nothing.

A reply is text from outside. It is matched against the grammar of ``envs.plan`` and against
nothing else: it is never evaluated, and a reply that does not fit is refused, never guessed at.
"""

from __future__ import annotations

import re
from functools import lru_cache

from llm4teach.envs.plan import Plan, PlanSyntaxError, parse_plan

MAX_REPLY_CHARACTERS = 20_000  # far above three lines of reasoning; bounds the work
MAX_PLAN_STEPS = 8
_TO_LAST_ACTION = re.compile(
    r".*(?<![a-z0-9])action[*_`]{0,3}:", re.DOTALL | re.IGNORECASE | re.ASCII
)
_DECORATION = "*_`\"' \t"  # Markdown that chat models put around an answer


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
