"""Retraining through the command line: the first champion, a challenger, and the way back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from llm4teach.datasets.champions import ChampionRegistry
from llm4teach.datasets.runs import read_manifest
from llm4teach.datasets.workspace import Workspace
from llm4teach.flows.stages import promote as promotion
from llm4teach.student.config import EvaluateConfig

pytestmark = pytest.mark.extended

TASK = "SimpleDoorKey"
SMALL = (
    *("--teacher", "recorded/vicuna-33b", "--collect.rounds", "2", "--pretrain.epochs", "2"),
    *("--finetune.rollout-length", "32"),
    *("--finetune.steps", "512", "--finetune.n-envs", "8", "--evaluate.episodes", "16"),
    *("--label.max-requests", "100", "--no-retrain.gate"),  # so little training would not pass
)


def llm4teach(*words: str, status: int = 0) -> str:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "LLM4TEACH_"))}
    done = subprocess.run(
        [sys.executable, "-m", "llm4teach", *words],
        capture_output=True,
        text=True,
        timeout=240,
        env=kept | {"OMP_NUM_THREADS": "1", "COLUMNS": "160"},
    )
    assert done.returncode == status, f"{words}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout if status == 0 else done.stderr


@pytest.fixture(scope="module")
def retrained(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace after two retrainings."""
    folder = tmp_path_factory.mktemp("retrained") / "workspace"
    for _ in range(2):
        llm4teach("retrain", *SMALL, "--collect.steps", "640", "--workspace", str(folder))
    return Workspace(folder)


def test_a_first_champion_and_then_a_decision_by_figures(retrained: Workspace) -> None:
    first, second = ChampionRegistry(retrained.registry(TASK)).events()
    assert first.action == "promote" and first.replaces is None
    assert second.replaces == first.run_id and second.evidence["episodes"] == 16
    assert sorted(second.evidence["trajectories"]) == sorted([first.run_id, second.run_id])
    better = second.evidence["verdict"] != "not better"
    assert second.action == ("promote" if better else "reject")
    manifest = read_manifest(retrained.run(second.run_id))
    assert manifest["results"]["decision"] == second.action
    assert manifest["results"]["led_by"] == first.run_id, "the champion led the new collection"
    assert "report.html" in manifest["files"]
    assert manifest["config"]["label"]["max_requests"] == 100, "the budget is the run's"


def test_each_retraining_meets_other_episodes(retrained: Workspace) -> None:
    from llm4teach.analysis.sql.query import run_sql

    shared = run_sql(
        retrained.root,
        "SELECT count(*) FROM (SELECT seed FROM trajectories GROUP BY seed "
        "HAVING count(DISTINCT run_id) > 1)",
    )
    assert shared.column(0).to_pylist() == [0]


def test_promoting_by_hand_and_going_back(retrained: Workspace) -> None:
    folder = ("--workspace", str(retrained.root))
    first, second = (e.run_id for e in ChampionRegistry(retrained.registry(TASK)).events()[:2])
    if ChampionRegistry(retrained.registry(TASK)).champion().run_id != second:  # type: ignore[union-attr]
        printed = llm4teach("models", "promote", second, "--reason", "a trial", *folder)
        assert f"champion: {second}" in printed
    assert "SimpleDoorKey already" in llm4teach("models", "promote", second, *folder, status=1)
    assert second in llm4teach("models", "list", *folder)
    assert first in llm4teach("models", "rollback", *folder)
    assert "no earlier champion" in llm4teach("models", "rollback", *folder, status=1)
    shown = llm4teach("models", "show", *folder)
    assert "rollback" in shown and "the first student" in shown


def test_wrong_use_is_told(tmp_path: Path) -> None:
    folder = ("--workspace", str(tmp_path))
    assert "no student was ever promoted" in llm4teach("models", "list", *folder)
    assert "llm4teach retrain" in llm4teach("models", "show", *folder, status=1)
    assert "takes the run" in llm4teach("models", "promote", *folder, status=2)
    assert "takes the run" in llm4teach("models", "rollback", "x", *folder, status=2)
    assert "no run 'x'" in llm4teach("models", "promote", "x", *folder, status=1)
    assert not (tmp_path / "registry").exists(), "nothing is left behind"


def test_the_evidence_is_plain_json(retrained: Workspace) -> None:
    for path in sorted(retrained.registry(TASK).glob("*.json")):
        event = json.loads(path.read_text())
        assert len(event["checkpoint_sha256"]) == 64 and event["software"].startswith("llm4teach")


def test_a_slow_challenger_cannot_overrule_another_decision(
    retrained: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While champion and challenger play, somebody else decides: the older knowledge loses."""
    from llm4teach.datasets.champions import RegistryConflictError
    from llm4teach.flows.runtime.settings import Settings
    from llm4teach.flows.stages import context as stages
    from llm4teach.student.config import RetrainConfig
    from llm4teach.teacher_labeling.config import TeacherConfig

    registry = ChampionRegistry(retrained.registry(TASK))
    run_id = registry.events()[1].run_id
    played = promotion.play

    def interrupted(*arguments: object) -> object:
        registry.append("reject", "another-run", len(registry.events()), "was faster")
        return played(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(promotion, "play", interrupted)
    before = len(registry.events())
    teacher = TeacherConfig(teacher="recorded/vicuna-33b")
    settings = Settings(workspace=str(retrained.root), task=TASK, teacher=teacher)
    with (
        pytest.raises(RegistryConflictError, match="another-run"),
        stages.opened("retrain", settings, join=run_id) as ctx,
    ):
        promotion.decide(ctx, EvaluateConfig(episodes=8), RetrainConfig())
    assert len(registry.events()) == before + 1


def test_a_student_that_the_gate_refuses_never_plays(tmp_path: Path) -> None:
    pytest.importorskip("d3rlpy")
    strict = ("--retrain.gate", "--retrain.gate-lead", "5", "--retrain.gate-steps", "30")
    words = (*SMALL, *strict, "--collect.steps", "640", "--workspace", str(tmp_path))
    llm4teach("retrain", *words)
    (event,) = ChampionRegistry(Workspace(tmp_path).registry(TASK)).events()
    assert event.action == "reject" and "refused offline" in event.reason
    assert event.evidence["passed"] is False and event.evidence["least"] == 5
    results = read_manifest(Workspace(tmp_path).run(event.run_id))["results"]
    assert results["decision"] == "reject" and results["gate"].startswith("refused")
    assert results["collect_steps"] == 320, "the second round is played by the student"
    assert "finetune_steps" not in results and "rounds_done" not in results
