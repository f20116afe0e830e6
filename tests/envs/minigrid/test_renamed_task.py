"""Raw tasks with other names for the colors: the same rooms, fewer texts, the same plans."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from minigrid.core.constants import COLOR_NAMES
from observed import observed

from llm4teach.envs.minigrid.raw.renamed import color_names, renamed
from llm4teach.envs.minigrid.raw.scene import Thing
from llm4teach.envs.minigrid.raw.state import Facts, text_of
from llm4teach.envs.registry import get_task
from llm4teach.envs.task import describe, ground_plan
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.factory import make_teacher

COLORS = st.sampled_from(sorted(COLOR_NAMES))
NAMES = st.builds(lambda color, kind: f"{color} {kind}", COLORS, st.sampled_from(["key", "ball"]))
THINGS = NAMES.map(lambda name: Thing(name, name.split()[1], "", "", True))
FACTS = st.builds(
    lambda things, held, mission: Facts(tuple(sorted(things)), True, held, mission, ()),
    st.sets(THINGS, max_size=6),
    st.one_of(st.just(""), NAMES),
    NAMES.map(lambda name: f"put the {name} next to the red ball"),
)


@given(FACTS, st.permutations(sorted(COLOR_NAMES)))
def test_facts_that_differ_only_in_their_colors_share_a_text(
    facts: Facts, other: list[str]
) -> None:
    recolored = renamed(facts, dict(zip(sorted(COLOR_NAMES), other, strict=True)))
    texts = {text_of(renamed(each, color_names(each))) for each in (facts, recolored)}
    assert len(texts) == 1
    names = color_names(facts)
    assert sorted(names) == sorted(names.values()) == sorted(COLOR_NAMES)


def test_no_color_is_the_missions_favorite() -> None:
    """A teacher that just prefers red must not look wise: the goal's name is any of the six."""
    kinds = [f"key{i}" for i in range(600)]
    goals = Counter(
        color_names(Facts((Thing("red ball", kind, "", "", True),), True, "", f"red {kind}", ()))[
            "red"
        ]
        for kind in kinds
    )
    # 100 expected of each; a binomial's standard deviation is 9
    assert set(goals) == set(COLOR_NAMES) and all(60 < n < 140 for n in goals.values())


def test_plans_do_the_same_as_in_the_real_colors() -> None:
    name = "BabyAI-PutNextLocal-v0"
    real, other = get_task(name), get_task(f"{name}-renamed")
    observations = observed(name, 8, 6)
    texts: list[set[str]] = [set(), set()]
    for observation in observations:
        sets = []
        for task, met in zip((real, other), texts, strict=True):
            (state,) = describe(task, observation[None])
            met.add(state.text)
            grounded = (ground_plan(task, observation[None], plan) for plan in state.options)
            sets.append(sorted(tuple(probs[0].tolist()) for probs in grounded))
        assert sets[0] == sets[1]
    assert texts[0] != texts[1]


def test_there_are_fewer_texts_and_the_rules_read_them() -> None:
    name = "MiniGrid-GoToDoor-8x8-v0"
    observations = observed(name, 40, 6)
    real, other = (describe(get_task(n), observations) for n in (name, f"{name}-renamed"))
    assert len({s.text for s in other}) < len({s.text for s in real}) / 3
    task = get_task(f"{name}-renamed")
    teacher = make_teacher(TeacherConfig(teacher="expert"), task.family)
    for state, advice in zip(other, teacher.advise(other), strict=True):
        plan = max(advice.plans, key=lambda weighed: weighed[1])[0]
        door = state.text.partition("Mission: go to the ")[2].rstrip(".")
        assert str(plan) in ("explore", f"go to {door}")


def test_the_swapped_control_has_other_names_too() -> None:
    name = "MiniGrid-GoToDoor-8x8-v0-swapped"
    observations = observed(name, 2, 6)
    real, other = (describe(get_task(n), observations) for n in (name, f"{name}-renamed"))
    assert [s.text for s in real] != [s.text for s in other]


def test_names_are_the_same_in_every_process() -> None:
    """Python hashes strings differently in each, and a resumed run has to read the same plans."""
    program = """
from llm4teach.envs.minigrid.raw.renamed import color_names
from llm4teach.envs.minigrid.raw.scene import Thing
from llm4teach.envs.minigrid.raw.state import Facts

thing = Thing("red ball", "ball", "", "", True)
print(color_names(Facts((thing,), True, "", "pick up the red ball", ())))
"""
    told = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(told) == 1 and "red" in told.pop()
