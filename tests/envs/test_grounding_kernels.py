"""The compiled option policies and state ids against options.py, on maps real and weird."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from slow_door_key import slow_ground, slow_identify

from llm4teach.envs.door_key.grounding import PlanGrounder
from llm4teach.envs.door_key.state import Naming
from llm4teach.envs.plan import Plan, parse_plan
from llm4teach.envs.task import Mixture

KINDS = [
    "unseen",
    "empty",
    "wall",
    "floor",
    "door",
    "key",
    "ball",
    "box",
    "goal",
    "lava",
    "agent",
    "dragon",
]
COLORS = [
    "red",
    "green",
    "blue",
    "purple",
    "yellow",
    "grey",
    "pink",
    "color1",
    "color2",
    "color3",
    "color9",
]
VERBS = ("go to", "pick up", "drop", "open")


def random_option(rng: np.random.Generator) -> str:
    """Any option of the grammar, sense or nonsense; mostly about keys and doors."""
    if rng.random() < 0.3:
        return str(rng.choice(["explore", "open door"]))
    kind = str(rng.choice(KINDS if rng.random() < 0.3 else ["key", "door"]))
    color = f"{rng.choice(COLORS)} " if rng.random() < 0.5 else ""
    place = str(rng.integers(1, 4)) if rng.random() < 0.3 else ""
    words = "very old " if rng.random() < 0.03 else color
    return f"{rng.choice(VERBS)} {words}{kind}{place}"


def random_plan(rng: np.random.Generator) -> Plan:
    return parse_plan(" > ".join(random_option(rng) for _ in range(rng.integers(1, 5))))


def random_mixture(rng: np.random.Generator) -> Mixture:
    plans = [random_plan(rng) for _ in range(rng.integers(0, 6))]
    shares = rng.random(len(plans)) * (rng.random(len(plans)) < 0.9)
    return tuple(zip(plans, map(float, shares), strict=True))


def random_maps(rng: np.random.Generator, n: int) -> NDArray[np.uint8]:
    """Maps of one size with mostly free cells and things strewn anywhere, the border included."""
    width, height = rng.integers(3, 12, 2)
    free, things = rng.uniform(0.2, 0.9), rng.uniform(0, 0.3)
    maps = np.zeros((n, width, height, 4), np.uint8)
    maps[..., 0] = np.where(
        rng.random(maps.shape[:3]) < free, 1, rng.choice([0, 2], maps.shape[:3])
    )
    strewn = rng.random(maps.shape[:3]) < things
    maps[..., 0][strewn] = rng.integers(0, 12, strewn.sum())
    maps[..., 1] = rng.integers(0, 6, maps.shape[:3])
    maps[..., 2] = rng.integers(0, 3, maps.shape[:3])
    maps[..., 3] = 4
    for i in range(n):
        inside = rng.random() < 0.9
        x, y = rng.integers(inside, width - inside), rng.integers(inside, height - inside)
        maps[i, x, y, 3] = rng.integers(0, 4)
        maps[i, x, y, 0] = rng.choice([1, 5, rng.integers(0, 12)])
    return maps


@pytest.mark.parametrize("naming", list(Naming))
@pytest.mark.parametrize("lava_blind", [True, False])
def test_grounding_equals_options_py(naming: Naming, lava_blind: bool) -> None:
    rng = np.random.default_rng([list(Naming).index(naming), lava_blind])
    grounder = PlanGrounder(7, lava_blind=lava_blind, neutral_colors=naming is Naming.COLORS)
    acted = 0
    for _ in range(120):
        maps = random_maps(rng, 12)
        mixtures = [random_mixture(rng) for _ in range(6)]
        which = rng.integers(0, 6, len(maps))
        expected = slow_ground(maps, mixtures, which, naming, lava_blind)
        np.testing.assert_array_equal(grounder.ground(maps, mixtures, which), expected)
        ids = grounder.identify(maps, counted=naming is Naming.COUNTED)
        np.testing.assert_array_equal(ids, slow_identify(maps, naming))
        acted += int((expected > 0).any(1).sum())
    assert acted > 250


def test_single_options_equal_options_py() -> None:
    """Ground one plan at a time: in a mixture, normalization hides the plans that cannot act."""
    rng = np.random.default_rng(5)
    grounder = PlanGrounder(7, neutral_colors=True)
    shapes = set()
    for _ in range(400):
        maps = random_maps(rng, 8)
        mixtures: list[Any] = [((random_plan(rng), 1.0),) for _ in maps]
        which = np.arange(len(maps))
        expected = slow_ground(maps, mixtures, which, Naming.COLORS, lava_blind=False)
        np.testing.assert_array_equal(grounder.ground(maps, mixtures, which), expected)
        shapes |= {tuple(np.flatnonzero(row)) for row in expected}
    assert shapes >= {(), (0,), (1,), (2,), (0, 1), (3,), (4,), (5,)}


def test_an_observation_without_an_agent_is_refused() -> None:
    maps = random_maps(np.random.default_rng(0), 3)
    maps[1, ..., 3] = 4
    with pytest.raises(ValueError, match="observation 1 has no agent"):
        PlanGrounder(7).ground(maps, [()], np.zeros(3, np.int64))


def test_any_array_of_codes_will_do() -> None:
    """Read-only (from a file), turned, or of wider integers: the same answers."""
    maps = random_maps(np.random.default_rng(2), 6)
    grounder, which, mixtures = (
        PlanGrounder(7),
        np.zeros(6, np.int64),
        [((parse_plan("explore"), 1.0),)],
    )
    expected = grounder.ground(maps, mixtures, which)
    read_only = maps.copy()
    read_only.flags.writeable = False
    for same in (read_only, np.asfortranarray(maps), maps.astype(np.int64)):
        np.testing.assert_array_equal(grounder.ground(same, mixtures, which), expected)
        np.testing.assert_array_equal(grounder.identify(same), grounder.identify(maps))
    assert grounder.ground(maps[:0], mixtures, which[:0]).shape == (0, 7)
    with pytest.raises(ValueError, match="up to 64 rows"):
        grounder.identify(np.zeros((1, 3, 65, 4), np.uint8))


def test_it_forgets_rather_than_grow_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm4teach.envs.door_key.grounding._MOST", 20)
    rng = np.random.default_rng(1)
    maps, grounder = random_maps(rng, 4), PlanGrounder(7)
    for _ in range(30):
        mixtures = [random_mixture(rng) for _ in range(4)]
        fast = grounder.ground(maps, mixtures, np.arange(4))
        np.testing.assert_array_equal(
            fast, slow_ground(maps, mixtures, np.arange(4), Naming.PLAIN, lava_blind=False)
        )
