"""Three states of each family that has prompts, to try a teacher or a prompt on."""

from __future__ import annotations

from llm4teach.envs.registry import task_of_family
from llm4teach.envs.task import State


def probe_states(family: str) -> tuple[State, State, State]:
    """Return the example states of a family's task."""
    first, second, third = task_of_family(family).example_states()
    return first, second, third
