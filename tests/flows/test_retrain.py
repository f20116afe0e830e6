"""Retraining through the command line: the first champion, a challenger, and the way back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llm4teach.analysis.offline_rl.off_policy import Logged
from llm4teach.datasets.champions import ChampionRegistry, Event
from llm4teach.datasets.runs import read_manifest
from llm4teach.datasets.workspace import Workspace
from llm4teach.envs.registry import get_task
from llm4teach.flows.retrain import retrain
from llm4teach.flows.runtime.settings import Settings
from llm4teach.flows.stages import promote as promotion
from llm4teach.student.config import (
    CollectConfig,
    EvaluateConfig,
    FinetuneConfig,
    PretrainConfig,
    RetrainConfig,
)
from llm4teach.teacher_labeling.config import TeacherConfig

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
    better = second.evidence["verdict"] == "better"
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
    from llm4teach.flows.stages import context as stages

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


def decided(folder: Path, collect: int, epochs: int, finetune: int) -> Event:
    """The decision of a small retraining in this process, without a Prefect server."""
    settings = Settings(
        workspace=str(folder),
        teacher=TeacherConfig(teacher="recorded/vicuna-33b"),
        collect=CollectConfig(steps=collect, rounds=1),
        pretrain=PretrainConfig(epochs=epochs),
        finetune=FinetuneConfig(
            steps=finetune, n_envs=16, rollout_length=32, minibatches=4, learning_rate=1e-3
        ),
        evaluate=EvaluateConfig(episodes=100),
        retrain=RetrainConfig(gate_steps=20),
    )
    retrain.fn(settings)
    return ChampionRegistry(Workspace(folder).registry(TASK)).events()[-1]


def test_a_useless_student_does_not_become_the_first_champion(tmp_path: Path) -> None:
    """The offline gate let it pass: 1% success, and 111% of the logged actions' lead."""
    event = decided(tmp_path, collect=1_000, epochs=3, finetune=0)
    assert event.action == "reject" and event.evidence["challenger_success"] < 0.2
    assert event.reason.startswith(("not shown to be better than random", "worse than the logged"))
    assert "llm4teach models promote" in event.reason
    assert ChampionRegistry(Workspace(tmp_path).registry(TASK)).champion() is None
    results = read_manifest(Workspace(tmp_path).run(event.run_id))["results"]
    assert results["decision"] == "reject"
    assert results["gate"].startswith(("decides nothing", "not asked"))


def test_a_good_student_becomes_the_first_champion(tmp_path: Path) -> None:
    event = decided(tmp_path, collect=3_000, epochs=20, finetune=8_192)
    assert event.action == "promote" and event.evidence["challenger_success"] > 0.9
    assert event.evidence["random_success"] < 0.2 and event.evidence["random_p_value"] < 0.01
    assert event.evidence["logged_episodes"] > 30


def rows_of(returns: Sequence[float]) -> list[dict[str, Any]]:
    return [{"seed": i, "return": float(r), "success": r > 0} for i, r in enumerate(returns)]


def test_the_floor_under_every_champion() -> None:
    rng, config = np.random.default_rng(0), RetrainConfig()
    chance = rows_of(rng.random(200) < 0.02)
    useless, good = rows_of(rng.random(200) < 0.01), rows_of(rng.random(200) < 0.95)
    refusal, figures = promotion._floor(useless, chance, (60, 140), config)
    assert "not shown to be better than random play" in refusal and figures["random_p_value"] > 0.05
    assert promotion._floor(good, chance, (60, 140), config)[0] == ""
    assert promotion._floor(good, chance, None, config)[0] == "", "nothing is logged"
    half = rows_of(rng.random(200) < 0.5)
    refusal, figures = promotion._floor(half, chance, (120, 140), config)
    assert "worse than the logged behavior" in refusal and figures["logged_episodes"] == 140
    assert promotion._floor(half, half, None, config)[0], "no better than chance"


def test_the_floor_refuses_the_useless_and_lets_the_good_pass() -> None:
    """Over many evaluations of 200 episodes; the logged behavior solves 46% of 150."""
    rng, config = np.random.default_rng(1), RetrainConfig()

    def promoted(rate: float) -> float:
        return float(
            np.mean(
                [
                    not promotion._floor(
                        rows_of(rng.random(200) < rate),
                        rows_of(rng.random(200) < 0.02),
                        (int(rng.binomial(150, 0.46)), 150),
                        config,
                    )[0]
                    for _ in range(20)
                ]
            )
        )

    assert [promoted(rate) for rate in (0.0, 0.02, 0.2)] == [0, 0, 0]
    assert promoted(0.7) == promoted(0.97) == 1


def test_logged_episodes_that_were_cut_off_count_as_failed() -> None:
    """Two of three episodes are whole, and one of them is solved."""
    logged = Logged(
        np.zeros((7, 2), np.uint8),
        np.zeros(7, np.int64),
        np.array([0, 0.5, 0, 0, 0, 0.9, 0]),
        np.zeros(7),
        np.array([False, True, False, False, False, False, False]),
        np.array([0, 2, 5]),
        np.array([True, True, False]),
    )
    assert promotion.logged_success(get_task(TASK), logged) == (1, 3)
