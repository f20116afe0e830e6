"""A teacher without an LLM: a Python function that reads the state's text, as an LLM does.

llm4teach teach --task taxi:task --teacher rules_teacher:teacher
"""

import re

from llm4teach.teacher_labeling.backends.function import FunctionTeacher

PLACE = re.compile(r"The passenger is at the (\w+) place")
TARGET = re.compile(r"wants to go to the (\w+) place")


def drive_to(place: str, text: str, on_arrival: str) -> str:
    """Return what to do to be of use at a place."""
    return on_arrival if f"The taxi is at the {place} place" in text else f"go to {place}"


def advise(text: str, options: tuple[str, ...]) -> str:
    """Return one of the options, or weights of several as a dictionary."""
    if passenger := PLACE.search(text):
        return drive_to(passenger[1], text, "pick up passenger")
    target = TARGET.search(text)
    assert target is not None, text
    return drive_to(target[1], text, "drop passenger")


teacher = FunctionTeacher(advise, name="taxi rules")
