r"""Coverage-guided fuzzing of all that reads a model's or a server's words (needs ``atheris``).

    pip install atheris
    python tests/fuzz/fuzz_parsing.py -runs=1000000 -max_len=600 -timeout=2 \
        -dict=tests/fuzz/words.dict tests/fuzz/corpus

Whatever comes in, it is refused by the one error that says so or read as a plan of the grammar; and
while it is read nothing is executed, imported, opened or compiled.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from typing import Any

import atheris

with atheris.instrument_imports(include=["llm4teach.envs.plan", "llm4teach.teacher_labeling"]):
    from llm4teach.envs.plan import VERBS, PlanSyntaxError, parse_plan
    from llm4teach.teacher_labeling.backends.openai.bodies import joined_events
    from llm4teach.teacher_labeling.backends.openai.errors import AttemptError, RefusedError
    from llm4teach.teacher_labeling.backends.openai.replies import (
        first_token_scores,
        matching,
        replies_of,
    )
    from llm4teach.teacher_labeling.elicitation.answer_text import answer_text
    from llm4teach.teacher_labeling.elicitation.parsing import (
        PercentagesError,
        parse_percentages,
        parse_reply,
        render_plan,
    )

OPTIONS = tuple(map(parse_plan, ("explore", "go to key > pick up key", "open door1", "drop key")))
FORBIDDEN = (
    "exec",
    "compile",
    "import",
    "open",
    "os.",
    "subprocess.",
    "socket.",
    "ctypes.",
    "pty.",
)
reading = False


def forbid(event: str, arguments: tuple[Any, ...]) -> None:
    """Audit hook: nothing of this may happen while a text is read."""
    if reading and event.startswith(FORBIDDEN):
        raise RuntimeError(f"reading a reply caused {event} {arguments!r}")


def read_one(data: bytes) -> None:
    """Put one input through every reader."""
    global reading
    kind, text = data[0] % 5 if data else 0, data[1:].decode("utf-8", "surrogateescape")
    reading = True
    try:
        if kind == 0:
            check_plan(text)
        elif kind == 1:
            check_plan(f"1. It sees a key.\n3. Action: {{{text}}}")
        elif kind == 2:
            check_percentages(text)
        elif kind == 3:
            check_percentages(f"A: 10%\nB: 20\nC) {text}\nD: 5 %")
        else:
            check_reply(text)
    finally:
        reading = False


def check_plan(text: str) -> None:
    """A plan of the grammar, or refused; what is read is written and read again as the same."""
    try:
        plan = parse_reply(text)
    except PlanSyntaxError:
        return
    assert plan.options and all(option.verb in VERBS for option in plan.options)
    assert parse_reply("Action: " + render_plan(plan)) == plan


def check_percentages(text: str) -> None:
    """A number for each option and for nothing else, or refused."""
    try:
        stated = parse_percentages(answer_text(text), OPTIONS)
    except PercentagesError:
        return
    assert tuple(stated) == OPTIONS
    assert all(0 <= percent <= 100 for percent in stated.values()) and sum(stated.values()) > 0


def check_reply(text: str) -> None:
    """JSON of any shape: texts and scores of the right types, or refused."""
    joined_events(f"data: {text}\n\ndata: [DONE]\n".encode("utf-8", "replace"))
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return
    for wrapped in (content, {"choices": content}, {"choices": [{"logprobs": content}]}):
        if not isinstance(wrapped, dict):
            continue
        with suppress(AttemptError):
            assert all(reply.text.encode() is not None for reply in replies_of(wrapped, 2))
        with suppress(AttemptError, RefusedError):
            scores = first_token_scores(wrapped)
            assert all(score <= 0 for score in scores.values())
            assert set(matching(scores, "ABCD")) <= set("ABCD")


if __name__ == "__main__":
    sys.addaudithook(forbid)
    atheris.Setup(sys.argv, read_one)
    atheris.Fuzz()
