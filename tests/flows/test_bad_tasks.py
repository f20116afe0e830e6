"""Tasks with mistakes: one sentence that names the member, whatever part of the code met it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from counter_task import Counter, counter
from signs_task import Signs, signs

import llm4teach as lt
from llm4teach.envs.registry import _registered
from llm4teach.envs.task import describe, ground_plan
from llm4teach.errors import TaskError, TeacherError
from llm4teach.flows.cli.main import main
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.factory import make_teacher

IMPORTS = {  # what a module says, and what is reported
    "def task(): return 1 / 0": "bad:task failed: ZeroDivisionError: division by zero",
    "raise KeyError('x')": "importing 'bad' failed: KeyError: 'x'",
    "import no_such_package": "the module 'bad' needs 'no_such_package', which is missing",
    "task = 3": "bad:task is no task: int has no family, action_names, observation_shape",
    "from counter_task import counter\ntask = counter(options={})": (
        "importing 'bad' failed: options is empty; a task has at least one option policy"
    ),
    "from counter_task import counter\ndef task(): return counter(max_steps=None)": (
        "bad:task failed: max_steps is missing: env has no time limit of its own"
    ),
    "from counter_task import counter\ntask = counter(encoder='pixels')": (
        "importing 'bad' failed: encoder is 'pixels'; it must be one of cells, mission, vector"
    ),
    "from counter_task import counter\ntask = counter(verbs={'swim': ''})": (
        "importing 'bad' failed: verbs cannot read the names of options: 'count up' is none of"
    ),
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    sys.modules.pop("bad", None)
    _registered.clear()


@pytest.mark.parametrize("source", IMPORTS)
def test_a_module_that_makes_no_task(
    source: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "bad.py").write_text(source + "\n")
    assert main(["collect", "--task", "bad:task", "--workspace", "ws"]) != 0
    error = capsys.readouterr().err
    assert error.startswith(f"llm4teach: error: {IMPORTS[source]}"), error
    assert error.count("\n") == 1 and not (here / "ws").exists()


class Grows(Counter):
    """Its observation has another shape after a step."""

    observation_space: gym.Space[Any] = gym.spaces.Box(0, 255, (2,), np.uint8)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return np.zeros(2, np.uint8), {}

    def step(self, action: int) -> Any:
        return np.zeros(3, np.uint8), 0.0, False, False, {}


class Leaves(Counter):
    """Its observation leaves its space after a step."""

    def step(self, action: int) -> Any:
        return 17, 0.0, False, False, {}


class Talks(Signs):
    """Its text is longer than its space allows after a step."""

    def step(self, action: int) -> Any:
        return "word " * 20, 0.0, False, False, {}


class WrongView:
    space = gym.spaces.Box(0, 1, (2,), np.float32)

    def reset(self, observation: int, info: dict[str, Any]) -> Any:
        return [0.0, 1.0]

    def update(self, observation: int, action: int, info: dict[str, Any]) -> Any:
        return [0.0]


def of(env: type[gym.Env[Any, Any]]) -> lt.GymTask:
    """The task of another environment, whose first observation is fine."""
    return lt.GymTask(env, str, {"go": lambda seen: 0}, max_steps=9, name="Bad")


def grows(count: int) -> Any:
    return np.zeros(4 + (count > 2), np.uint8)


RUNS: dict[str, tuple[Callable[[], Any], str]] = {
    "env": (
        lambda: of(Grows),
        r"env returned an observation of shape \(3,\), but at first one of \(2,\)",
    ),
    "env's space": (lambda: of(Leaves), "env returned 17, which is not in its observation space"),
    "env's text": (lambda: of(Talks), "env .*a text of 100 characters does not fit into 60"),
    "encode": (
        lambda: counter(encode=grows, name="Bad"),
        r"encode returned an observation of shape \(5,\), but at first one of \(4,\)",
    ),
    "view": (
        lambda: counter(view=WrongView, describe=str, name="Bad"),
        r"view breaks its observation space: an observation has the shape \(1,\)",
    ),
    "describe": (lambda: counter(describe=lambda c: None, name="Bad"), "describe of Bad returned"),
    "admissible": (
        lambda: counter(admissible=lambda c: ["swim"], name="Bad"),
        "admissible of Bad returned 'swim', which is none of options",
    ),
    "options": (
        lambda: counter(options={"leap": lambda c: 9}, name="Bad"),
        "the option policy leap of Bad returned 9",
    ),
}


@pytest.mark.parametrize("member", RUNS)
def test_a_task_that_fails_while_it_is_played(member: str) -> None:
    make, problem = RUNS[member]
    with pytest.raises(TaskError, match=problem) as failure:
        task = make()
        env = task.make_env()
        seen = [env.reset(seed=0)[0], *(env.step(1)[0] for _ in range(2))]
        states = describe(task, np.stack(seen))
        ground_plan(task, np.stack(seen), states[0].options[0])
    assert "\n" not in str(failure.value)


@pytest.mark.extended
@pytest.mark.parametrize("member", ["env", "describe"])
def test_a_run_passes_the_message_on(member: str, here: Path) -> None:
    make, problem = RUNS[member]
    with pytest.raises(TaskError, match=f"^{problem}"):
        lt.collect(make(), "none", "ws", collect={"steps": 64, "n_envs": 2})


@pytest.mark.extended
def test_an_encoder_is_tried_before_anything_is_collected(here: Path) -> None:
    import torch

    class Flat(torch.nn.Module):
        def forward(self, seen: Any) -> Any:
            return seen.float().mean(1)

    task = signs(encoder=lambda shape: Flat(), name="Bad")
    with pytest.raises(TaskError, match=r"^the module of encoder must return float32 \(N, feat"):
        lt.teach(task, "none", "ws", collect={"steps": 64, "n_envs": 2})
    assert not list(Path("ws").rglob("*.parquet"))


@pytest.mark.parametrize(
    ("prompts", "teacher", "problem"),
    [
        ({}, {"prompt": "poetry"}, "prompts of the task family Bad has no 'poetry', only embedded"),
        ({"own": "hello"}, {"prompt": "own"}, r"prompts\['own'\] of Bad"),
        (
            {"own": "[system]\nHi\n[user]\n$state"},
            {"prompt": "own", "method": "logprobs"},
            r"the prompt 'own' does not list the \$options",
        ),
    ],
)
def test_a_prompt_that_is_missing_or_none(
    prompts: dict[str, str], teacher: dict[str, str], problem: str
) -> None:
    task = counter(prompts=prompts, name="Bad")
    with pytest.raises(TeacherError, match=problem):
        config = TeacherConfig.model_validate({"method": "sampling", **teacher})
        make_teacher(config, task.family)
