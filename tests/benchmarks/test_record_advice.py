"""Answers in a workspace become a recording that gives the same advice."""

import json
import subprocess
import sys
from pathlib import Path

from llm4teach.datasets.workspace import Workspace
from llm4teach.envs.registry import get_task
from llm4teach.envs.task import describe
from llm4teach.flows.runtime.teacher_access import advice_of
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.factory import make_teacher
from llm4teach.teacher_labeling.labeling.run import label_states

ROOT = Path(__file__).parents[2]
TASK = get_task("MiniGrid-GoToDoor-8x8-v0")


def record(*words: str) -> subprocess.CompletedProcess[str]:
    script = ROOT / "benchmarks" / "recordings" / "record_advice.py"
    command = [sys.executable, str(script), "--teacher", "expert", "--command", "again", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_all_answers_of_a_workspace(tmp_path: Path) -> None:
    teacher = make_teacher(TeacherConfig(teacher="expert"), TASK.family)
    states = {}
    for seed in range(8):
        (state,) = describe(TASK, TASK.make_env().reset(seed=seed)[0][None])
        states[state.key] = state
    store = advice_of(teacher.info, Workspace(tmp_path / "w"), TASK.family)
    label_states(teacher, store, list(states.values()))
    done = record("--workspace", str(tmp_path / "w"), str(tmp_path / "r.json"))
    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path / "r.json").read_text())
    assert written["provenance"].endswith("Regenerate with: again")
    expected = {
        a.state.text: {str(p): x for p, x in a.plans} for a in teacher.advise(states.values())
    }
    for row in written["families"][TASK.family]:
        told = {reply["plan"]: reply["probability"] for reply in row["replies"]}
        plans = expected.pop(row["state_text"])
        assert told.keys() <= plans.keys()
        assert all(abs(p - plans[plan]) < 1e-3 for plan, p in told.items())
    assert not expected, "each question is recorded"


def test_a_workspace_without_answers(tmp_path: Path) -> None:
    done = record("--workspace", str(tmp_path / "none"), str(tmp_path / "r.json"))
    assert done.returncode != 0
    assert "there is no advice on MiniGridRaw by expert" in done.stderr
    assert not (tmp_path / "r.json").exists()
