"""Recorded answers of an LLM that reads missions and judges plans: its own policy, played again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from llm4teach.datasets.advice_store import AdviceStore
from llm4teach.envs.registry import get_task
from llm4teach.flows.stages.evaluate import own_policy
from llm4teach.student.config import EvaluateConfig
from llm4teach.student.evaluation.evaluate import evaluate_policy
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.factory import make_teacher
from llm4teach.teacher_labeling.live import LiveTeacher


@pytest.mark.parametrize(
    ("recording", "name", "successes"),
    [
        ("go-to-door", "MiniGrid-GoToDoor-8x8-v0", 100),
        ("go-to-door", "MiniGrid-GoToDoor-8x8-v0-renamed", 100),
        ("fetch", "MiniGrid-Fetch-8x8-N3-v0", 97),
        ("fetch", "MiniGrid-Fetch-8x8-N3-v0-renamed", 98),
        pytest.param("put-next-local", "BabyAI-PutNextLocal-v0", 100, marks=pytest.mark.extended),
    ],
)
def test_missions_are_read(recording: str, name: str, successes: int, tmp_path: Path) -> None:
    """The figures of docs/results/raw, of 100 held-out episodes, without the model."""
    task = get_task(name)
    config = TeacherConfig(teacher=f"recorded/qwen2.5-coder-1.5b-{recording}", hard=True)
    teacher = make_teacher(config, task.family)
    store = AdviceStore(tmp_path, teacher.info.teacher_id, teacher.info.prompt_version)
    live = LiveTeacher(task, store, teacher)
    policy = own_policy(task, live, np.random.default_rng(0))
    played = evaluate_policy(task, policy, "sampled", EvaluateConfig(episodes=100), seed=0)
    assert sum(episode["success"] for episode in played) == successes
    assert all(store.status(key) == "ok" for key in store.table(["question_key"])[0].to_pylist())
