"""Missions: every registered environment's, as tokens and back; and the grammar's edges."""

import contextlib
import io
import warnings

import gymnasium as gym
import pytest

from llm4teach.envs.minigrid.parsed.missions import (
    Clause,
    Thing,
    decode_mission,
    encode_mission,
    parse_mission,
    without,
)
from llm4teach.envs.minigrid.task import minigrid_ids
from llm4teach.envs.minigrid.words import VOCABULARY
from llm4teach.errors import TaskError


def missions_of(env_id: str, seeds: int) -> tuple[int, set[str]]:
    """Number of cells of the grid, and the missions of some episodes."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        env = gym.make(env_id, disable_env_checker=True).unwrapped
        missions = set()
        for seed in range(seeds):
            env.reset(seed=seed)
            missions.add(env.mission)
    return env.width * env.height, missions


@pytest.mark.parametrize("env_id", [i for i in minigrid_ids() if "WFC" not in i])
def test_every_mission_is_understood_and_fits_the_grid(env_id: str) -> None:
    cells, missions = missions_of(env_id, seeds=4)
    for text in missions:
        mission = parse_mission(text)
        tokens = encode_mission(mission)
        assert decode_mission(tokens + b"\0\0") == mission
        assert parse_mission(str(mission)) == mission
        assert len(tokens) <= cells
        assert bool(mission.steps) == bool(text)


@pytest.mark.parametrize("env_id", ["BabyAI-GoToSeq-v0", "BabyAI-BossLevel-v0"])
def test_many_missions_of_the_richest_levels(env_id: str) -> None:
    _, missions = missions_of(env_id, seeds=60)
    assert len(missions) > 40
    for text in missions:
        mission = parse_mission(text)
        assert decode_mission(encode_mission(mission)) == mission
        clauses = [clause for step in mission.steps for clause in step]
        assert len(clauses) == 1 + text.count(" and ") + text.count(", then ") + text.count(
            " after "
        )


def test_the_order_is_that_of_the_doing() -> None:
    after = parse_mission("go to a ball and go to the red key after you open the door on your left")
    first, second = after.steps
    assert first == (Clause("open", Thing("the", "door", place="on your left")),)
    assert [str(clause) for clause in second] == ["go to a ball", "go to the red key"]
    assert str(after) == "open the door on your left, then go to a ball and go to the red key"
    assert str(without(after, [[True], [True, False]])) == "go to the red key"
    assert without(after, [[True], [True, True]]).steps == ()


def test_wordings_of_minigrid() -> None:
    assert str(parse_mission("use the key to open the door and then get to the goal")) == (
        "open the door, then go to the goal"
    )
    assert str(parse_mission("avoid the lava and get to the green goal square")) == "go to the goal"
    (step,) = parse_mission("put the red ball near the blue box").steps
    assert step == (Clause("put", Thing("the", "ball", "red"), Thing("the", "box", "blue")),)
    locked = parse_mission(
        "get the red key from the grey room, unlock the red door and go to the goal"
    )
    assert locked.steps[0][0].thing == Thing("the", "key", "red", "from the grey room")


@pytest.mark.parametrize(
    "text",
    ["dance", "go to the dragon", "put the ball", "go to the ball next to the box", "go to"],
)
def test_other_missions_are_refused_with_their_text(text: str) -> None:
    with pytest.raises(TaskError, match=text):
        parse_mission(text)


def test_tokens_of_a_newer_version_are_refused() -> None:
    with pytest.raises(TaskError, match=str(len(VOCABULARY) + 1)):
        decode_mission(bytes([1, len(VOCABULARY) + 1]))


def test_the_vocabulary_keeps_its_order() -> None:
    """Stored observations hold tokens: words may be added at the end only."""
    assert len(set(VOCABULARY)) == len(VOCABULARY) < 256
    assert encode_mission(parse_mission("go to the red ball")) == bytes([7, 6, 3, 31, 26])
