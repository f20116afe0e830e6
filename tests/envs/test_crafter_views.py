"""Crafter's views: what is remembered, what each option does with it, what the teacher reads."""

from __future__ import annotations

import numpy as np
import pytest
from crafter_views import DOWN, LEFT_, RIGHT, UP, distances, record, remembered
from hypothesis import given, settings
from hypothesis import strategies as st

from llm4teach.envs.crafter import symbols as s
from llm4teach.envs.crafter.describe import (
    CREATURE_NAMES,
    KIND_NAMES,
    LEVEL_NAMES,
    PLACE_NAMES,
    PLANS,
    SLEEPING,
    Facts,
    crafter_state,
    facts_text,
    parse_text,
)
from llm4teach.envs.crafter.describe import FAMILY as CRAFTER
from llm4teach.envs.crafter.task import crafter_task
from llm4teach.envs.task import describe, ground_plan
from llm4teach.errors import TeacherError
from llm4teach.teacher_labeling.backends.expert import ExpertTeacher, rank
from llm4teach.teacher_labeling.backends.open_goals import OpenGoalsTeacher
from llm4teach.teacher_labeling.backends.uniform import UniformTeacher
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.factory import make_teacher
from llm4teach.teacher_labeling.teacher import NO_LLM

TASK = crafter_task()
KINDS = [s.GRASS, s.PATH, s.SAND, s.STONE, s.LAVA, s.WATER, s.TREE, s.TABLE, s.UNKNOWN]


def action(option: str, made: np.ndarray) -> str:  # type: ignore[type-arg]
    """The one action of an option; "" where it cannot act, "any step" where it wanders."""
    row = ground_plan(TASK, made[None], PLANS[option])[0]
    if (row > 0).sum() > 1:
        return "any step"
    return s.ACTIONS[row.argmax()] if row.any() else ""


@pytest.mark.parametrize(
    ("option", "expected", "rows", "more"),
    [
        ("collect wood", "do", [".T.", ".@."], {}),
        ("collect wood", "up", [".T.", ".@."], {"facing": DOWN}),
        ("collect wood", "right", ["....T", ".@..."], {}),
        ("collect wood", "", ["~~~.T", "~@~..", "~~~.."], {}),
        ("collect stone", "right", ["@#"], {}),  # with bare hands, too: it knows no recipe
        ("collect coal", "do", ["@#c"], {"facing": RIGHT, "held": {"wood pickaxe": 1}}),
        ("collect coal", "", ["@#c"], {"facing": RIGHT}),
        ("collect sapling", "do", [".", "@"], {}),
        ("drink water", "left", ["~@"], {}),
        ("eat cow", "right", ["@..."], {"mobs": {(0, 2): s.COW}}),
        ("eat cow", "do", ["@..."], {"mobs": {(0, 1): s.COW}, "facing": RIGHT}),
        ("fight zombie", "left", ["..@"], {"mobs": {(0, -1): s.ZOMBIE}}),
        ("eat plant", "do", ["@P"], {"facing": RIGHT}),
        ("eat plant", "", ["@p"], {"facing": RIGHT}),  # not ripe: it waits
        ("eat plant", "right", ["@..p"], {}),
        ("sleep", "sleep", ["@"], {}),
        ("place table", "place table", [".", "@"], {}),
        ("place table", "right", ["~~~~", "~@..", "~~~~"], {"facing": LEFT_}),
        ("place stone", "place stone", ["~@"], {"facing": LEFT_}),
        ("place plant", "place plant", [".", "@"], {}),
        ("place plant", "down", ["s", "@", ".", "."], {}),
        ("place furnace", "right", ["@...t"], {}),
        ("make wood pickaxe", "make wood pickaxe", ["t..", ".@."], {}),
        (
            "make iron sword",
            "right",
            ["t@....", "~~~~tf"],
            {},
        ),  # on to where a furnace is in reach, too
        ("make iron sword", "make iron sword", ["t@f"], {}),
        ("explore", "right", ["~~~~", "~@..", "~~~~"], {}),
    ],
)
def test_options_act_on_what_was_seen(
    option: str, expected: str, rows: list[str], more: dict[str, object]
) -> None:
    framed = [row.ljust(max(map(len, rows))) for row in rows]
    assert action(option, record(framed, **more)) == expected  # type: ignore[arg-type]


def test_exploring_wanders_where_all_is_seen_and_other_options_give_up() -> None:
    made = record(["~~~~", "~@.~", "~~~~"])
    assert action("explore", made) == "right", "the only way"
    view = made[s.PIXELS :]
    assert action("drink water", made)
    view[s.VAIN + s.OPTIONS.index("drink water")] = 2
    assert action("drink water", made) == "", "in vain twice"
    (state,) = describe(TASK, made[None])
    assert PLANS["drink water"] in state.options, "what was tried in vain stays admissible"
    wood = record(["@..T"])
    wood[s.PIXELS + s.IDLE] = 120
    assert action("collect wood", wood) == "" and action("explore", wood)


def test_a_sleeper_sleeps_on() -> None:
    made = record(["@T"])
    made[s.PIXELS + s.ASLEEP] = 1
    (state,) = describe(TASK, made[None])
    assert state.options == (PLANS["sleep"],) and action("sleep", made) == "noop"
    other = record(["@.~"])
    other[s.PIXELS + s.ASLEEP] = 1
    assert describe(TASK, other[None]) == [state], "nothing to choose, so nothing else is told"


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ({"vitals": (4, 9, 5, 5)}, {"vitals": (7, 6, 7, 9)}, True),
        ({"vitals": (7, 9, 9, 9)}, {"vitals": (8, 9, 9, 9)}, False),
        ({"vitals": (9, 9, 4, 9)}, {"vitals": (9, 9, 5, 9)}, False),
        ({"vitals": (9, 9, 7, 9)}, {"vitals": (9, 9, 8, 9)}, False),
        ({"held": {"wood": 5}}, {"held": {"wood": 9}}, True),
        ({"held": {"wood": 1}}, {"held": {"wood": 2}}, False),
        ({"mobs": {(0, 1): s.COW}}, {"mobs": {(1, 3): s.COW}}, True),
        ({"mobs": {(0, 1): s.COW}}, {"mobs": {(0, 1): s.ZOMBIE}}, False),
        ({"mobs": {(1, 2): s.ZOMBIE}}, {"mobs": {(1, 3): s.ZOMBIE}}, False),
        ({"mobs": {(1, 3): s.ZOMBIE}}, {"mobs": {(1, 4): s.ZOMBIE}}, True),
        ({"facing": UP}, {"facing": DOWN}, True),
    ],
)
def test_a_text_tells_apart_what_choices_depend_on_and_no_more(
    one: dict[str, object], other: dict[str, object], is_same: bool
) -> None:
    made = [record(["@.....T", "......."], **more) for more in (one, other)]  # type: ignore[arg-type]
    first, second = describe(TASK, np.array(made))
    assert (first.text == second.text) == is_same


def test_near_is_up_to_24_steps_and_for_water_6() -> None:
    (state,) = describe(TASK, record(["@" + 24 * "." + "T~"])[None])
    assert "water far" in state.text and "tree near" in state.text and "grass near" in state.text
    (state,) = describe(TASK, record(["T" + 25 * "." + "@" + 6 * "." + "~"])[None])
    assert "water near" in state.text and "tree far" in state.text
    (state,) = describe(TASK, record(["~@.", "~.."])[None])
    assert "water beside" in state.text and "grass near" in state.text
    (state,) = describe(TASK, record(["~~~.T", "~@~..", "~~~.."])[None])
    assert "tree far" in state.text, "out of reach"


def test_options_need_an_object_not_a_recipe() -> None:
    (state,) = describe(TASK, record(["@.d", "..t"], held={"sapling": 1})[None])
    names = set(map(str, state.options))
    assert {"collect diamond", "make iron sword", "place plant", "sleep", "explore"} <= names
    assert not names & {"collect wood", "eat cow", "place table", "place stone", "drink water"}


cells = st.lists(st.sampled_from(KINDS), min_size=12 * 12, max_size=12 * 12)


@settings(max_examples=40, deadline=None)
@given(cells, st.booleans(), st.dictionaries(
    st.tuples(st.integers(-3, 3), st.integers(-4, 4)), st.integers(1, 4), max_size=3))  # fmt: skip
def test_paths_are_the_shortest(
    kinds: list[int], digs: bool, mobs: dict[tuple[int, int], int]
) -> None:
    from llm4teach.envs.crafter.paths_kernel import FAR, new_paths, search

    mobs.pop((0, 0), None)
    made = record(["@"], held={"wood pickaxe": int(digs)}, mobs=mobs)
    view = made[s.PIXELS :]
    world = view[s.MAP : s.MOBS].reshape(s.ROWS, s.COLUMNS)
    world[15:27, 15:27] = np.array(kinds).reshape(12, 12)
    paths = new_paths()
    search(view, paths)
    expected = distances(view)
    found = {divmod(int(c), s.COLUMNS): int(paths.distances[c]) for c in range(s.ROWS * s.COLUMNS)}
    assert {cell: d for cell, d in found.items() if d < FAR} == expected


status = st.tuples(*[st.sampled_from([-1, 0, 0, 1])] * 2, st.integers(1, 4))
plays = st.lists(st.tuples(status, st.integers(0, 16), st.integers(0, 2**32 - 1)), min_size=1,
                 max_size=8)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.tuples(st.integers(0, 63), st.integers(0, 63)), plays)
def test_views_are_remembered_as_the_slow_version_does_and_nothing_unseen_enters(
    start: tuple[int, int],
    steps: list[tuple[tuple[int, int, int], int, int]],
) -> None:
    from llm4teach.envs.crafter.memory_kernel import remember

    records = np.full((1, s.RECORD), 7, np.uint8)
    view = records[0, s.PIXELS :]
    seen = np.zeros((s.ROWS + 6, s.COLUMNS + 8), bool)
    row, column = start
    for t, ((down, right, facing), taken, seed) in enumerate(steps):
        row, column = np.clip([row + down, column + right], 0, 63)
        rng = np.random.default_rng(seed)
        shown = rng.integers(0, 3, (1, s.SYMBOLS), np.uint8)
        shown[0, :63] = rng.integers(1, 17, 63)
        shown[0, 63:126] = rng.choice(5, 63, p=[0.8, 0.05, 0.05, 0.05, 0.05])
        shown[0, 126:129] = row, column, facing
        expected = None if t == 0 else remembered(view.copy(), shown[0], taken)
        remember(records, shown, np.array([taken]), np.ones(1, bool), t == 0)
        if expected is not None:
            np.testing.assert_array_equal(view, expected)
        seen[row : row + 7, column : column + 9] = True
        world = view[s.MAP : s.MOBS].reshape(s.ROWS, s.COLUMNS)
        assert not world[~seen[3:-3, 4:-4]].any(), "a cell that was never in sight"
    assert (records[0, : s.PIXELS] == 7).all()


facts = st.builds(
    Facts,
    st.just(0),
    st.integers(0, 1),
    st.tuples(*[st.integers(0, len(LEVEL_NAMES) - 1)] * 4),
    st.tuples(*[st.integers(0, most) for most in (*s.MOST, *[1] * 6)]),
    st.tuples(*[st.integers(0, len(PLACE_NAMES) - 1)] * len(KIND_NAMES)),
    st.tuples(*[st.integers(0, len(PLACE_NAMES) - 1)] * len(CREATURE_NAMES)),
    *[st.integers(0, 1)] * 2,
    st.tuples(*[st.integers(0, 1)] * len(s.ACHIEVEMENTS)),
)


@given(st.one_of(facts, st.just(SLEEPING)))
def test_a_text_says_all_that_the_options_and_the_expert_need(known: Facts) -> None:
    state = crafter_state(known)
    assert parse_text(facts_text(known)) == known
    ranked = rank(parse_text(state.text))
    assert {PLANS[name] for name in ranked} <= set(state.options)
    assert len(set(ranked)) == len(ranked) <= 3 and ranked[-1] in ("sleep", "explore")


def test_the_expert_refuses_other_families() -> None:
    with pytest.raises(TeacherError, match="only, not for SimpleDoorKey"):
        ExpertTeacher("SimpleDoorKey")
    (state,) = describe(TASK, record(["@T"])[None])
    (advice,) = ExpertTeacher("Crafter").advise([state])
    (best, share), *_ = advice.plans
    assert best == PLANS["sleep"] and 0.99 < share < 1 and len(advice.plans) == 3
    assert sum(p for _, p in advice.plans) == pytest.approx(1)
    with pytest.raises(ValueError, match="no state of Crafter"):
        parse_text("It is day.")


@given(st.one_of(facts, st.just(SLEEPING)))
def test_open_goals_tries_what_is_not_done_yet(known: Facts) -> None:
    state = crafter_state(known)
    (advice,) = OpenGoalsTeacher(CRAFTER).advise([state])
    advised = {str(plan) for plan, _ in advice.plans}
    assert {plan for plan, _ in advice.plans} <= set(state.options)
    assert {share for _, share in advice.plans} == {1 / len(advised)}, "uniform"
    open_ones = {n for n, flag in zip(s.ACHIEVEMENTS, known.done, strict=True) if not flag}
    if known.asleep:
        assert advised == {"sleep"}
        return
    assert "explore" in advised
    for option in map(str, state.options):
        named = {"drink water": "collect drink", "sleep": "wake up"}.get(option, option)
        named = named.replace("fight", "defeat")
        assert (option in advised) == (named in open_ones or option == "explore")


def test_open_goals_is_for_crafter_and_no_llm() -> None:
    with pytest.raises(TeacherError, match="for Crafter only, not for SimpleDoorKey"):
        OpenGoalsTeacher("SimpleDoorKey")
    info = make_teacher(TeacherConfig(teacher="none/open-goals"), CRAFTER).info
    assert info.teacher_id.startswith(NO_LLM) and info != UniformTeacher.info


def test_success_is_half_of_the_achievements() -> None:
    returns = np.array([9.9, 10.0, 10.1, 11.0])  # 10 achievements, or 11 and a death
    ended = np.ones(4, bool)
    assert TASK.is_success(ended, returns).tolist() == [False, False, True, True]
    assert UP == 3
