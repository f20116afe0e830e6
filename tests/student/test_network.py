"""The student's network: the same from every side, small, and back from disk unchanged."""

from pathlib import Path

import numpy as np
import pytest
import torch

from llm4teach.envs.registry import get_task
from llm4teach.errors import DatasetError
from llm4teach.student.model.checkpoint import load_student, load_tensors, save_student
from llm4teach.student.model.encoders import MapEncoder
from llm4teach.student.model.network import Student, n_bytes

TASK = get_task("SimpleDoorKey")


def observations(n: int = 40) -> torch.Tensor:
    env, rng = TASK.make_env(), np.random.default_rng(0)
    rows = [env.reset(seed=1)[0]]
    while len(rows) < n:
        rows.append(env.step(int(rng.integers(0, 5)))[0])
    return torch.from_numpy(np.stack(rows))


ENCODERS: tuple[MapEncoder, ...] = ("cells", "convolutions")
both = pytest.mark.parametrize("encoder", ENCODERS)


def noisy_student(
    encoder: MapEncoder = "cells", shape: tuple[int, ...] = TASK.observation_shape
) -> Student:
    torch.manual_seed(0)
    student = Student(shape, 7, encoder)
    for parameter in student.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return student


@both
def test_turning_the_map_turns_nothing_in_the_answer(encoder: MapEncoder) -> None:
    student, seen = noisy_student(encoder), observations()
    expected = student(seen)
    turned = seen
    for _ in range(4):
        turned = torch.rot90(turned, dims=(1, 2)).clone()
        heading = turned[..., 3]
        turned[..., 3] = torch.where(heading < 4, (heading + 1) % 4, 4)
        got = student(turned)
        torch.testing.assert_close(got.logits, expected.logits)
        torch.testing.assert_close(got.values, expected.values)
    assert expected.logits.std(0).min() > 0.01, "or the test would say nothing"


@both
def test_large_maps_are_seen_whole_and_from_every_side(encoder: MapEncoder) -> None:
    """A far thing counts, as does a near one; turning the map still changes nothing."""
    student = noisy_student(encoder, (20, 20, 5))
    seen = torch.randint(0, 3, (6, 20, 20, 5), dtype=torch.uint8)
    seen[..., 1:3], seen[..., 3] = 0, 4
    for i in range(6):
        seen[i, 3 * i + 1, 4, 3] = i % 4
    expected = student(seen)
    turned = torch.rot90(seen, dims=(1, 2)).clone()
    turned[..., 3] = torch.where(turned[..., 3] < 4, (turned[..., 3] + 1) % 4, 4)
    torch.testing.assert_close(student(turned).logits, expected.logits)
    for x, y in ((2, 4), (19, 19)):
        changed = seen.clone()
        changed[0, x, y, 0] = 9
        moved = (student(changed).logits - expected.logits).abs().amax(1)
        assert moved[0] > 1e-4 and not moved[1:].any()
    marked = seen.clone()
    marked[..., 4] = 0
    assert (student(marked).logits - expected.logits).abs().max() > 1e-3


def test_on_large_maps_convolutions_get_the_place_as_seen_facing_east() -> None:
    student = Student((20, 20, 4), 7, "convolutions")
    for parameter in student.parameters():
        torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        student.trunk.weight[:2, -2:] = torch.eye(2)
        student.trunk.bias[:2] = 1  # relu keeps all of -1 … 1
        student.policy.weight[:2, :2] = torch.eye(2)
    seen = torch.zeros(3, 20, 20, 4, dtype=torch.uint8)
    seen[..., 3] = 4
    seen[0, 19, 0, 3] = 0  # top right corner, facing east: at the far end, on the left
    seen[1, 19, 0, 3] = 3  # facing north: far end, on the right
    seen[2, 0, 5, 3] = 1  # facing south on the left edge, in the sixth row
    far, right = student(seen).logits[:, :2].unbind(1)
    torch.testing.assert_close(far - 1, torch.tensor([1.0, 1.0, 10 / 19 - 1]))
    torch.testing.assert_close(right - 1, torch.tensor([-1.0, 1.0, 1.0]))


@both
def test_other_colors_change_nothing_in_the_answer(encoder: MapEncoder) -> None:
    """Red and green keys and doors are what blue and gray ones are; walls stay gray."""
    student, seen = noisy_student(encoder), observations()
    seen[:, 2, 2, :2] = torch.tensor([5, 0], dtype=torch.uint8)  # a red key
    seen[:, 3, 2, :2] = torch.tensor([5, 1], dtype=torch.uint8)  # a green key
    seen[:, 0, 2, :3] = torch.tensor([4, 1, 2], dtype=torch.uint8)  # a green door
    seen[..., 0][(seen[..., 0] == 4) & (seen[..., 2] != 2)] = 1
    others = seen.clone()
    things = (seen[..., 0] == 5) | (seen[..., 0] == 4)
    others[..., 1][things & (seen[..., 1] == 0)] = 2
    others[..., 1][things & (seen[..., 1] == 1)] = 5
    assert not torch.equal(seen, others)
    alike = [i for i in range(len(seen)) if set(seen[i, ..., 1][things[i]].tolist()) <= {0, 1}]
    assert alike
    torch.testing.assert_close(student(seen[alike]).logits, student(others[alike]).logits)
    swapped = seen.clone()
    swapped[:, 0, 2, 1] = 0
    assert not torch.allclose(student(swapped).logits, student(seen).logits), (
        "which key fits counts"
    )


@both
def test_maps_that_are_not_square_are_padded_with_the_unseen(encoder: MapEncoder) -> None:
    student = noisy_student(encoder, (10, 7, 4))
    narrow = observations()[:, :, :7].clone()
    narrow[..., 3] = 4
    narrow[:, 3, 3, 3] = 1
    wide = torch.zeros(len(narrow), 10, 10, 4, dtype=torch.uint8)
    wide[..., 3] = 4
    wide[:, :, :7] = narrow
    torch.testing.assert_close(student(narrow).logits, student(wide).logits)


@both
@pytest.mark.parametrize(("trained", "played"), [(10, 14), (20, 24)])
def test_they_play_maps_larger_than_those_trained_on(
    encoder: MapEncoder, trained: int, played: int
) -> None:
    """As in the shifted tasks; a corner of the known size, unseen elsewhere, is the same map."""
    student = noisy_student(encoder, (trained, trained, 4))
    seen = torch.zeros(4, played, played, 4, dtype=torch.uint8)
    seen[..., 3] = 4
    for i in range(4):
        seen[i, -1 - i, -2, 3] = i
        seen[i, -5:, -5:, 0] = 1 + i
    logits = student(seen).logits
    assert torch.isfinite(logits).all()
    if encoder == "cells" and trained <= 14:  # neither the border nor the place on the map counts
        cropped = seen[:, -trained:, -trained:].contiguous()
        torch.testing.assert_close(student(cropped).logits, logits)


@both
def test_it_fits_an_edge_device_and_starts_uniform(encoder: MapEncoder) -> None:
    student = Student(TASK.observation_shape, 7, encoder)
    assert n_bytes(student) < 1_000_000
    probs = student(observations()).logits.softmax(-1)
    assert (probs - 1 / 7).abs().max() < 0.05
    assert not student(observations()).values.any()


@both
def test_to_disk_and_back(tmp_path: Path, encoder: MapEncoder) -> None:
    student, seen = noisy_student(encoder), observations()
    path = tmp_path / "checkpoint.safetensors"
    save_student(path, student, {"task": "SimpleDoorKey"})
    again, facts = load_student(path)
    assert facts["task"] == "SimpleDoorKey"
    assert torch.equal(again(seen).logits, student(seen).logits)
    assert path.stat().st_size < 1_000_000
    assert (tmp_path / "checkpoint.json").exists()


def test_damaged_missing_or_foreign_checkpoints(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    with pytest.raises(DatasetError, match="no checkpoint at"):
        load_student(path)
    save_student(path, noisy_student(), {})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match="is not a checkpoint"):
        load_tensors(path)
    torch.save({"a": 1}, path)  # a pickle is never opened
    with pytest.raises(DatasetError, match="is not a checkpoint"):
        load_student(path)
