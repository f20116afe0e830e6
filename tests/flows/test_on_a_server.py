"""Flow runs on a real Prefect server: patience with a teacher's server, limits, and artifacts."""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections.abc import Iterator
from contextvars import copy_context
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from asking import FAMILY, make_states
from bad_server import BadServer
from mortal_server import MortalServer
from prefect_processes import own_server, post
from random_episodes import write_random_episodes

from llm4teach.datasets import schema
from llm4teach.datasets.runs import read_manifest
from llm4teach.datasets.storage.parquet import read_parts
from llm4teach.datasets.workspace import Workspace
from llm4teach.errors import DatasetError, TeacherError
from llm4teach.flows.label_states import label_states
from llm4teach.flows.runtime.retries import (
    StageTimeoutError,
    is_transient,
    is_worth_a_retry,
    run_stage,
)
from llm4teach.flows.runtime.settings import PatienceConfig, Settings
from llm4teach.flows.runtime.teacher_access import limit_of, open_teacher
from llm4teach.flows.teach import teach
from llm4teach.student.config import CollectConfig, EvaluateConfig, FinetuneConfig, PretrainConfig
from llm4teach.teacher_labeling.backends.openai.errors import UnansweredError
from llm4teach.teacher_labeling.config import TeacherConfig

pytestmark = pytest.mark.extended

Artifacts = dict[str, list[dict[str, Any]]]
TASK = "ColoredDoorKey"  # 13 states in 1,000 random steps
PATIENT = PatienceConfig(retries=60, pause_s=2)  # until the server is back


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with own_server(tmp_path_factory.mktemp("prefect")) as env:
        yield env


def teacher_at(server: BadServer | MortalServer, **more: Any) -> TeacherConfig:
    settings = {"max_retries": 0, "n_samples": 1, "max_in_flight": 1, **more}
    return TeacherConfig(teacher="openai", model="m", base_url=server.url, **settings)


def settings_of(workspace: Path, server: BadServer | MortalServer) -> Settings:
    where = {"workspace": str(workspace), "task": TASK}
    return Settings(**where, teacher=teacher_at(server), patience=PATIENT)


def attempts(prefect: dict[str, str], stage: str) -> int:
    """How often the newest task of this name was started."""
    # states of tasks reach the server as events, a little later
    while (task := newest_task(prefect, stage)).get("state_type") not in ("COMPLETED", "FAILED"):
        time.sleep(0.2)
    return int(task["run_count"])


def newest_task(prefect: dict[str, str], stage: str) -> dict[str, Any]:
    """The newest task of this name; empty if there is none yet."""
    wanted = {"task_runs": {"name": {"like_": stage}}, "sort": "EXPECTED_START_TIME_DESC"}
    return next(iter(post(prefect, "task_runs/filter", wanted).json()), {})


def test_labeling_goes_on_when_the_teachers_server_is_back(
    prefect: dict[str, str], tmp_path: Path
) -> None:
    keys = write_random_episodes(tmp_path, TASK, steps=1000)
    assert 5 < len(keys) < 20, "fewer than the circuit breaker counts"
    server = MortalServer(tmp_path, latency_s=0.2)
    server.start()

    def die_and_come_back() -> None:
        while server.answered()[0] < 6:  # so few are left that they fail at once
            time.sleep(0.01)
        server.kill()
        while newest_task(prefect, "label").get("state_name") != "AwaitingRetry":
            time.sleep(0.1)
        server.start()

    fate = threading.Thread(target=die_and_come_back)
    fate.start()
    label_states(settings_of(tmp_path, server))
    fate.join()
    server.kill()
    advice = read_parts(tmp_path / "advice", schema.ADVICE)
    assert set(advice.column("state_key").to_pylist()) == keys and len(advice) == len(keys)
    before, after = server.answered()
    assert 6 <= before < len(keys) and len(keys) - 2 <= before + after <= len(keys) + 1
    assert attempts(prefect, "label") >= 2
    [run_id] = [r for r in Workspace(tmp_path).run_ids() if r.startswith("label")]
    results = read_manifest(Workspace(tmp_path).run(run_id))["results"]
    assert results["questions"] >= len(keys), "those of the first attempt count too"


def test_what_a_person_has_to_mend_is_not_repeated(prefect: dict[str, str], tmp_path: Path) -> None:
    write_random_episodes(tmp_path, TASK, steps=1000)
    server = BadServer()
    server.key = "another"
    with pytest.raises(TeacherError, match="API key"):
        label_states(settings_of(tmp_path, server))
    server.close()
    assert attempts(prefect, "label") == 1
    with pytest.raises(DatasetError, match="no trajectories"):
        label_states(Settings(workspace=str(tmp_path / "empty"), patience=PATIENT))
    assert attempts(prefect, "label") == 1


def test_a_stage_ends_when_its_time_is_over(prefect: dict[str, str], tmp_path: Path) -> None:
    write_random_episodes(tmp_path, TASK, steps=1000)
    server = BadServer(latency_s=1.0)
    patience = PATIENT.model_copy(update={"label_s": 3})
    with pytest.raises(StageTimeoutError, match=r"label_s \(3 s\)"):
        label_states(settings_of(tmp_path, server).model_copy(update={"patience": patience}))
    assert attempts(prefect, "label") == 1, "the limit was a person's choice"
    stored = len(read_parts(tmp_path / "advice", schema.ADVICE))
    assert server.met["good"] - 1 <= stored < 10, "what was answered in time is kept"
    server.close()


def test_a_limit_holds_while_questions_are_asked(prefect: dict[str, str]) -> None:
    """Also in a thread, such as the background labeler's; and only while there are questions."""
    from prefect.client.orchestration import get_client

    server = BadServer()
    name = str(limit_of(teacher_at(server)))
    first, second = (open_teacher(teacher_at(server), FAMILY) for _ in range(2))

    def held() -> int:
        with get_client(sync_client=True) as client:
            return client.read_global_concurrency_limit_by_name(name).active_slots

    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name(name, 1)
    answers = iter(first.advise(make_states(2)))
    next(answers)
    assert held() == 1
    # The context names this test's server; elsewhere the environment of the whole process does.
    ask = partial(copy_context().run, lambda: list(second.advise(make_states(3)[2:])))
    waiting = threading.Thread(target=ask)
    waiting.start()
    assert len(list(answers)) == 1 and not [body for body in server.asked if "key2" in body]
    waiting.join()
    assert [body for body in server.asked if "key2" in body] and held() == 0
    server.close()


def test_a_single_command_is_not_repeated() -> None:
    """Outside a flow run a person reads the message, and repeats the command."""
    asked = []

    def work() -> None:
        asked.append(1)
        raise UnansweredError("gone")

    with pytest.raises(UnansweredError):
        run_stage(PATIENT, "label", work)
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("error", "stage", "shard"),
    [
        (UnansweredError("gone"), True, True),
        (TeacherError("no such model"), False, False),
        (DatasetError("a part is damaged"), False, False),
        (RuntimeError("worker lost"), False, True),
    ],
)
def test_which_failures_are_worth_repeating(error: Exception, stage: bool, shard: bool) -> None:
    from prefect.states import Failed

    failed: Any = Failed(data=error)
    nothing: Any = None
    assert is_transient(nothing, nothing, failed) is stage
    assert is_worth_a_retry(nothing, nothing, failed) is shard


@pytest.fixture(scope="module")
def taught(
    prefect: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], Artifacts]:
    """A small run's result, and its artifacts by type, the oldest first."""
    settings = Settings(
        workspace=str(tmp_path_factory.mktemp("workspace")),
        teacher=TeacherConfig(teacher="recorded/vicuna-33b"),
        collect=CollectConfig(steps=640),
        pretrain=PretrainConfig(epochs=3),
        finetune=FinetuneConfig(steps=1024, n_envs=8),
        evaluate=EvaluateConfig(episodes=4),
    )
    result = teach(settings)
    found: Artifacts = {}
    for artifact in post(prefect, "artifacts/filter", {"limit": 200}).json():
        found.setdefault(artifact["type"], []).append(artifact)
    for kind in found.values():
        kind.sort(key=lambda artifact: str(artifact["created"]))
    return result, found


def test_every_stage_shows_its_progress(taught: tuple[dict[str, Any], Artifacts]) -> None:
    told = {a["description"].split(":")[0]: a for a in taught[1]["progress"]}
    assert {"collect", "label", "pretrain", "finetune", "evaluate"} <= set(told)
    assert all(artifact["data"] == 100 for artifact in told.values())
    assert "finetune: 1,024 env steps" in told["finetune"]["description"]


def test_the_funnel_goes_from_steps_to_questions(taught: tuple[dict[str, Any], Artifacts]) -> None:
    result, found = taught
    last = found["table"][-1]
    assert last["key"] == "funnel-simpledoorkey"
    counts = {row["what"]: row["count"] for row in json.loads(last["data"])}
    assert counts["env steps collected"] == 640
    assert counts["distinct states among them"] == result["distinct_states"] < 20
    assert counts["questions to the teacher"] == result["questions"]
    assert next(iter(counts)) == "env steps collected", "from the many to the few"


def test_learning_curves_are_images_that_need_no_file(
    taught: tuple[dict[str, Any], Artifacts],
) -> None:
    result, found = taught
    [page] = [a["data"] for a in found["markdown"] if a["key"] == "learning-curves-simpledoorkey"]
    assert result["run_id"] in page and "| student | sampled |" in page
    figures = page.count("](data:image/svg+xml;base64,")
    assert figures >= 5 and len(page) < 2_000_000
    [image] = found["image"]
    svg = base64.b64decode(image["data"].removeprefix("data:image/svg+xml;base64,")).decode()
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    colors = set(re.findall(r"var\(--(\w+)\)", svg))
    assert "student" in colors and all(f"--{name}:#" in svg for name in colors)
    assert "Success rate" in image["description"]


def test_a_link_leads_to_the_report(taught: tuple[dict[str, Any], Artifacts]) -> None:
    result, found = taught
    [link] = [a for a in found["markdown"] if a["key"].startswith("report-")]
    assert link["key"] == "report-simpledoorkey"
    assert f"](file://{result['report']})" in link["data"]
    assert Path(result["report"]).exists()
