"""The whole pipeline on a raw MiniGrid task, taught by rules that read the mission."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import llm4teach as lt
from llm4teach.datasets.runs import EVALUATION
from llm4teach.datasets.workspace import Workspace
from llm4teach.student.config import EvaluateConfig

pytestmark = pytest.mark.extended
NAME = "MiniGrid-Fetch-5x5-N2-v0"
SMALL: dict[str, Any] = {
    "collect": {"steps": 256, "rounds": 1, "n_envs": 4},
    "pretrain": {"epochs": 1},
    "finetune": {"steps": 128, "n_envs": 4, "rollout_length": 16},
    "evaluate": {"episodes": 8, "teacher_episodes": 3},
}


def test_a_teacher_of_many_states_plays_fewer_episodes(tmp_path: Path) -> None:
    result = lt.teach(NAME, "expert", str(tmp_path), **SMALL)
    assert result["questions"] >= result["distinct_states"] > 0
    page = Path(result["report"]).read_text()
    assert "You see:" in page and "On 3 held-out episodes" in page
    run = Workspace(str(tmp_path)).run(result["run_id"])
    played = Counter(pq.read_table(str(run / EVALUATION)).column("policy").to_pylist())
    assert played["student"] == 3 * 8 and played["teacher"] == 2 * 3


def test_how_many_a_teacher_plays() -> None:
    config = EvaluateConfig(episodes=500)
    assert config.of_teacher(many_plans=False).episodes == 500
    assert config.of_teacher(many_plans=True).episodes == 100
    assert EvaluateConfig(episodes=40).of_teacher(many_plans=True).episodes == 40
    asked = EvaluateConfig(episodes=500, teacher_episodes=200)
    assert asked.of_teacher(many_plans=True).episodes == 200
