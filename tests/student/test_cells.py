"""The encoder of cells: the compiled way against the slow one, on random maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from llm4teach.errors import TaskError
from llm4teach.student.model.cells import CellEncoder, encode_slowly, largest_features_slowly
from llm4teach.student.model.maps import NO_CELL
from llm4teach.student.model.network import Student

SHAPES = [(10, 10, 4), (7, 12, 5), (25, 25, 6), (60, 3, 4)]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)


def random_maps(shape: tuple[int, ...], n: int = 60, seed: int = 0) -> Tensor:
    """Maps of any codes, half of the cells unseen, one agent in each."""
    rng = np.random.default_rng(seed)
    limits = (11, 6, 4, 1, 3, 40)[: shape[2]]
    maps = np.stack([rng.integers(0, limit, (n, *shape[:2])) for limit in limits], -1)
    maps[rng.random((n, *shape[:2])) < 0.5, 0] = 0
    maps[..., 3] = 4
    agents = rng.integers(0, shape[0], n), rng.integers(0, shape[1], n)
    maps[np.arange(n), *agents, 3] = rng.integers(0, 4, n)
    return torch.from_numpy(maps.astype(np.uint8))


def noisy_encoder(shape: tuple[int, ...]) -> CellEncoder:
    torch.manual_seed(1)
    encoder = CellEncoder(shape, width=12)
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return encoder


def listed(inputs: Tensor) -> list[list[tuple[int, ...]]]:
    """The cells of each map in some order, and what the last row tells."""
    rows: list[list[tuple[int, ...]]] = []
    for cells in inputs.tolist():
        rows.append(sorted(tuple(cell) for cell in cells[:-1] if cell[0] != NO_CELL))
        rows[-1].append(tuple(cells[-1]))
    return rows


@shapes
def test_the_compiled_way_lists_the_same_cells(shape: tuple[int, ...]) -> None:
    encoder, maps = noisy_encoder(shape), random_maps(shape)
    fast, slow = encoder.encode(maps), encode_slowly(maps, encoder.span)
    assert listed(fast) == listed(slow)
    assert any(len(cells) > 10 for cells in listed(fast))


def test_the_cells_of_a_map_by_hand() -> None:
    """An agent at (1, 2) that faces south (heading 1); a locked red door two cells ahead of it."""
    maps = torch.zeros(1, 5, 5, 4, dtype=torch.uint8)
    maps[..., 3] = 4
    maps[0, 1, 2] = torch.tensor([1, 0, 0, 1])
    maps[0, 1, 3] = torch.tensor([1, 0, 0, 4])
    maps[0, 1, 4] = torch.tensor([4, 0, 2, 4])
    place = {ahead: (ahead + 4) * 9 + 4 for ahead in (0, 1, 2)}  # straight ahead, of 9 by 9
    expected = [
        (place[0], 1 * 24, 8),  # empty; of the cells beside it, the one ahead has been seen
        (place[1], 1 * 24, 8 + 2),
        (place[2], 4 * 24 + 2, 2),
        (NO_CELL, 2, 1),  # two cells to the lower edge, one to the left one, now on the right
    ]
    assert listed(CellEncoder((5, 5, 4)).encode(maps)) == [expected]


@shapes
def test_the_compiled_way_has_the_same_features_and_gradients(shape: tuple[int, ...]) -> None:
    encoder, maps = noisy_encoder(shape), random_maps(shape)
    inputs = encoder.encode(maps)
    fast = encoder(inputs)
    slow = encoder.norm(
        largest_features_slowly(encode_slowly(maps, encoder.span), *encoder._tables())
    )
    torch.testing.assert_close(fast[:, :12], slow)
    weights = torch.randn(len(maps), 12, generator=torch.Generator().manual_seed(0))
    parameters = list(encoder.parameters())
    gradients = [
        torch.autograd.grad((features * weights).sum(), parameters)
        for features in (fast[:, :12], slow)
    ]
    for got, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-4)
    assert all(gradient.any() for gradient in gradients[0])


def test_a_map_of_which_only_the_agents_cell_is_known() -> None:
    maps = torch.zeros(1, 10, 10, 4, dtype=torch.uint8)
    maps[..., 3] = 4
    maps[0, 3, 3, 3] = 2
    encoder = noisy_encoder((10, 10, 4))
    assert len(listed(encoder.encode(maps))[0]) == 2
    assert torch.isfinite(encoder(encoder.encode(maps))).all()
    assert encoder.encode(maps[:0]).shape == (0, 101, 3)


def test_distances_beyond_the_span_count_as_the_span() -> None:
    encoder, maps = noisy_encoder((60, 3, 4)), torch.zeros(2, 60, 3, 4, dtype=torch.uint8)
    maps[..., 3] = 4
    maps[:, 0, 1, 3] = 0
    maps[0, 40, 1, 0] = maps[1, 50, 1, 0] = 8
    features = encoder(encoder.encode(maps))
    torch.testing.assert_close(features[0], features[1])


@pytest.mark.parametrize(
    ("channel", "code"),
    [(0, 11), (1, 6), (2, 4), (4, 3), (3, 4)],
    ids=["object", "color", "state", "mark", "no-agent"],
)
def test_other_numbers_than_codes_are_refused_either_way(channel: int, code: int) -> None:
    maps = random_maps((6, 6, 5), n=3)
    if channel == 3:
        maps[1, ..., 3] = code
    else:
        maps[1, 2, 2, 0] = 5
        maps[1, 2, 2, channel] = code
    encoder = CellEncoder((6, 6, 5))
    for encode in (encoder.encode, lambda maps: encode_slowly(maps, encoder.span)):
        with pytest.raises(
            TaskError, match=r"shape \(6, 6, 5\) .*(no codes of cells|without an agent)"
        ):
            encode(maps)


def test_headings_that_are_none_are_refused_either_way() -> None:
    encoder, maps = CellEncoder((6, 6, 5)), random_maps((6, 6, 5), n=2)
    free = (maps[1, ..., 3] == 4).nonzero()[0]
    maps[1, free[0], free[1], 3] = 200
    for encode in (encoder.encode, lambda maps: encode_slowly(maps, encoder.span)):
        with pytest.raises(TaskError, match="no codes of cells"):
            encode(maps)
    assert encoder.encode(torch.zeros_like(maps)).shape == (2, 37, 3)


def test_gradients_reach_the_tables_even_while_parameters_are_fixed() -> None:
    encoder = noisy_encoder((10, 10, 4))
    inputs = encoder.encode(random_maps((10, 10, 4)))
    with encoder.fixed():
        encoder(inputs).square().sum().backward()
    assert encoder.objects.grad is not None and encoder.objects.grad.any()


def test_fixed_parameters_give_the_same_and_are_released() -> None:
    student = Student((10, 10, 4), 7)
    inputs = student.encode(random_maps((10, 10, 4)))
    with torch.no_grad():
        before = student.from_inputs(inputs).values
        torch.nn.init.normal_(student.value.weight)
        with student.encoder.fixed():
            torch.testing.assert_close(
                student.from_inputs(inputs).logits, student.from_inputs(inputs).logits
            )
            fixed = student.from_inputs(inputs).values
        torch.testing.assert_close(student.from_inputs(inputs).values, fixed)
        torch.nn.init.normal_(student.encoder.objects)  # type: ignore[arg-type]
        assert not torch.allclose(student.from_inputs(inputs).values, fixed)
    assert not torch.allclose(before, fixed)
