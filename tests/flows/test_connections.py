"""A teacher's identity is not its connection: what asks nothing runs with the server down."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bad_server import BadServer

from llm4teach.datasets.champions import ChampionRegistry
from llm4teach.datasets.runs import CHECKPOINT, read_config, read_manifest
from llm4teach.datasets.workspace import Workspace
from llm4teach.flows.check_champion import check_champion
from llm4teach.flows.collect_trajectories import collect_trajectories
from llm4teach.flows.evaluate_student import evaluate_student
from llm4teach.flows.pretrain_student import pretrain_student
from llm4teach.flows.runtime import teacher_access
from llm4teach.flows.runtime.settings import ScaleConfig, Settings
from llm4teach.flows.sharding import label_shard
from llm4teach.flows.stages.checkpoints import new_student
from llm4teach.flows.stages.context import opened
from llm4teach.flows.stages.evaluate import evaluate_students, evaluate_teacher
from llm4teach.flows.stages.finetune import finetune
from llm4teach.flows.teach import teach
from llm4teach.student.config import (
    CollectConfig,
    EvaluateConfig,
    FinetuneConfig,
    PretrainConfig,
    StudentConfig,
)
from llm4teach.teacher_labeling.config import LiveConfig, TeacherConfig

TASK = "SimpleDoorKey"


def settings_of(folder: Path, server: BadServer, **sections: Any) -> Settings:
    teacher = TeacherConfig(teacher="openai", base_url=server.url, n_samples=1, max_retries=0)
    small: dict[str, Any] = {
        "collect": CollectConfig(steps=320, rounds=2, n_envs=8),
        "pretrain": PretrainConfig(epochs=1),
        "finetune": FinetuneConfig(steps=512, n_envs=8, rollout_length=32),
        "evaluate": EvaluateConfig(episodes=4),
        "live": LiveConfig(in_background=False),
    }
    return Settings(workspace=str(folder), task=TASK, teacher=teacher, **small | sections)


@pytest.fixture
def server() -> Iterator[BadServer]:
    made = BadServer()
    yield made
    made.close()


def test_a_whole_run_opens_its_teacher_once(server: BadServer, own_folder: Path) -> None:
    result = teach.fn(settings_of(own_folder, server))
    questions = [target for target in server.targets if "chat/completions" in target]
    set_up = [target for target in server.targets if "chat/completions" not in target]
    assert result["questions"] > 0 and len(questions) > 0
    assert len(set_up) < 5, set_up
    config = read_config(Workspace(own_folder).run(result["run_id"]))
    assert config["teacher"]["model"] == "m", "what the server serves is stored with the run"


def test_what_asks_nothing_runs_with_the_server_down(server: BadServer, own_folder: Path) -> None:
    settings = settings_of(own_folder, server)
    run_id = teach.fn(settings)["run_id"]
    workspace = Workspace(own_folder)
    teacher = settings.teacher.model_copy(update={"model": "m"})
    settings = settings.model_copy(update={"teacher": teacher})
    checkpoint = workspace.run(run_id) / CHECKPOINT
    ChampionRegistry(workspace.registry(TASK)).append(
        "promote", run_id, 0, "a test", {}, checkpoint
    )
    server.close()
    before = len(server.targets)
    assert collect_trajectories.fn(settings)["collect_steps"] == 320
    assert pretrain_student.fn(settings)["run_id"].startswith("pretrain")
    assert check_champion.fn(settings)["champion"] == run_id
    with opened("evaluate", settings) as ctx:
        evaluate_students(ctx, settings.evaluate, run_id)
    assert evaluate_student.fn(settings, from_run=run_id)["run_id"], "every state has its advice"
    assert len(server.targets) == before


def test_the_drift_check_has_no_teacher(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It opened the default embedded teacher, whose weights a machine may lack."""
    settings = Settings(workspace=str(own_folder), evaluate=EvaluateConfig(episodes=4))
    workspace = Workspace(own_folder)
    with opened("finetune", settings.model_copy(update={"teacher": RECORDED})) as ctx:
        config = FinetuneConfig(steps=0)
        finetune(ctx, config, new_student(ctx.task, StudentConfig(), 0))
        run_id = ctx.run.run_id
    checkpoint = workspace.run(run_id) / CHECKPOINT
    ChampionRegistry(workspace.registry(TASK)).append(
        "promote", run_id, 0, "a test", {}, checkpoint
    )

    def refuse(*arguments: Any) -> None:
        raise AssertionError("a teacher was made")

    monkeypatch.setattr(teacher_access, "make_teacher", refuse)
    found = check_champion.fn(settings)
    assert found["champion"] == run_id
    manifest = read_manifest(workspace.run(found["run_id"]))
    assert "teacher_id" not in manifest["results"] and "teacher" not in manifest["config"]


RECORDED = TeacherConfig(teacher="recorded/vicuna-33b")


def test_the_concurrency_limit_holds_wherever_questions_are_asked(
    server: BadServer, own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shards of labeling, fine-tuning and evaluation went round it."""
    held: list[str] = []

    @contextmanager
    def slot(name: str, occupy: int) -> Iterator[None]:
        held.append(name)
        yield
        held.append("released")

    settings = settings_of(own_folder, server, scale=ScaleConfig(shards=1))
    collected = collect_trajectories.fn(settings)["run_id"]
    assert not server.targets[1:], "but for the name of the model nothing was requested"
    monkeypatch.setattr("prefect.concurrency.sync.concurrency", slot)
    monkeypatch.setattr(teacher_access, "has_own_server", lambda: True)
    monkeypatch.setattr(teacher_access, "_limit_exists", lambda name: True)
    limit = teacher_access.limit_of(settings.teacher)

    def uses_it() -> bool:
        asked = sum(server.asked.values())
        was_held, held[:] = list(held), []
        server.asked.clear()
        return asked > 0 and was_held.count(str(limit)) == was_held.count("released") > 0

    label_shard.fn(settings, 0)
    assert uses_it(), "a shard"
    for stage in ("finetune", "evaluate"):
        with opened(stage, settings) as ctx:
            apart = replace(ctx, advice_folder=ctx.run.folder / "advice")  # nothing is known there
            if stage == "finetune":
                finetune(apart, settings.finetune, new_student(ctx.task, StudentConfig(), 0))
            else:
                evaluate_teacher(apart, settings.evaluate)
        assert uses_it(), stage
    assert collected
