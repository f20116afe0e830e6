"""What of a reply is its answer: reasoning never is, whatever it quotes and however long it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm4teach.envs.plan import PlanSyntaxError, parse_plan
from llm4teach.teacher_labeling.elicitation.answer_text import CUT, answer_text, answer_texts
from llm4teach.teacher_labeling.elicitation.parsing import (
    PercentagesError,
    parse_percentages,
    parse_reply,
)

LURE = "The format is Action: {go to key, pick up key}.\nAction: {drop key}\nA: 90%\nB: 10%"
MARKS = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<Thought>", "</Thought>"),
    ("<reasoning>", "</reasoning>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<unused94>thought", "<unused95>"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    ("analysisWe see. ", "assistantfinal"),
]
OPTIONS = (parse_plan("explore"), parse_plan("go to key > pick up key"))


@pytest.mark.parametrize(("opened", "closed"), MARKS)
@pytest.mark.parametrize("length", [1, 5_000])
def test_reasoning_is_no_answer(opened: str, closed: str, length: int) -> None:
    thought = f"{opened}\n{LURE * length}\n"
    assert parse_reply(f"{thought}{closed}\nAction: {{explore}}") == OPTIONS[0]
    stated = answer_text(f"{thought}{closed}\nA: 20%\nB: 80%")
    assert parse_percentages(stated, OPTIONS) == {OPTIONS[0]: 20, OPTIONS[1]: 80}
    for unfinished in (thought, thought + CUT, f"Action: {{explore}}\n{thought}"):
        if unfinished.startswith("Action") and opened.startswith("analysis"):
            continue  # without its tokens it is known only at the beginning
        with pytest.raises(PlanSyntaxError):
            parse_reply(unfinished)
        with pytest.raises(PercentagesError):
            parse_percentages(answer_text(unfinished), OPTIONS)


def test_text_before_the_last_mark_is_no_answer() -> None:
    assert parse_reply("Action: {drop key}</think>\nAction: {explore}") == OPTIONS[0]
    reply = "<think>a</think>Action: {drop key}<think>b</think>Action: {explore}"
    assert parse_reply(reply) == OPTIONS[0]
    with pytest.raises(PlanSyntaxError):
        parse_reply("Action: {drop key}</think>\n")


def test_a_prompt_that_opens_the_reasoning() -> None:
    """Then no reply has the first mark, and one that was truncated has neither."""
    answers = answer_texts([f"{LURE}\n</think>\nAction: {{explore}}", f"{LURE}\nSo{CUT}"])
    assert answers == ["Action: {explore}", None]
    assert answer_texts(["Action: {explore}", "<think>x</think>Action: {explore}"]) == [
        "Action: {explore}",
        "Action: {explore}",
    ]


def test_the_next_turn_is_no_answer() -> None:
    turn = "<|im_end|>\n<|im_start|>user\nNow?<|im_end|>\n<|im_start|>assistant\n"
    other = "<think>Hm.</think>Action: {drop key}"
    assert parse_reply(f"Action: {{explore}}{turn}{other}") == OPTIONS[0]
    assert parse_reply("<|im_start|>assistant\nAction: {explore}") == OPTIONS[0]
    assert parse_reply("<|eot_id|> Action: {explore}") == OPTIONS[0]


@given(st.text(max_size=200))
def test_any_text_in_a_reasoning_changes_nothing(text: str) -> None:
    assert answer_text(f"<think>{text}</think>Action: {{explore}}") in (
        "Action: {explore}",
        None,  # the text closes it, and opens another
    )
    assert answer_text(f"<think>{text}") is None or "</" in text or "[/" in text or "▷" in text


@given(st.text(max_size=200))
def test_any_text_is_read(text: str) -> None:
    assert answer_text(text) is None or isinstance(answer_text(text), str)
