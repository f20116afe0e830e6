"""The six states that a teacher can tell apart in SimpleDoorKey, as the environment gives them."""

import pytest

from llm4teach.envs.plan import parse_plan
from llm4teach.envs.task import State, state_key

SCENES = [  # sees, holds
    ("nothing", "nothing"),
    ("door", "nothing"),
    ("key", "nothing"),
    ("key, door", "nothing"),
    ("nothing", "key"),
    ("door", "key"),
]


def make_state(sees: str, holds: str) -> State:
    seen = ", ".join(f"<{thing}>" for thing in sees.split(", "))
    text = f"Agent sees {seen}, holds <{holds}>."
    plans = ["explore"]
    if "key" in sees and holds == "nothing":
        plans.append("go to key > pick up key")
    if "door" in sees:
        plans.append("go to door > open door")
    if holds == "key":
        plans.append("drop key")
    key = state_key("SimpleDoorKey", text)
    return State(key, text, tuple(parse_plan(plan) for plan in plans))


@pytest.fixture
def states() -> list[State]:
    return [make_state(*scene) for scene in SCENES]


@pytest.fixture
def unheard_of_state() -> State:
    return make_state("purple cow", "nothing")
