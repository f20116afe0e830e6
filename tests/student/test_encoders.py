"""Students of vectors and depth images: they learn, are kept, and leave the project like others."""

from pathlib import Path

import numpy as np
import pytest
import torch

from llm4teach.envs.habitat.worker.layout import DEPTH_COLUMNS, DEPTH_ROWS, STATE_BYTES
from llm4teach.errors import TaskError
from llm4teach.student.config import PretrainConfig
from llm4teach.student.model.checkpoint import load_student, save_student
from llm4teach.student.model.network import Student
from llm4teach.student.policies import StudentPolicy
from llm4teach.student.training.distill import Steps, distill

VECTOR, DEPTH = (STATE_BYTES,), (DEPTH_ROWS, DEPTH_COLUMNS)


def some(shape: tuple[int, ...], n: int) -> np.ndarray:  # type: ignore[type-arg]
    """Bytes in which only the fourth of the vector, and the image's first pixel, say much."""
    rng = np.random.default_rng(0)
    observations = rng.integers(110, 146, (n, *shape), np.uint8)
    if len(shape) == 3:
        return observations
    last = observations[:, -1] if observations.ndim == 3 else observations
    last[:, 3] = rng.choice([20, 235], n)
    if observations.ndim == 3:
        observations[:, 0, 0] = rng.choice([20, 235], n)
    return observations


def chosen(observations: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    """Actions that follow from the vector and, where there is one, from the image."""
    last = observations[:, -1] if observations.ndim == 3 else observations
    action = (last[:, 3] > 127).astype(int)
    if observations.ndim == 3:
        # The left half is near, or the right one: what a depth image is there for.
        observations[:, :-1] = np.where(
            (np.arange(DEPTH_COLUMNS) < DEPTH_COLUMNS // 2)[None, None]
            == (observations[:, :1, :1] > 127),
            40,
            220,
        )
        action = action + 2 * (observations[:, 0, 0] < 127)
    return action


def right_steps(observations: np.ndarray, actions: np.ndarray, n_actions: int) -> Steps:  # type: ignore[type-arg]
    """Steps whose advice is the one right action, each an episode of its own."""
    n = len(actions)
    advice = np.eye(n_actions, dtype=np.float32)[actions]
    return Steps(observations, advice, np.zeros(n, np.float32), np.ones(n, bool), np.ones(n, bool))


@pytest.mark.parametrize("shape", [VECTOR, DEPTH], ids=["vector", "depth"])
def test_they_learn_what_their_observations_tell(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    student, observations = Student(shape, 5), some(shape, 400)
    actions = chosen(observations)
    steps = right_steps(observations, actions, 5)
    before = (StudentPolicy(student)(observations).argmax(1) == actions).mean()
    distill(student, steps, PretrainConfig(epochs=20), seed=0)
    after = (StudentPolicy(student)(observations).argmax(1) == actions).mean()
    assert before < 0.7 < 0.95 < after


@pytest.mark.parametrize("shape", [(63, 63, 3), (20, 9, 1), (8, 8, 3)], ids=str)
def test_images_of_any_size_are_read(shape: tuple[int, int, int]) -> None:
    """The action is the half of the image in which a block is lit."""
    torch.manual_seed(0)
    rng, n = np.random.default_rng(0), 300
    actions = rng.integers(2, size=n)
    observations = rng.integers(0, 60, (n, *shape), np.uint8)
    for image, action in zip(observations, actions, strict=True):
        row = rng.integers(shape[0] // 2) + action * (shape[0] // 2)
        image[row : row + 4, : shape[1] // 2] = 220
    student = Student(shape, 2)
    steps = right_steps(observations, actions, 2)
    distill(student, steps, PretrainConfig(epochs=12), seed=0)
    assert (StudentPolicy(student)(observations).argmax(1) == actions).mean() > 0.9


def test_tiles_are_read_with_their_places() -> None:
    """The tile in the corner says which of two other tiles is the action."""
    torch.manual_seed(0)
    rng, n, kinds = np.random.default_rng(0), 2_000, np.random.default_rng(1)
    drawn = kinds.integers(0, 256, (5, 7, 7, 3), np.uint8)
    which = rng.integers(5, size=(n, 3, 3))
    tiles = drawn[which]  # (n, 3, 3, 7, 7, 3)
    observations = tiles.transpose(0, 1, 3, 2, 4, 5).reshape(n, 21, 21, 3).copy()
    actions = np.where(which[:, 0, 0] < 2, which[:, 2, 1], which[:, 1, 2])
    student = Student((21, 21, 3), 5, reads="tiles")
    steps = right_steps(observations, actions, 5)
    distill(student, steps, PretrainConfig(epochs=15), seed=0)
    assert (StudentPolicy(student)(observations).argmax(1) == actions).mean() > 0.95


def test_sides_of_tiles_must_fit() -> None:
    with pytest.raises(TaskError, match=r"multiples of 7 pixels.* have the shape \(64, 63, 3\)"):
        Student((64, 63, 3), 2, reads="tiles")


@pytest.mark.parametrize(
    "shape", [DEPTH, (63, 63, 3), (63, 63, 1)], ids=["vector and depth", "color", "gray"]
)
def test_they_are_kept_and_exported_with_the_same_answers(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    from llm4teach.student.export.export import export_student
    from llm4teach.student.export.onnx_policy import OnnxStudent

    torch.manual_seed(0)
    student, observations = Student(shape, 5), some(shape, 6)
    expected = student(torch.from_numpy(observations))
    assert expected.logits.shape == (6, 5) and expected.values.shape == (6,)
    assert expected.logits.abs().max() < 0.5, "near the uniform policy"
    save_student(tmp_path / "checkpoint.safetensors", student, {"task": "x"})
    loaded, _ = load_student(tmp_path / "checkpoint.safetensors")
    torch.testing.assert_close(loaded(torch.from_numpy(observations)), expected, rtol=0, atol=0)

    facts = {"action_names": ["a"] * 5, "observation_shape": list(shape)}
    for kind in ("onnx", "torchscript"):
        export_student(student, tmp_path / f"student.{kind}", kind, facts, observations)  # type: ignore[arg-type]
    exported = OnnxStudent(tmp_path / "student.onnx").probabilities(observations)
    shares = expected.logits.softmax(1).detach().numpy()
    np.testing.assert_allclose(exported, shares, atol=1e-5)


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no student .* shape \(2, 3, 4, 5\)"):
        Student((2, 3, 4, 5), 3)


def test_other_images_are_refused_with_what_is_supported() -> None:
    for shape in [(84, 84, 2), (4, 84, 3)]:
        with pytest.raises(TaskError, match=r"shape \(.*\)\. Supported are .* maps of cells"):
            Student(shape, 4)
    student = Student((8, 8, 4), 4)  # RGBA has as many channels as a map
    pixels = torch.full((1, 8, 8, 4), 255, dtype=torch.uint8)
    with pytest.raises(TaskError, match=r"shape \(8, 8, 4\) with values up to 255"):
        student(pixels)
