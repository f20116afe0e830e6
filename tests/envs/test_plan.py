"""The plan grammar: round trips, the recorded wordings, and what it refuses."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm4teach.envs.plan import Option, Plan, PlanSyntaxError, parse_plan

OBJECTS = st.sampled_from(["key", "door", "red key", "door1", "grey ball", "locked red door"])
OPTIONS = st.one_of(
    st.just(Option("explore")),
    st.builds(
        Option,
        st.sampled_from(["go to", "go through", "pick up", "drop", "open"]),
        OBJECTS,
        st.just(""),
    ),
    st.builds(Option, st.just("put"), OBJECTS, OBJECTS),
)


@given(st.lists(OPTIONS, min_size=1, max_size=5).map(tuple).map(Plan))
def test_parse_undoes_render(plan: Plan) -> None:
    assert parse_plan(str(plan)) == plan


@given(st.text(max_size=300))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    with contextlib.suppress(PlanSyntaxError):
        assert parse_plan(str(parse_plan(text))) == parse_plan(text)


def test_an_option_with_two_objects() -> None:
    (option,) = parse_plan("Put the <target ball> next to <second object>").options
    assert option == Option("put", "target ball", "second object")


def test_wordings_of_the_recording() -> None:
    assert parse_plan("go to door > open door with key") == parse_plan("go to door > open door")
    assert parse_plan("Go to <Key>, pick up <key>", ", ") == parse_plan("go to key > pick up key")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "use key",
        "go to door > pick up handle > use key",
        "explore > ",
        "open",
        "go to the",
        "put key",
        "put key next to",
    ],
)
def test_other_steps_are_refused(text: str) -> None:
    with pytest.raises(PlanSyntaxError):
        parse_plan(text)


def test_a_plan_has_a_bounded_length() -> None:
    with pytest.raises(PlanSyntaxError, match="400 characters"):
        parse_plan(" > ".join(["explore"] * 100))
