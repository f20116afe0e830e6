"""Options: shortest paths against a slow search, and each option's acts, done and cannot."""

from collections import deque

import numpy as np
import pytest
from numpy.typing import NDArray

from llm4teach.envs.grid.options import GridView, OptionStatus, decide, decide_plan
from llm4teach.envs.grid.paths import FORWARD, LEFT, RIGHT, Board, pack
from llm4teach.envs.plan import Option, parse_plan
from llm4teach.envs.registry import get_task
from llm4teach.envs.task import ground_plan

STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))
PICKUP, DROP, TOGGLE = 3, 4, 5
CELLS = {
    "?": (0, 0, 0),
    ".": (1, 0, 0),
    "#": (2, 5, 0),
    "K": (5, 1, 0),
    "D": (4, 1, 2),
    "R": (4, 0, 2),
    "O": (4, 1, 0),
    "A": (6, 2, 0),
    "B": (7, 2, 0),
    "G": (8, 1, 0),
    "L": (9, 0, 0),
}


def scene(*rows: str, holds: str = ".") -> NDArray[np.uint8]:
    """An observation drawn as text, row by row; > v < ^ is the agent and its heading."""
    obs = np.zeros((len(rows[0]), len(rows), 4), np.uint8)
    obs[..., 3] = 4
    for y, row in enumerate(rows):
        for x, mark in enumerate(row):
            if mark in ">v<^":
                obs[x, y] = (*CELLS[holds], ">v<^".index(mark))
            else:
                obs[x, y, :3] = CELLS[mark]
    return obs


def slow_first_actions(
    free: NDArray[np.bool_], start: tuple[int, int, int], goal: NDArray[np.bool_]
) -> tuple[int, ...] | None:
    """Plain breadth-first search from the start, pose by pose; goal is bool (W, H, 4)."""

    def neighbors(pose: tuple[int, int, int]) -> list[tuple[int, tuple[int, int, int]]]:
        x, y, h = pose
        moves = [(LEFT, (x, y, (h - 1) % 4)), (RIGHT, (x, y, (h + 1) % 4))]
        ahead = (x + STEPS[h][0], y + STEPS[h][1])
        if free[ahead]:
            moves.append((FORWARD, (*ahead, h)))
        return moves

    def distance(source: tuple[int, int, int]) -> float:
        seen, queue = {source}, deque([(source, 0)])
        while queue:
            pose, d = queue.popleft()
            if goal[pose]:
                return d
            for _, following in neighbors(pose):
                if following not in seen:
                    seen.add(following)
                    queue.append((following, d + 1))
        return np.inf

    here = distance(start)
    if here == np.inf:
        return None
    return () if here == 0 else tuple(a for a, n in neighbors(start) if distance(n) == here - 1)


def test_bitboards_equal_the_slow_search() -> None:
    rng = np.random.default_rng(0)
    kinds = set()
    for _ in range(300):
        width, height = rng.integers(3, 9, 2)
        free = rng.random((width, height)) < 0.7
        free[[0, -1], :] = free[:, [0, -1]] = False
        x, y = rng.integers(1, width - 1), rng.integers(1, height - 1)
        free[x, y], heading = True, int(rng.integers(4))
        targets = rng.random((width, height)) < 0.1
        targets[x, y] = False
        goal = np.zeros((width, height, 4), bool)
        for cx, cy in np.argwhere(free):
            for h, (dx, dy) in enumerate(STEPS):
                goal[cx, cy, h] = targets[cx + dx, cy + dy]
        board = Board(pack(free), 1 << int(x * height + y), heading, int(height))
        fast = board.first_actions(board.facing(pack(targets)))
        assert fast == slow_first_actions(free, (int(x), int(y), heading), goal)
        kinds.add(fast if fast is None else len(fast))
    assert kinds >= {None, 0, 1, 2}, "the random cases must reach every kind of answer"


@pytest.mark.parametrize(
    ("option", "rows", "holds", "expected"),
    [
        ("explore", ("#####", "#>.?#", "#####"), ".", (FORWARD,)),
        ("explore", ("#####", "#<.?#", "#####"), ".", (LEFT, RIGHT)),  # both ways round
        ("explore", ("####", "#>.#", "####"), ".", OptionStatus.DONE),
        ("explore", ("#####", "#>K?#", "#####"), ".", OptionStatus.DONE),  # the key is in the way
        ("go to key", ("#####", "#>.K#", "#####"), ".", (FORWARD,)),
        ("go to key", ("#####", "#.>K#", "#####"), ".", OptionStatus.DONE),
        ("go to key", ("#####", "#>..#", "#####"), ".", OptionStatus.CANNOT),
        ("go to key", ("#####", "#>#K#", "#####"), ".", OptionStatus.CANNOT),
        ("pick up key", ("#####", "#>.K#", "#####"), ".", (FORWARD,)),
        ("pick up key", ("#####", "#.>K#", "#####"), ".", (PICKUP,)),
        ("pick up key", ("#####", "#.>.#", "#####"), "K", OptionStatus.DONE),
        ("pick up red key", ("#####", "#.>K#", "#####"), ".", OptionStatus.CANNOT),
        ("pick up green key", ("#####", "#.>K#", "#####"), ".", (PICKUP,)),
        ("drop key", ("#####", "#.>.#", "#####"), "K", (DROP,)),
        ("drop key", ("#####", "#..>#", "#####"), "K", (LEFT, RIGHT)),
        ("drop key", ("#####", "#.>.#", "#####"), ".", OptionStatus.DONE),
        ("drop key", ("###", "#>#", "###"), "K", OptionStatus.CANNOT),
        ("drop key", ("#####", "#.>.D", "#.###"), "K", (LEFT, RIGHT)),  # not before a door
        ("open door", ("####", "#>.D", "####"), "K", (FORWARD,)),
        ("open door", ("####", "#.>D", "####"), "K", (TOGGLE,)),
        ("open door", ("####", "#.>D", "####"), ".", OptionStatus.CANNOT),
        (
            "open door",
            ("####", "#.>R", "####"),
            "K",
            OptionStatus.CANNOT,
        ),  # a green key, a red door
        ("open door", ("####", "#.>O", "####"), ".", OptionStatus.DONE),
        ("open door", ("####", "#>.#", "####"), "K", OptionStatus.CANNOT),
        ("open box", ("####", "#>B#", "####"), ".", (TOGGLE,)),
        ("open box", ("#####", "#>.B#", "#####"), "K", (FORWARD,)),
        ("go to goal", ("#####", "#>.G#", "#####"), ".", (FORWARD,)),
        ("go to goal", ("#####", "#.>G#", "#####"), ".", (FORWARD,)),  # onto it
        ("go through door", ("######", "#>.O.#", "######"), ".", (FORWARD,)),
        ("go through door", ("######", "#.>O.#", "######"), ".", (FORWARD,)),
        ("go through door", ("######", "#..>.#", "######"), ".", (FORWARD,)),  # stands on it
        ("go through door", ("######", "#..O>#", "######"), ".", OptionStatus.DONE),
        ("go through door", ("######", "#>.D.#", "######"), "K", (FORWARD,)),  # between walls
        ("go through door", ("####", "#>.#", "#..#", "####"), ".", OptionStatus.CANNOT),
        ("put key next to ball", ("######", "#>..A#", "######"), "K", (FORWARD,)),
        ("put key next to ball", ("######", "#.>.A#", "######"), "K", (DROP,)),
        ("put key next to ball", ("######", "#>KA.#", "######"), ".", OptionStatus.DONE),
        ("put key next to ball", ("######", "#>K.A#", "######"), ".", (PICKUP,)),
        ("put key next to box", ("######", "#>K.A#", "######"), "K", OptionStatus.CANNOT),
        ("open the dragon", ("####", "#>.#", "####"), "K", OptionStatus.CANNOT),
    ],
)
def test_each_option(option: str, rows: tuple[str, ...], holds: str, expected: object) -> None:
    (parsed,) = parse_plan(option).options
    assert decide(GridView(scene(*rows, holds=holds)), parsed) == expected


def test_the_first_option_that_is_not_done_acts() -> None:
    plan = parse_plan("go to key > pick up key > go to door > open door")

    def act(*rows: str, holds: str = ".") -> object:
        return decide_plan(GridView(scene(*rows, holds=holds)), plan)

    assert act("######", "#>.K.D", "######") == (FORWARD,)
    assert act("######", "#.>K.D", "######") == (PICKUP,)
    # With the key in hand "go to key" cannot be done, so this plan has nothing to say.
    assert act("######", "#>...D", "######", holds="K") is OptionStatus.CANNOT
    short = parse_plan("pick up key > go to door > open door")
    view = GridView(scene("######", "#...>D", "######", holds="K"))
    assert decide_plan(view, short) == (TOGGLE,)
    done = GridView(scene("#####", "#.>.#", "#####", holds="K"))
    assert decide_plan(done, parse_plan("pick up key")) is OptionStatus.DONE


def test_turning_the_scene_or_its_mirror_image_changes_nothing_else() -> None:
    """pi_k is the same from every side; mirrored, left and right change places."""
    task, env = get_task("SimpleDoorKey"), get_task("SimpleDoorKey").make_env()
    swap = [RIGHT, LEFT, 2, 3, 4, 5, 6]
    for seed in range(30):
        obs, _ = env.reset(seed=seed)
        turned = np.rot90(obs, axes=(0, 1)).copy()
        turned[..., 3] = np.where(turned[..., 3] < 4, (turned[..., 3] + 1) % 4, 4)
        mirrored = obs[:, ::-1].copy()
        mirrored[..., 3] = np.where(mirrored[..., 3] < 4, -mirrored[..., 3] % 4, 4)
        for plan in (parse_plan("explore"), parse_plan("go to key > pick up key")):
            probs = ground_plan(task, np.stack([obs, turned, mirrored]), plan)
            np.testing.assert_allclose(probs[1], probs[0])
            np.testing.assert_allclose(probs[2], probs[0][swap])


def test_grounding_mixes_the_plans_that_can_act() -> None:
    task = get_task("SimpleDoorKey")
    obs = scene("######", "#..>KD", "######")[None]
    key, door = parse_plan("pick up key"), parse_plan("open door")
    mixture = ((key, 0.25), (parse_plan("explore"), 0.0), (door, 0.75))
    (row,) = task.ground(obs, [(), mixture], np.array([1]))
    assert row.tolist() == [0, 0, 0, 1, 0, 0, 0], "the locked door's share goes to the key"
    assert not ground_plan(task, obs, door).any()
    assert not task.ground(obs, [()], np.array([0])).any()


def test_closed_loop_options_solve_the_task() -> None:
    """Explore until the key is seen, fetch it, explore until the door is seen, open it."""
    task = get_task("SimpleDoorKey")
    env = task.make_env()
    for seed in range(100):
        obs, _ = env.reset(seed=seed)
        while True:
            view = GridView(obs)
            option = Option("explore")
            if not view.holds("key") and view.cells("key").any():
                option = Option("pick up", "key")
            if view.holds("key") and view.cells("door").any():
                option = Option("open", "door")
            decision = decide(view, option)
            assert not isinstance(decision, OptionStatus), (seed, option, decision)
            obs, reward, terminated, truncated, _ = env.step(decision[0])
            assert not truncated, f"seed {seed} took 150 steps"
            if terminated:
                assert reward > 0
                break


def test_an_observation_without_an_agent_is_refused() -> None:
    with pytest.raises(ValueError, match="no agent"):
        GridView(np.full((10, 10, 4), 4, np.uint8))
