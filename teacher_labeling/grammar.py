"""Reads the plan out of a model's reply: the last ``Action: {…}`` in it, or nothing.

A reply is text from outside. It is matched against the grammar of ``envs.plan`` and against
nothing else: it is never evaluated, and a reply that does not fit is refused, never guessed at.
"""

from __future__ import annotations

import re

from llm4teach.envs.plan import Plan, PlanSyntaxError, parse_plan

MAX_REPLY_CHARACTERS = 20_000  # far above three lines of reasoning; bounds the work
MAX_PLAN_STEPS = 8
_MARKER = re.compile("action:", re.IGNORECASE | re.ASCII)
_DECORATION = "*_`\"' \t"  # Markdown that chat models put around an answer


def parse_reply(text: str) -> Plan:
    """Return the plan that a reply ends in.

    Two forms are understood, in any case: ``Action: {go to key, pick up key}`` and, on one line,
    ``Action: go to key``. The last ``Action:`` of the reply counts, so that quoted instructions
    and second thoughts before it change nothing. Time is linear in the length.

    Raises:
        PlanSyntaxError: the reply is too long, has no action, or its last action is not a plan.
    """
    if len(text) > MAX_REPLY_CHARACTERS:
        raise PlanSyntaxError(f"a reply has at most {MAX_REPLY_CHARACTERS} characters")
    end_of_marker = -1
    for match in _MARKER.finditer(text):
        end_of_marker = match.end()
    if end_of_marker < 0:
        raise PlanSyntaxError("the reply has no 'Action:'")
    answer = text[end_of_marker:].lstrip(_DECORATION)
    if answer.startswith("{"):
        body, closed, _ = answer[1:].partition("}")
        if not closed:
            raise PlanSyntaxError("the brace after the reply's 'Action:' is not closed")
    else:
        body = answer.partition("\n")[0].strip(_DECORATION + "\r.")
    if body.count(",") >= MAX_PLAN_STEPS:
        raise PlanSyntaxError(f"a plan has at most {MAX_PLAN_STEPS} steps")
    return parse_plan(body, separator=",")


def render_plan(plan: Plan) -> str:
    """Write a plan the way replies do: ``parse_reply("Action: " + render_plan(p)) == p``."""
    return "{" + ", ".join(map(str, plan.options)) + "}"
