"""Raw tasks: texts and plans by hand, and that nothing but the mission's words depends on it."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX
from observed import observed

from llm4teach.envs.minigrid.map_env import NOTES, WORDS
from llm4teach.envs.minigrid.raw.env import START, WordedMapEnv
from llm4teach.envs.minigrid.raw.scene import RawScene
from llm4teach.envs.minigrid.raw.state import facts_of, raw_question, raw_state
from llm4teach.envs.minigrid.words import decode_words, encode_words, words_of
from llm4teach.envs.plan import Plan, parse_plan
from llm4teach.envs.registry import get_task
from llm4teach.envs.task import State, describe, ground_plan
from llm4teach.errors import TaskError

WALL, FREE, LEFT, FORWARD, TOGGLE, DONE = 2, 1, 0, 2, 5, 6


def room(mission: str, *things: tuple[str, str, int, int, int]) -> np.ndarray[Any, Any]:
    """A walled room of 5 by 5 free cells, all seen; the agent in its middle looks east.

    Things are kind, color, state, and where from the agent: cells ahead and to its right.
    """
    observation = np.zeros((7, 7, 6), np.uint8)
    observation[..., 0], observation[..., 3] = WALL, 4
    observation[1:-1, 1:-1, 0] = FREE
    observation[3, 3, 3] = 0
    observation[3, 3, NOTES] = START
    for kind, color, state, ahead, right in things:
        cell = (OBJECT_TO_IDX[kind], COLOR_TO_IDX[color], state)
        observation[3 + ahead, 3 + right, :3] = cell
    tokens = encode_words(words_of(mission))
    observation[..., WORDS].flat[: len(tokens)] = list(tokens)
    return observation


def state_of(observation: np.ndarray[Any, Any]) -> State:
    return raw_state(facts_of(RawScene(observation)))


def plans(state: State) -> list[str]:
    return [str(plan) for plan in state.options]


def test_a_text_by_hand() -> None:
    things = (
        ("ball", "red", 0, 1, -1),
        ("box", "blue", 0, 2, 0),
        ("box", "blue", 0, -2, 1),  # told once
        ("door", "grey", 2, 3, 1),
        ("door", "green", 0, 3, 2),
    )
    state = state_of(room("put the red ball next to a box", *things))
    assert state.text == (
        "You see: blue box, open green door, locked grey door, red ball. You hold: nothing. "
        "Mission: put the red ball next to a box."
    )
    assert plans(state) == [
        *("go to blue box", "pick up blue box", "open blue box", "go to green door"),
        *("go to grey door", "open grey door", "go to red ball", "pick up red ball"),
    ]


def test_what_is_carried_goes_everywhere() -> None:
    observation = room("go to the goal", ("goal", "green", 0, 2, 2), ("ball", "red", 0, 1, 1))
    observation[3, 3, :3] = (OBJECT_TO_IDX["key"], COLOR_TO_IDX["blue"], 0)
    state = state_of(observation)
    assert "You hold: a blue key." in state.text
    assert plans(state) == [
        *("go to goal", "go to red ball", "put blue key next to red ball", "drop blue key"),
    ]


def test_no_way_and_the_unexplored() -> None:
    walls = [("wall", "grey", 0, 1, right) for right in range(-2, 3)]
    observation = room("get a key", *walls, ("key", "red", 0, 2, 0))
    state = state_of(observation)
    assert "red key (no way to it)" in state.text and plans(state) == ["explore"]
    observation[1, 1, :3] = 0
    assert "unexplored space" in state_of(observation).text


def test_places_are_told_where_the_mission_speaks_of_them() -> None:
    things = (("ball", "red", 0, 1, -1), ("ball", "red", 0, -2, 0), ("key", "red", 0, 0, 2))
    assert "ahead" not in state_of(room("pick up the red ball", *things)).text
    observation = room("pick up the ball behind you", *things)
    state = state_of(observation)
    assert "red ball ahead left, red ball behind, red key right." in state.text
    scene = RawScene(observation)
    assert scene.cells("red ball behind").nonzero() == (np.array([1]), np.array([3]))
    moved = observation.copy()  # places are those of the start, wherever the agent is now
    moved[3, 3, 3], moved[4, 4, 3] = 4, 2
    assert state_of(moved).text == state.text


def test_opening_is_tried_with_or_without_the_key() -> None:
    observation = room("open the door", ("door", "grey", 2, 1, 0))
    assert RawScene(observation).decide(parse_plan("open grey door")) == (TOGGLE,)
    observation[4, 3, 2] = 0
    assert not isinstance(RawScene(observation).decide(parse_plan("open grey door")), tuple)


def test_to_have_arrived_is_said_where_the_mission_wants_it() -> None:
    observation = room("go to the red ball", ("ball", "red", 0, 1, 0))
    plan = parse_plan("go to red ball")
    assert RawScene(observation, says_done=True).decide(plan) == (DONE,)
    assert not isinstance(RawScene(observation).decide(plan), tuple)


class Reworded(gym.Wrapper[Any, Any, Any, Any]):
    """Shows another mission that fits the room; the environment's own account keeps its own."""

    mission = ""

    def reset(self, **given: Any) -> Any:
        done = self.env.reset(**given)
        if self.mission:
            self.unwrapped.mission = self.mission  # type: ignore[attr-defined]
        return done


SWAPS = (
    ("MiniGrid-Fetch-8x8-N3-v0", "get a purple key"),
    ("MiniGrid-GoToDoor-8x8-v0", "go to the grey door"),
    ("BabyAI-PutNextLocal-v0", "put the red box next to the grey ball"),
    ("BabyAI-UnlockPickupDist-v0", "pick up the green key"),
    ("MiniGrid-LockedRoom-v0", "get the red key from the blue room, unlock the red door"),
)


@pytest.mark.parametrize(("env_id", "mission"), SWAPS)
def test_another_mission_changes_its_words_and_nothing_else(env_id: str, mission: str) -> None:
    """The promise of raw tasks: text, plans, grounding and observation have no mark of it."""
    task, rng = get_task(env_id), np.random.default_rng(0)
    own, other = (WordedMapEnv(Reworded(gym.make(env_id).unwrapped)) for _ in range(2))
    other.env.mission = mission  # type: ignore[attr-defined]
    for seed in range(4):
        a, b = own.reset(seed=seed)[0], other.reset(seed=seed)[0]
        for _ in range(25):
            np.testing.assert_array_equal(a[..., :WORDS], b[..., :WORDS])
            (mine,), (its,) = describe(task, a[None]), describe(task, b[None])
            before, _, words = mine.text.partition("Mission: ")
            assert its.text == f"{before}Mission: {mission}." and words != f"{mission}."
            assert mine.options == its.options
            plan = mine.options[int(rng.integers(len(mine.options)))]
            probs = ground_plan(task, a[None], plan)
            np.testing.assert_array_equal(probs, ground_plan(task, b[None], plan))
            action = int(probs[0].argmax()) if probs.any() else int(rng.integers(7))
            (a, _, ended, cut, _), (b, *_) = own.step(action), other.step(action)
            if ended or cut:
                break


@given(st.text(max_size=40))
def test_any_words_survive_as_tokens(text: str) -> None:
    words = [word.encode("ascii", "replace").decode() for word in words_of(text)]
    assert decode_words(encode_words(words) + b"\0\0") == words


def test_a_token_of_a_newer_version_is_named() -> None:
    with pytest.raises(TaskError, match="token 127"):
        decode_words(bytes([127]))


def test_fulfilled_clauses_are_babyais_own() -> None:
    task = get_task("BabyAI-GoToSeqS5R2-v0")
    env, seen = task.make_env(), set()
    for seed in range(12):
        observation, _ = env.reset(seed=seed)
        for _ in range(60):
            (state,) = describe(task, observation[None])
            done = RawScene(observation).fulfilled
            assert done == () or state.text.endswith(f"Fulfilled: {'; '.join(done)}.")
            seen.add(len(done))
            assert all(clause in env.unwrapped.mission for clause in done)  # type: ignore[attr-defined]
            plan = state.options[seed % len(state.options)]
            (probs,) = ground_plan(task, observation[None], plan)
            action = int(probs.argmax()) if probs.any() else LEFT
            observation, _, ended, cut, _ = env.step(action)
            if ended or cut:
                break
    assert {0, 1} <= seen


def test_the_door_under_the_agent_is_told() -> None:
    """The map shows the agent in its place; without a note the text would forget the door."""
    task = get_task("MiniGrid-UnlockPickup-v0")
    env, met = task.make_env(), 0
    observation, _ = env.reset(seed=0)
    unlocking: list[Plan] = []
    for _ in range(60):
        (state,) = describe(task, observation[None])
        color = next(w for w in state.text.split() if w in COLOR_TO_IDX)
        unlocking = [parse_plan(p) for p in (f"pick up {color} key", f"open {color} door")]
        plan = unlocking["You hold: a" in state.text]
        if f"open {color} door" in state.text:
            observation, *_ = env.step(FORWARD)
            under = env.unwrapped.grid.get(*env.unwrapped.agent_pos)  # type: ignore[attr-defined]
            if under is not None:
                assert f"open {color} door" in describe(task, observation[None])[0].text
                met += 1
            continue
        (probs,) = ground_plan(task, observation[None], plan)
        observation, *_ = env.step(int(probs.argmax()))
    assert met


def test_a_swapped_mission_is_another_episodes() -> None:
    """The control: what is shown is the next seed's mission, and the world is the own one."""
    name = "MiniGrid-GoToDoor-8x8-v0"
    own, swapped = get_task(name).make_env(), get_task(f"{name}-swapped").make_env()
    shown: list[tuple[str, str]] = []
    for seed in range(6):
        a, b = own.reset(seed=seed)[0], swapped.reset(seed=seed)[0]
        np.testing.assert_array_equal(a[..., :WORDS], b[..., :WORDS])
        shown.append((RawScene(a).mission, RawScene(b).mission))
        assert swapped.unwrapped.mission == shown[-1][0]  # type: ignore[attr-defined]
    assert [other for _, other in shown[:-1]] == [mission for mission, _ in shown[1:]]
    env_without_seed, _ = swapped.reset()
    assert isinstance(env_without_seed, np.ndarray)


def test_records_with_a_parsers_marks_are_read_as_raw_ones() -> None:
    """Stored before there were raw tasks: marks are no start, and the words are those left."""
    name = "MiniGrid-Fetch-8x8-N3-v0"
    states = describe(get_task(name), observed(f"{name}-parsed", 3, 15))
    assert all("Mission: pick up a " in state.text and state.options for state in states)


def test_a_question_names_only_what_its_plan_does() -> None:
    things = (("ball", "red", 0, 1, -1), ("box", "blue", 0, 2, 0), ("door", "grey", 2, 3, 1))
    state = state_of(room("open the grey door", *things))
    asked = {str(plan): raw_question(state, plan) for plan in state.options}
    assert asked["pick up red ball"] == (
        "You see: red ball. You hold: nothing. Mission: open the grey door.\n"
        "Option: pick up red ball"
    )
    assert asked["open grey door"].startswith("You see: locked grey door.")
    other = state_of(room("open the grey door", *things[:2]))
    shared = {raw_question(other, plan) for plan in other.options} & set(asked.values())
    assert len(shared) == len(other.options), "a door that does not matter changes nothing"
    text = "You see: blue box, unexplored space. You hold: a red key. Mission: x."
    unexplored = State("k", text, ())
    assert "You see: nothing else. You" in raw_question(unexplored, parse_plan("drop red key"))
    assert "unexplored" in raw_question(unexplored, parse_plan("go to blue box"))
    assert raw_question(unexplored, parse_plan("explore")) == ""
