"""The encoder of raw maps: words find their things; the compiled way against the slow one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from llm4teach.envs.minigrid.words import VOCABULARY, encode_words, words_of
from llm4teach.envs.registry import get_task
from llm4teach.errors import TaskError
from llm4teach.student.config import EvaluateConfig, PretrainConfig
from llm4teach.student.evaluation.evaluate import evaluate_policy
from llm4teach.student.model.checkpoint import load_student, save_student
from llm4teach.student.model.maps import NO_CELL
from llm4teach.student.model.mission import MissionEncoder
from llm4teach.student.model.mission_words import LONGEST, WordReader
from llm4teach.student.model.network import Student
from llm4teach.student.model.raw_maps import COLORS, HERE, NOTHING, THINGS, encode_raw_slowly
from llm4teach.student.policies import StudentPolicy
from llm4teach.student.training.distill import Steps, distill

SHAPES = [(8, 8, 6), (7, 12, 6), (25, 25, 6)]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)
MISSIONS = (
    "put the red ball next to the blue box",
    "go to the red door, then pick up a key on your left",
    "get the green key from the xylophone room",
    "",
)
DOOR, KEY, BALL, BOX = range(4, 8)
RED, GREEN, BLUE, PURPLE = range(4)


def write(maps: Tensor, mission: str) -> None:
    """Write a mission's tokens into maps, uint8 (..., width, height, 6)."""
    width, height = maps.shape[-3:-1]
    words = encode_words(words_of(mission)).ljust(width * height, b"\0")
    maps[..., 5] = torch.frombuffer(bytearray(words), dtype=torch.uint8).view(width, height)


def empty_maps(n: int, shape: tuple[int, ...] = (8, 8, 6)) -> Tensor:
    """Maps all seen, with nothing in them and no mission; the agent is still to be put there."""
    maps = torch.zeros(n, *shape, dtype=torch.uint8)
    maps[..., 0], maps[..., 3] = 1, 4
    return maps


def random_maps(shape: tuple[int, ...], n: int = 40) -> Tensor:
    """Maps of any codes, half of the cells unseen, with an agent, a start pose and a mission."""
    rng = np.random.default_rng(0)
    cells = [rng.integers(0, limit, (n, *shape[:2])) for limit in (11, 6, 4, 1, 3, 1)]
    maps = torch.from_numpy(np.stack(cells, -1).astype(np.uint8))
    maps[..., 0][torch.from_numpy(rng.random((n, *shape[:2])) < 0.5)] = 0
    maps[..., 3] = 4
    for i in range(n):
        write(maps[i], MISSIONS[i % len(MISSIONS)])
        x, y, u, v = rng.integers(0, (*shape[:2], *shape[:2]))
        maps[i, x, y, 3] = rng.integers(4)
        maps[i, u, v, 4] = rng.choice([8, 9, 10, 11, 16, 21])
    maps[0, ..., 5] = 1  # more words than are read, and no end
    return maps


def noisy_encoder(shape: tuple[int, ...]) -> MissionEncoder:
    torch.manual_seed(1)
    encoder = MissionEncoder(shape, width=12)
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return encoder


def listed(inputs: Tensor) -> list[list[tuple[int, ...]]]:
    """The cells of each map in some order, what the last row tells, and the words."""
    rows: list[list[tuple[int, ...]]] = []
    for cells in inputs.tolist():
        rows.append(sorted(tuple(cell[:5]) for cell in cells[:-1] if cell[0] != NO_CELL))
        words = [cell[5] for cell in cells]
        rows[-1] += [tuple(cells[-1][:5]), tuple(word for word in words if word)]
    return rows


def slow_features(encoder: MissionEncoder, maps: Tensor) -> Tensor:
    inputs = encode_raw_slowly(maps, encoder.span)
    words = inputs[:, : min(LONGEST, inputs.shape[1] - 1), 5].to(torch.uint8)
    return encoder._forward_slowly(inputs, encoder.reader(words))


def names(mission: str) -> list[set[tuple[int, int]]]:
    """The kinds and colors that each word of a mission names."""
    tokens = torch.tensor([list(encode_words(words_of(mission)))])
    named = WordReader()._named(tokens)[0]
    assert not named[:, NOTHING].any()
    return [
        {(4 + i // COLORS, i % COLORS) for i in row[:THINGS].nonzero()[:, 0].tolist()}
        for row in named
    ]


def test_words_name_things_with_their_colors() -> None:
    found = names("put the red ball next to the blue box")
    assert found == [set(), set(), set(), {(BALL, RED)}, *[set()] * 4, {(BOX, BLUE)}]
    any_key = {(KEY, color) for color in range(COLORS)}
    assert names("go to the key")[3] == any_key
    objects = {(kind, PURPLE) for kind in (DOOR, KEY, BALL, BOX)}
    assert names("go to a purple object")[4] == objects


def test_a_color_of_no_kind_names_all_of_this_color() -> None:
    found = names("go to a key from the green room")
    assert found[6] == {(kind, GREEN) for kind in range(4, 10)} and not found[7]


def test_sides_name_the_rough_places_seen_from_the_start() -> None:
    """An agent that started in (3, 3) facing south, with things around it."""
    maps = empty_maps(1)
    maps[0, 3, 3, 4], maps[0, 6, 6, 3] = 9, 0
    sides = {"left": (5, 3), "right": (1, 3), "front": (3, 5), "behind": (3, 1)}  # [x, y]
    for kind, cell in zip((DOOR, KEY, BALL, BOX), sides.values(), strict=True):
        maps[(0, *cell)][0] = kind
    inputs = MissionEncoder((8, 8, 6)).encode(maps)[0]
    where = {(int(row[3]) // COLORS + 4): int(row[4]) for row in inputs[:-1] if row[3] < THINGS}
    for kind, side in zip((DOOR, KEY, BALL, BOX), sides, strict=True):
        token = torch.tensor([list(encode_words([side]))])
        places = WordReader()._named(token)[0, 0, THINGS:NOTHING].nonzero()[:, 0].tolist()
        assert where[kind] in places and len(places) == 3 and HERE not in places
        assert sum(place in places for place in where.values()) == 1


@shapes
def test_the_compiled_way_lists_the_same_cells(shape: tuple[int, ...]) -> None:
    encoder, maps = noisy_encoder(shape), random_maps(shape)
    fast = listed(encoder.encode(maps))
    assert fast == listed(encode_raw_slowly(maps, encoder.span))
    assert len({row[3] for cells in fast for row in cells[:-1]}) > 30, "things of many names"
    assert len({row[4] for cells in fast for row in cells[:-1]}) == 9
    assert listed(encoder.encode(torch.zeros_like(maps[:2])))[0], "maps of zeros are let pass"


@shapes
def test_the_compiled_way_has_the_same_features_and_gradients(shape: tuple[int, ...]) -> None:
    encoder, maps = noisy_encoder(shape), random_maps(shape)
    fast, slow = encoder(encoder.encode(maps)), slow_features(encoder, maps)
    torch.testing.assert_close(fast, slow, atol=1e-5, rtol=1e-4)
    weights = torch.randn(fast.shape, generator=torch.Generator().manual_seed(0))
    parameters = dict(encoder.named_parameters())
    got, expected = (
        torch.autograd.grad((features * weights).sum(), list(parameters.values()))
        for features in (fast, slow)
    )
    for name, one, other in zip(parameters, got, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3, msg=name)
        assert one.any(), name


def test_no_maps_and_one_map() -> None:
    encoder, maps = noisy_encoder((8, 8, 6)), random_maps((8, 8, 6))
    features = encoder(encoder.encode(maps))
    torch.testing.assert_close(encoder(encoder.encode(maps[5:6])), features[5:6])
    with torch.no_grad(), encoder.fixed():
        assert encoder(encoder.encode(maps[:0])).shape == (0, encoder.features)
    assert encoder(encoder.encode(maps[:0])).shape == (0, encoder.features)


def test_missions_met_are_read_once_while_parameters_are_fixed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoder, maps = noisy_encoder((8, 8, 6)), random_maps((8, 8, 6))[1:]
    inputs, read = encoder.encode(maps), []
    forward = encoder.reader.forward
    monkeypatch.setattr(encoder.reader, "forward", lambda t: read.append(len(t)) or forward(t))
    with torch.no_grad():
        expected = encoder(inputs)
        with encoder.fixed():
            torch.testing.assert_close(encoder(inputs[:2]), expected[:2])
            torch.testing.assert_close(encoder(inputs), expected)
            torch.testing.assert_close(encoder(inputs.flip(0)), expected.flip(0))
        assert read == [4, 2, 2], "4 distinct missions"
        torch.nn.init.normal_(encoder.reader.embedding)
        assert not torch.allclose(encoder(inputs), expected)
    with encoder.fixed():
        encoder(inputs).square().sum().backward()
    assert encoder.reader.embedding.grad is not None and encoder.reader.embedding.grad.any()


def test_other_colors_of_map_and_mission_change_nothing() -> None:
    encoder, maps = noisy_encoder((8, 8, 6)), empty_maps(4)
    maps[:, 1, 1, 3] = 0
    maps[:, 1, 1, 4] = 8
    for i, (first, second, mission) in enumerate(
        (
            (RED, GREEN, "put the red ball next to the green box"),
            (GREEN, PURPLE, "put the green ball next to the purple box"),
            (RED, GREEN, "put the green ball next to the red box"),
            (RED, GREEN, "put the red box next to the green ball"),
        )
    ):
        maps[i, 3, 4, :2] = torch.tensor([BALL, first])
        maps[i, 5, 2, :2] = torch.tensor([BOX, second])
        write(maps[i], mission)
    features = encoder(encoder.encode(maps))
    torch.testing.assert_close(features[0], features[1])
    assert not torch.allclose(features[0], features[2], atol=0.01)
    assert not torch.allclose(features[0], features[3], atol=0.01)


@pytest.mark.parametrize(
    ("channel", "number", "message"),
    [
        (0, 11, "no codes of cells"),
        (3, 200, "no codes of cells"),
        (4, 12, "12 in channel 4"),
        (4, 22, "22 in channel 4"),
        (5, len(VOCABULARY) + 1, f"token {len(VOCABULARY) + 1}.*newer version"),
    ],
)
def test_other_numbers_are_refused_either_way(channel: int, number: int, message: str) -> None:
    maps, encoder = random_maps((8, 8, 6), n=3), MissionEncoder((8, 8, 6))
    free = (maps[1, ..., 3] == 4).nonzero()[0]
    maps[1, free[0], free[1], channel] = number
    for encode in (encoder.encode, lambda maps: encode_raw_slowly(maps, encoder.span)):
        with pytest.raises(TaskError, match=rf"shape \(8, 8, 6\) .*{message}"):
            encode(maps)


def test_maps_without_words_are_refused() -> None:
    with pytest.raises(TaskError, match=r"shape \(8, 8, 4\) with a mission in words.* 6 channels"):
        Student((8, 8, 4), 7, reads="mission")


def two_things(n: int, colors: tuple[int, ...], seed: int) -> tuple[Tensor, np.ndarray]:
    """Two things on either side; the action is the side of the one that the mission names."""
    rng, maps = np.random.default_rng(seed), empty_maps(n)
    maps[:, 4, 4, 3] = 3  # facing north, so that x < 4 is on the left
    maps[:, 4, 4, 4] = 8 + 3
    actions = rng.integers(2, size=n)
    for i, action in enumerate(actions):
        things = [(kind, color) for kind in (KEY, BALL, BOX) for color in colors]
        pair = rng.permutation(things)[:2]
        for side, thing in zip((rng.integers(1, 4), rng.integers(5, 7)), pair, strict=True):
            maps[i, side, rng.integers(1, 7), :2] = torch.from_numpy(thing)
        kind, color = pair[action]
        words = ("", "", "", "", "", "key", "ball", "box")
        write(maps[i], f"go to the {('red', 'green', 'blue', 'purple')[color]} {words[kind]}")
    return maps, actions


def test_it_finds_things_of_colors_that_it_has_never_read_of() -> None:
    torch.manual_seed(0)
    maps, actions = two_things(400, (RED, GREEN), seed=0)
    unread, sides = two_things(300, (BLUE, PURPLE), seed=1)
    student, blind = (Student((8, 8, 6), 2, reads="mission") for _ in range(2))
    blind.encoder.reader.lexicon.zero_()  # type: ignore[union-attr, operator]
    right = []
    for one in (student, blind):
        ends = np.ones(len(maps), bool)
        advice = np.eye(2, dtype=np.float32)[actions]
        steps = Steps(maps.numpy(), advice, np.zeros(len(maps), np.float32), ends, ends)
        distill(one, steps, PretrainConfig(epochs=15), seed=0)
        right.append((StudentPolicy(one)(unread.numpy()).argmax(1) == sides).mean())
    assert right[0] > 0.9 and right[1] < 0.7, right


def test_it_is_kept_and_exported_with_the_same_answers(tmp_path: Path) -> None:
    from llm4teach.student.export.export import export_student

    torch.manual_seed(0)
    student, maps = Student((8, 8, 6), 7, reads="mission"), random_maps((8, 8, 6))
    torch.nn.init.normal_(student.policy.weight)
    save_student(tmp_path / "checkpoint.safetensors", student, {"task": "x"})
    loaded, _ = load_student(tmp_path / "checkpoint.safetensors")
    torch.testing.assert_close(loaded(maps), student(maps), rtol=0, atol=0)
    facts = {"action_names": list("abcdefg"), "observation_shape": [8, 8, 6]}
    assert export_student(student, tmp_path / "s.pt", "torchscript", facts, maps.numpy()) < 1e-5


def test_evaluation_reads_missions_once_per_policy_and_plays_the_same() -> None:
    task = get_task("MiniGrid-GoToDoor-8x8-v0")
    torch.manual_seed(0)
    student = Student(task.student_shape, len(task.action_names), reads="mission")
    torch.nn.init.normal_(student.policy.weight)  # not near the uniform policy
    policy, config = StudentPolicy(student), EvaluateConfig(episodes=20, seeds="development")
    played = [
        evaluate_policy(task, one, "sampled", config, seed=0)
        for one in (policy, lambda observations: policy(observations))  # only the first is fixed
    ]
    assert played[0] == played[1] and len(played[0]) == 20
    with torch.no_grad():
        student.policy.weight.neg_()
    assert evaluate_policy(task, policy, "sampled", config, seed=0) != played[0], "nothing is kept"
