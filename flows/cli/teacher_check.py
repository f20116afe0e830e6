"""`llm4teach teacher check`: three known states to a teacher; its advice, its price, its pace."""

from __future__ import annotations

from typing import Any

from llm4teach.envs.registry import get_task
from llm4teach.flows.cli.terminal import print_table
from llm4teach.flows.runtime.settings import Settings
from llm4teach.flows.runtime.teacher_access import open_teacher
from llm4teach.teacher_labeling.config import Price
from llm4teach.teacher_labeling.labeling.budget import price_of, with_cost
from llm4teach.teacher_labeling.probe_states import probe_states
from llm4teach.teacher_labeling.teacher import Advice, TeacherError

_LIKELIEST = 3  # plans shown of each state
_SHOWN_CHARACTERS = 400  # of a reply


def check_teacher(settings: Settings, show_replies: bool = False) -> None:
    """Ask, and print a table; nothing is stored.

    Raises:
        TeacherError: the teacher cannot be made or cannot answer, or no answer was of any use.
    """
    family = get_task(settings.task).family
    states = probe_states(family)
    teacher = open_teacher(settings.teacher, family)
    try:
        print(f"teacher: {teacher.info.teacher_id}")
        if teacher.info.prompt_version:
            print(f"prompt:  version {teacher.info.prompt_version}, for {family}")
        if server_facts := getattr(teacher, "server_facts", None):
            server = server_facts()
            version = f"version {server.version}" if server.version else "of unknown version"
            context = f"{server.context_tokens:,} tokens" if server.context_tokens else "not told"
            print(f"server:  {version}, context {context}, serves {', '.join(server.served[:5])}")
        price = price_of(settings.teacher, settings.label, teacher.info)
        asked = (with_cost(advice, price) for advice in teacher.advise(states))
        answers = {advice.state.key: advice for advice in asked}
    finally:
        teacher.close()
    print()
    rows = [answers[state.key] for state in states]
    print_table([_row(advice, price) for advice in rows])
    tokens_in = sum(advice.prompt_tokens for advice in rows)
    tokens_out = sum(advice.completion_tokens for advice in rows)
    cost = sum(a.cost for a in rows)
    dollars = f"{cost:.6f} US dollars"
    if price is None:
        dollars = f"cost unknown: label.prices has no {teacher.info.model}"
    print(f"\n{tokens_in:,} tokens in, {tokens_out:,} out, {dollars}")
    if show_replies:
        for advice in rows:
            print(f"\n{advice.state.text}")
            for reply in advice.replies:
                print(f"  {reply[:_SHOWN_CHARACTERS]!r}")
    if not any(advice.plans for advice in rows):
        raise TeacherError(
            "the teacher had no advice on any of the three states; --replies shows what it said. "
            "A better model, another --teacher.method or --teacher.prompt may help"
        )


def _row(advice: Advice, price: Price | None) -> dict[str, Any]:
    likely = [f"{p:.0%} {plan}" for plan, p in advice.plans[:_LIKELIEST]]
    return {
        "state": advice.state.text,
        "advice": "; ".join(likely) or advice.status.value,
        "entropy": f"{advice.entropy:.2f}",
        "coverage": f"{advice.coverage:.0%}",
        "tokens in": advice.prompt_tokens,
        "out": advice.completion_tokens,
        "seconds": round(advice.latency_s, 2),
        "cost $": f"{advice.cost:.6f}" if price is not None else "unknown",
    }
