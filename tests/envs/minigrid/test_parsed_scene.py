"""What a teacher is told of hand-drawn maps, and what the names in its plans stand for."""

import numpy as np
import pytest
from numpy.typing import NDArray

from llm4teach.envs.grid.options import Decision, OptionStatus, decide_plan
from llm4teach.envs.minigrid.map_env import NOTES, WORDS
from llm4teach.envs.minigrid.parsed.missions import encode_mission, parse_mission
from llm4teach.envs.minigrid.parsed.scene import Scene
from llm4teach.envs.minigrid.parsed.state import facts_of, minigrid_state
from llm4teach.envs.plan import parse_plan

LEFT, RIGHT, FORWARD, PICK_UP, DROP, TOGGLE = range(6)
CELLS = {
    "?": (0, 0, 0),
    ".": (1, 0, 0),
    "#": (2, 5, 0),
    "k": (5, 0, 0),  # red key
    "K": (5, 1, 0),  # green key
    "b": (6, 0, 0),  # red ball
    "B": (6, 2, 0),  # blue ball
    "X": (7, 2, 0),  # blue box
    "G": (8, 1, 0),
    "~": (9, 0, 0),  # lava
    "/": (4, 0, 0),  # red doors: open, closed, locked
    "d": (4, 0, 1),
    "r": (4, 0, 2),
    "D": (4, 1, 2),  # green, locked
}


def scene(mission: str, *rows: str, holds: str = ".", now: str = "", later: str = "") -> Scene:
    """A map drawn row by row; ``now`` and ``later`` are the letters of the marked things."""
    obs = np.zeros((len(rows[0]), len(rows), 6), np.uint8)
    obs[..., 3] = 4
    for y, row in enumerate(rows):
        for x, letter in enumerate(row):
            if letter in ">v<^":
                obs[x, y, :4] = (*CELLS[holds], ">v<^".index(letter))
                letter = holds
            else:
                obs[x, y, :3] = CELLS[letter]
            obs[x, y, NOTES] = 1 if letter in now else 2 if letter in later else 0
    words = encode_mission(parse_mission(mission))
    flat = np.zeros(obs[..., 0].size, np.uint8)
    flat[: len(words)] = list(words)
    obs[..., WORDS] = flat.reshape(obs[..., 0].shape)
    return Scene(obs)


def told(view: Scene) -> str:
    return minigrid_state(facts_of(view)).text


def plans(view: Scene) -> list[str]:
    return [str(plan) for plan in minigrid_state(facts_of(view)).options]


def act(view: Scene, plan: str) -> Decision:
    return decide_plan(view, parse_plan(plan))


@pytest.mark.parametrize(
    ("view", "text", "options"),
    [
        (
            scene("go to the goal", "#####", "#>.?#", "#####"),
            "Mission: go to <goal>. Unexplored: yes. Agent sees <nothing>, holds <nothing>.",
            ["explore"],
        ),
        (
            scene("go to the goal", "######", "#>G.d#", "######", now="G"),
            "Mission: go to <goal>. Unexplored: no. Agent sees <goal>, holds <nothing>.",
            ["go to goal"],
        ),
        (
            scene("go to the goal", "######", "#>~~G#", "######", now="G"),
            "Mission: go to <goal>. Unexplored: no. Agent sees <goal out of reach>, "
            "holds <nothing>.",
            ["explore"],
        ),
        (
            scene(
                "pick up the red ball",
                "#######",
                "#>B.b.#",
                "#..k..#",
                "#.....#",
                "#######",
                now="b",
            ),
            "Mission: pick up <target object>. Unexplored: no. Agent sees <target object>, "
            "holds <nothing>.",
            ["go to target object > pick up target object"],
        ),
        (
            scene("pick up the red ball", "######", "#>.b.#", "######", holds="k", now="b"),
            "Mission: pick up <target object>. Unexplored: no. Agent sees <target object>, "
            "holds <other object>.",
            ["drop other object"],
        ),
        (
            scene("pick up the red ball", "######", "#>k.r#", "#.K.d#", "#....#", "######"),
            "Mission: pick up <target object>. Unexplored: no. Agent sees <locked door>, "
            "<matching key>, <closed door>, holds <nothing>.",
            [
                "go to matching key > pick up matching key",
                "go to closed door > open closed door",
            ],
        ),
        (
            scene("pick up the red ball", "#######", "#.>X.r#", "#######", holds="k"),
            "Mission: pick up <target object>. Unexplored: no. "
            "Agent sees <locked door out of reach>, <blocking object>, holds <matching key>.",
            ["drop matching key"],
        ),
        (
            scene("pick up the red ball", "######", "#>X.D#", "#....#", "######"),
            "Mission: pick up <target object>. Unexplored: no. Agent sees <locked door>, <box>, "
            "holds <nothing>.",
            ["go to box > open box"],
        ),
        (
            scene("open the red door", "######", "#>..r#", "######", holds="k", now="r"),
            "Mission: open <target door>. Unexplored: no. Agent sees <locked target door>, "
            "holds <matching key>.",
            ["go to locked target door > open locked target door", "drop matching key"],
        ),
        (
            scene(
                "pick up the green key from the red room, then open the green door",
                "######",
                "#>../?",
                "######",
                now="/",
            ),
            "Mission: pick up <target object> in the room of <target door>. Unexplored: yes. "
            "Agent sees <open target door>, holds <nothing>.",
            ["explore", "go through open target door"],
        ),
        (
            scene(
                "put the red ball next to the blue box",
                *("#######", "#>..X.#", "#######"),
                holds="b",
                now="bX",
            ),
            "Mission: put <target object> next to <second object>. Unexplored: no. "
            "Agent sees <second object>, holds <target object>.",
            ["put target object next to second object", "drop target object"],
        ),
    ],
)
def test_texts_and_plans(view: Scene, text: str, options: list[str]) -> None:
    assert told(view) == text
    assert plans(view) == options


def test_colors_do_not_change_what_is_told() -> None:
    """The same map in other colors, consistently, is the same state with the same grounding."""
    rng = np.random.default_rng(0)
    rows = ("#######", "#>k.r.#", "#.B.X.#", "#######")
    first = scene("pick up the blue box", *rows, now="X")
    words = parse_mission("pick up the blue box")
    for _ in range(20):
        permutation = rng.permutation(6)
        obs = np.stack([first.objects, permutation[first.colors], first.states], -1)
        names = ["red", "green", "blue", "purple", "yellow", "grey"]
        color = names[permutation[2]]
        tokens = encode_mission(parse_mission(str(words).replace("blue", color)))
        full = np.zeros((*obs.shape[:2], 6), np.uint8)
        full[..., :3], full[..., 3], full[..., NOTES] = obs, 4, first.marks
        full[(*first.agent, 3)] = first.heading
        full[..., WORDS].flat[: len(tokens)] = 0
        flat = np.zeros(obs[..., 0].size, np.uint8)
        flat[: len(tokens)] = list(tokens)
        full[..., WORDS] = flat.reshape(obs.shape[:2])
        assert facts_of(Scene(full)) == facts_of(first)


def test_the_targets_are_the_marked_things_only() -> None:
    view = scene("pick up the red ball", "#######", "#b.>.b#", "#######", now="b")
    view.marks[1, 1] = 0  # a red ball elsewhere than the mission says
    assert act(view, "go to target object > pick up target object") == (FORWARD,)
    view.__dict__.pop("target", None)
    assert act(view, "go to red ball") in ((FORWARD,), (LEFT, RIGHT))


def test_what_is_in_the_way_is_the_least_to_be_moved() -> None:
    rows = ("########", "#.k#...#", "#>Br...#", "#..#...#", "########")
    view = scene("pick up the blue box", *rows)
    names: NDArray[np.bool_] = view.cells("blocking object")
    assert np.argwhere(names).tolist() == [[2, 2]], "the ball, not the key beside it"
    assert act(view, "pick up blocking object") == (PICK_UP,)


def test_a_thing_is_put_down_where_no_way_leads_through() -> None:
    corridor = ("#######", "#..#..#", "#..>..#", "#..#..#", "#######")
    view = scene("go to the goal", *corridor, holds="B")
    free = np.argwhere(view.places_to_drop()).tolist()
    assert [4, 2] not in free and [2, 2] not in free, "before the gap"
    assert [1, 1] in free and [5, 3] in free
    # A dead end has no other place: then it is put down all the same.
    assert act(scene("go to the goal", "#####", "#>.?#", "#####", holds="B"), "drop ball") == (
        DROP,
    )


def test_a_key_is_chosen_for_a_door_that_can_be_reached() -> None:
    rows = ("#########", "#...#...#", "#.>kr...#", "#.K.#...#", "#...D...#", "#########")
    view = scene("pick up the blue box", *rows)
    assert np.argwhere(view.cells("matching key")).tolist() == [[2, 3]], (
        "the red key is at its door"
    )


def test_plans_that_the_state_offers_can_act() -> None:
    """In the pictures above no offered plan is idle, save exploring what is explored."""
    for mark in test_texts_and_plans.pytestmark:  # type: ignore[attr-defined]
        for view, _, options in mark.args[1]:
            for plan in options:
                if plan != "explore" or view.unexplored:
                    assert not isinstance(act(view, plan), OptionStatus), (told(view), plan)
