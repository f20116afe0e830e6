"""Crafter's questions: few, about one option each, and no more than its rule speaks of."""

from __future__ import annotations

import numpy as np
import pytest
from crafter_views import record

from llm4teach.envs.crafter import symbols as s
from llm4teach.envs.crafter.describe import PLANS
from llm4teach.envs.crafter.questions import RULES
from llm4teach.envs.crafter.task import crafter_task
from llm4teach.envs.task import describe
from llm4teach.teacher_labeling.elicitation.prompts import load_template
from llm4teach.teacher_labeling.questions import Judgments

TASK = crafter_task()
EVERYTHING = [".T#.", "w@cI", "DtF~", ".p.."]


def facts_about(option: str, rows: list[str], **more: object) -> str:
    """The sentence about the player in a question."""
    (state,) = describe(TASK, record(rows, **more)[None])  # type: ignore[arg-type]
    asked = TASK.question(state, PLANS[option])
    rule, sentence = asked.split("\n")
    assert rule == f"Action: {option}. Rule: {RULES[option]}"
    return sentence.removeprefix("The player ").removesuffix(".")


@pytest.mark.parametrize(
    ("option", "expected", "more"),
    [
        ("collect wood", "has no wood", {}),
        ("collect wood", "has 5 or more wood", {"held": {"wood": 9}}),
        ("collect stone", "has no pickaxe at all and has no stone", {}),
        (
            "collect coal",
            "has a stone pickaxe and has 1 coal",
            {"held": {"coal": 1, "wood pickaxe": 1, "stone pickaxe": 1}},
        ),
        (
            "make wood pickaxe",
            "has a table in reach, has 1 or more wood and has no wood pickaxe yet",
            {"rows": ["@t"], "held": {"wood": 3}},
        ),
        (
            "place furnace",
            "has 1 stone, has no table in reach, has no furnace in reach and has never done this "
            "before",
            {"held": {"stone": 1}},
        ),
    ],
)
def test_questions_by_hand(option: str, expected: str, more: dict[str, object]) -> None:
    rows = more.pop("rows", ["@T"])
    assert facts_about(option, rows, **more) == expected  # type: ignore[arg-type]


def test_every_option_but_exploring_has_a_rule() -> None:
    assert RULES.keys() == set(s.OPTIONS) - {"explore"}
    (state,) = describe(TASK, record(["@T"])[None])
    assert TASK.question(state, PLANS["explore"]) == ""


def test_examples_of_the_prompt_are_questions_as_they_are_asked() -> None:
    template = load_template(TASK.family, "judgments")
    assert {answer for _, answer in template.examples} == {"Yes", "No"}
    for question, _ in template.examples:
        action, rule = question.split("\n")[0].removeprefix("Action: ").split(". Rule: ")
        assert RULES[action] == rule
        assert question.endswith(template.question.removeprefix("$state"))


def test_a_few_hundred_questions_cover_many_states() -> None:
    rng, questions, texts = np.random.default_rng(0), Judgments(TASK), set[str]()
    asked: dict[str, str] = {}
    for _ in range(300):
        held = {item: int(rng.integers(0, 4)) for item in s.ITEMS[: s.MATERIALS]}
        held |= {tool: int(rng.integers(0, 2)) for tool in s.ITEMS[s.MATERIALS :]}
        rows = ["".join(rng.choice(list(".T#c~t"), 4)), f"{rng.choice(list('.T#t'))}@"]
        (state,) = describe(TASK, record(rows, held=held)[None])
        texts.add(state.text)
        asked |= {q.key: q.text for q in questions.of(state)}
    assert len(asked) < 150 < len(texts)
