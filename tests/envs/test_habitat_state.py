"""What the teacher is told of Nav & Pick, and what its skills do, by hand."""

import numpy as np
import pytest

from llm4teach.envs.habitat.skills import FORWARD, GRIP, LEFT, REACH, RIGHT
from llm4teach.envs.habitat.state import EXPLORE, NAVIGATE, PICK, PUT_BACK, nav_pick_state
from llm4teach.envs.habitat.task import habitat_task
from llm4teach.envs.habitat.worker import layout
from llm4teach.envs.habitat.worker.layout import VECTOR_SHAPE, encode_state
from llm4teach.envs.plan import Plan
from llm4teach.envs.task import Observations, describe, ground_plan
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.factory import make_teacher

TASK = habitat_task("HabitatNavPick")


def seen(*flags: str, **targets: tuple[float, float]) -> Observations:
    """An observation with these flags and targets, each a bearing in degrees and a distance."""
    rows = np.zeros((len(layout.TARGETS), 4))
    for name, (bearing, distance) in targets.items():
        angle = np.deg2rad(bearing)
        rows[layout.TARGETS.index(name)] = 1, np.sin(angle), np.cos(angle), distance
    out = np.zeros((1, *VECTOR_SHAPE), np.uint8)
    encode_state(np.full(layout.RANGES, 2.0), [f in flags for f in layout.FLAGS], rows, out[0])
    return out


def at(bearing: float, distance: float, *flags: str) -> Observations:
    """The table, the object and the way to both, there."""
    place = (bearing, distance)
    return seen("table_seen", *flags, table=place, object=place, table_waypoint=place)


def text(observation: Observations) -> str:
    return describe(TASK, observation)[0].text


def action(observation: Observations, plan: Plan) -> int | None:
    probs = ground_plan(TASK, observation, plan)[0]
    return int(probs.argmax()) if probs.any() else None


def test_texts() -> None:
    assert text(seen()) == (
        "Last move: free. Object: not seen yet. Agent sees <nothing>, holds <nothing>."
    )
    assert text(at(0, 2.1, "blocked")) == (
        "Last move: blocked. Object: out of the arm's reach. "
        "Agent sees <table> ahead 1 to 3 m away, holds <nothing>."
    )
    assert "<table> to the left more than 3 m away" in text(at(90, 4))
    assert "<table> to the right within 1 m" in text(at(-60, 0.9))
    assert "<table> behind within 1 m" in text(at(170, 0.9))
    near = seen("table_seen", "holds_other", table=(0, 0.9), object=(0, 0.7))
    assert text(near) == (
        "Last move: free. Object: within the arm's reach. "
        "Agent sees <table> ahead within 1 m, holds <other object>."
    )


def test_admissible_plans() -> None:
    def options(observation: Observations) -> tuple[Plan, ...]:
        return describe(TASK, observation)[0].options

    assert options(seen()) == (EXPLORE,)
    assert options(at(0, 2)) == (EXPLORE, NAVIGATE, PICK)
    assert options(at(0, 2, "holds_other")) == (EXPLORE, NAVIGATE, PICK, PUT_BACK)


def test_depth_observations_are_read_like_vectors() -> None:
    depth = habitat_task("HabitatNavPickDepth")
    images = np.random.default_rng(0).integers(0, 256, (1, *depth.observation_shape), np.uint8)
    images[0, -1, : layout.STATE_BYTES] = at(40, 1.5)[0]
    assert describe(depth, images) == describe(TASK, at(40, 1.5))
    np.testing.assert_array_equal(
        ground_plan(depth, images, NAVIGATE), ground_plan(TASK, at(40, 1.5), NAVIGATE)
    )


def test_skills() -> None:
    assert action(at(0, 2), NAVIGATE) == FORWARD
    assert action(at(40, 2), NAVIGATE) == LEFT
    assert action(at(-40, 2), NAVIGATE) == RIGHT
    assert action(seen(), NAVIGATE) is None, "it does not know where to"
    in_reach = seen("table_seen", table=(0, 0.9), object=(-30, 0.7))
    assert action(in_reach, NAVIGATE) is None, "done"
    assert action(in_reach, PICK) == RIGHT
    assert action(seen("table_seen", object=(5, 0.7)), PICK) == REACH
    assert action(seen("table_seen", "arm_out", object=(5, 0.7)), PICK) == GRIP
    assert action(at(5, 2), PICK) == REACH, "in vain, but that is what picking is"
    assert action(seen("table_seen", "holds_other", object=(5, 0.7)), PICK) is None
    assert action(seen("holds_other", "arm_out"), PUT_BACK) == GRIP
    assert action(seen(explore_waypoint=(100, 1)), EXPLORE) == LEFT
    assert action(seen(), EXPLORE) is None


def test_what_is_done_hands_over_and_shares_go_to_who_can_act() -> None:
    both = Plan((*NAVIGATE.options, *PICK.options))
    in_reach = seen("table_seen", table=(0, 0.9), object=(0, 0.7))
    assert action(in_reach, both) == REACH
    assert action(at(0, 2), both) == FORWARD
    mixture = ((NAVIGATE, 0.8), (PICK, 0.2))
    probs = TASK.ground(np.concatenate([in_reach, at(0, 2)]), [mixture], np.zeros(2, int))
    np.testing.assert_allclose(probs, [[0, 0, 0, 1, 0], [0.8, 0, 0, 0.2, 0]])


def test_turning_settles_whatever_the_bearing() -> None:
    """A turn that leads past the tolerance on the other side would be repeated for ever."""
    for degrees in np.arange(-179.5, 180, 2.0):
        bearing, turns = float(degrees), 0
        while (chosen := action(at(bearing, 2), NAVIGATE)) != FORWARD:
            bearing += -layout.TURN_DEGREES if chosen == LEFT else layout.TURN_DEGREES
            turns += 1
            assert turns <= 6, degrees


@pytest.mark.parametrize("name", ["handwritten-nav-pick", "smollm2-135m-nav-pick"])
def test_recorded_advice_is_on_states_of_the_describer(name: str) -> None:
    teacher = make_teacher(TeacherConfig(teacher=f"recorded/{name}"), TASK.family)
    states = [nav_pick_state(packed) for packed in range(25 * 3 * 2) if packed // 2 % 3 != 2]
    advised = [advice for advice in teacher.advise(states) if advice.plans]
    assert len(advised) >= 30
    for advice in advised:
        assert {plan for plan, _ in advice.plans} <= set(advice.state.options)
    teacher.close()
