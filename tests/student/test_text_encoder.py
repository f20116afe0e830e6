"""Texts as observations: words are found, order matters, and a student learns from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from signs_task import COLORS, SIZE, Signs, View, signs

import llm4teach as lt
from llm4teach.envs.custom.gym_task import GymTask
from llm4teach.envs.encoding import TEXT_SIZE, text_bytes
from llm4teach.errors import TaskError
from llm4teach.student.config import PretrainConfig
from llm4teach.student.export.export import Format
from llm4teach.student.model.checkpoint import load_student, save_student
from llm4teach.student.model.network import Student
from llm4teach.student.model.text import MAX_WORDS, RUN, TextEncoder
from llm4teach.student.policies import StudentPolicy
from llm4teach.student.training.distill import Steps, distill


def seen(n: int) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """Observations, uint8 (n, SIZE), and the right actions, (n,)."""
    env, texts, right = Signs(), [], []
    for seed in range(n):
        text, _ = env.reset(seed=seed)
        texts.append(text_bytes(text, SIZE))
        right.append(env.right)
    return np.stack(texts), np.array(right)


def test_a_student_learns_from_texts_and_is_kept(tmp_path: Path) -> None:
    torch.manual_seed(0)
    observations, right = seen(400)
    student, n = Student((SIZE,), 3, reads="text"), 300
    steps = Steps(
        observations[:n], np.eye(3, dtype=np.float32)[right[:n]], np.zeros(n, np.float32),
        np.ones(n, bool), np.ones(n, bool),
    )  # fmt: skip
    distill(student, steps, PretrainConfig(epochs=30, batch_size=64), seed=0)
    policy = StudentPolicy(student)
    assert (policy(observations).argmax(1) == right).mean() == 1

    save_student(tmp_path / "a.safetensors", student, {"task": "Signs"})
    loaded, _ = load_student(tmp_path / "a.safetensors")
    assert np.array_equal(StudentPolicy(loaded)(observations), policy(observations))


@pytest.mark.extended
@pytest.mark.parametrize("kind", ["onnx", "torchscript"])
def test_an_exported_student_reads_texts(kind: Format, tmp_path: Path) -> None:
    from llm4teach.student.export.export import export_student

    torch.manual_seed(0)
    facts = {"action_names": COLORS, "observation_shape": [SIZE]}
    student = Student((SIZE,), 3, reads="text")
    export_student(student, tmp_path / f"s.{kind}", kind, facts, seen(20)[0])


def test_a_task_with_texts_keeps_the_contract() -> None:
    task = signs()
    assert task.encoder == "text" and task.student_shape == (SIZE,)
    assert lt.check_task(task) == []
    read_by_teacher = signs(encode=lambda text: f"It says: {text}")
    assert read_by_teacher.encoder == "text" and read_by_teacher.student_shape == (TEXT_SIZE,)
    record, _ = read_by_teacher.make_env().reset(seed=1)
    student = bytes(read_by_teacher.student_observations(record[None])[0]).rstrip(b"\0")
    assert student.startswith(b"It says: ")
    assert lt.check_task(signs(view=View)) == []


def test_a_text_that_is_too_long_is_refused() -> None:
    with pytest.raises(TaskError, match=rf"a text of 600 characters .* fit into {TEXT_SIZE}: 'aaa"):
        signs(encode=lambda text: "a" * 600)
    assert text_bytes("a", 3).tolist() == [97, 0, 0] and text_bytes("", 1).tolist() == [0]
    assert text_bytes("é€", 2).tolist() == [233, 128 + ord("€") % 128]


def test_words_are_found_whatever_is_between_them() -> None:
    def runs(text: str) -> np.ndarray:  # type: ignore[type-arg]
        inputs = TextEncoder(40).encode(torch.from_numpy(text_bytes(text, 40)[None]))
        return inputs.numpy()[0]  # (words, RUN)

    one = runs("Red door, blue key")
    assert (one[:, 0] > 0).sum() == 5 and (one > 0).sum() == 5 + 4 + 3 + 2
    assert np.array_equal(one, runs("  red\tDOOR , blue  key\n"))
    assert np.array_equal(one[0, :1], runs("x red")[1, :1]), "a word is one wherever it stands"
    assert not np.array_equal(runs("red blue")[:, 1:], runs("blue red")[:, 1:]), "order matters"
    assert len({int(runs(word)[0, 0]) for word in ("abc", "acb", "bca", "cab", "bac")}) == 5
    assert not runs("").any()


def test_the_first_words_of_a_long_text_are_read() -> None:
    size = 2 * MAX_WORDS + 20
    text = "a " * (MAX_WORDS + 5)
    inputs = TextEncoder(size).encode(torch.from_numpy(text_bytes(text, size)[None]))
    assert inputs.shape == (1, MAX_WORDS, RUN) and (inputs[0, :, 0] > 0).all()


def test_a_text_beside_other_parts_needs_an_encoding() -> None:
    both = spaces.Dict({"text": spaces.Text(5), "count": spaces.Discrete(2)})

    class Both(Signs):
        observation_space = both

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            return {"text": "abc", "count": 1}, {}

    with pytest.raises(TaskError, match="encode is missing"):
        GymTask(Both, str, {"go": lambda seen: 0}, max_steps=5)
