"""States to ask a misbehaving server about, and the teacher that asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bad_server import BadServer

from llm4teach.envs.plan import parse_plan
from llm4teach.envs.task import State, state_key
from llm4teach.teacher_labeling.backends.openai.teacher import OpenAITeacher
from llm4teach.teacher_labeling.config import TeacherConfig

FAMILY = "SimpleDoorKey"
OPTIONS = tuple(map(parse_plan, ("explore", "go to key > pick up key", "drop key")))
Make = Callable[..., BadServer]


def make_states(n: int) -> list[State]:
    texts = [f"Agent sees <key{i}>, holds <nothing>." for i in range(n)]
    return [State(state_key(FAMILY, text), text, OPTIONS) for text in texts]


def make_teacher(server: BadServer, **settings: Any) -> OpenAITeacher:
    defaults = {"model": "m", "timeout_s": 60, "n_samples": 2, "permutations": 2}
    return OpenAITeacher(TeacherConfig(base_url=server.url, **(defaults | settings)), FAMILY)
