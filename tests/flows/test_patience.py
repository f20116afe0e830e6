"""Flow runs on a real Prefect server: a teacher's server that dies and comes back, and limits."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bad_server import BadServer
from prefect_processes import own_server, post
from random_episodes import write_random_episodes

from llm4teach.datasets import schema
from llm4teach.datasets.parts import read_parts
from llm4teach.datasets.runs import read_manifest
from llm4teach.datasets.workspace import DatasetError, Workspace
from llm4teach.flows.label_states import label_states
from llm4teach.flows.patience import StageTimeoutError, is_nobodys_fault, may_pass, patiently
from llm4teach.flows.patience_config import PatienceConfig
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.openai_errors import UnansweredError
from llm4teach.teacher_labeling.teacher import TeacherError

TASK = "ColoredDoorKey"  # 13 states in 1,000 random steps
PATIENT = PatienceConfig(retries=4, pause_s=2)


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with own_server(tmp_path_factory.mktemp("prefect")) as env:
        yield env


def teacher_at(server: BadServer, **more: Any) -> TeacherConfig:
    settings = {"max_retries": 0, "n_samples": 1, "max_in_flight": 1, **more}
    return TeacherConfig(teacher="openai", model="bad", base_url=server.url, **settings)


def attempts(prefect: dict[str, str], stage: str) -> int:
    """How often the newest task of this name was begun."""
    time.sleep(3)  # states of tasks reach the server as events, a little later
    wanted = {"task_runs": {"name": {"like_": stage}}, "sort": "EXPECTED_START_TIME_DESC"}
    return int(post(prefect, "task_runs/filter", wanted).json()[0]["run_count"])


def test_labelling_goes_on_when_the_teachers_server_is_back(
    prefect: dict[str, str], tmp_path: Path
) -> None:
    keys = write_random_episodes(tmp_path, TASK, steps=1000)
    assert 5 < len(keys) < 20, "fewer than the circuit breaker counts"
    first = BadServer(latency_s=0.2)
    port = int(first.url.split(":")[2].split("/")[0])
    second: list[BadServer] = []

    def die_and_come_back() -> None:
        while first.met["good"] < 3:
            time.sleep(0.01)
        first.close()
        time.sleep(1.5)
        second.append(BadServer(port=port))

    fate = threading.Thread(target=die_and_come_back)
    fate.start()
    label_states(str(tmp_path), TASK, teacher=teacher_at(first), patience=PATIENT)
    fate.join()
    second[0].close()
    advice = read_parts(tmp_path / "advice", schema.ADVICE)
    assert set(advice.column("state_key").to_pylist()) == keys and len(advice) == len(keys)
    good = first.met["good"], second[0].met["good"]
    assert good[0] >= 3 and len(keys) <= sum(good) <= len(keys) + 1, "one was on its way"
    assert attempts(prefect, "label") >= 2
    [run_id] = [r for r in Workspace(tmp_path).run_ids() if r.startswith("label")]
    results = read_manifest(Workspace(tmp_path).run(run_id))["results"]
    assert results["questions"] >= len(keys), "those of the first attempt count too"


def test_what_a_person_has_to_mend_is_not_repeated(prefect: dict[str, str], tmp_path: Path) -> None:
    write_random_episodes(tmp_path, TASK, steps=1000)
    server = BadServer()
    server.key = "another"
    began = time.monotonic()
    with pytest.raises(TeacherError, match="API key"):
        label_states(str(tmp_path), TASK, teacher=teacher_at(server), patience=PATIENT)
    server.close()
    assert attempts(prefect, "label") == 1 and time.monotonic() - began < 60
    with pytest.raises(DatasetError, match="no trajectories"):
        label_states(str(tmp_path / "empty"), patience=PATIENT)
    assert attempts(prefect, "label") == 1


def test_a_stage_ends_when_its_time_is_over(prefect: dict[str, str], tmp_path: Path) -> None:
    write_random_episodes(tmp_path, TASK, steps=1000)
    server = BadServer(latency_s=1.0)
    patience = PATIENT.model_copy(update={"label_s": 3})
    with pytest.raises(StageTimeoutError, match=r"label.* 3 s"):
        label_states(str(tmp_path), TASK, teacher=teacher_at(server), patience=patience)
    assert attempts(prefect, "label") == 1, "the limit was a person's choice"
    stored = len(read_parts(tmp_path / "advice", schema.ADVICE))
    assert 1 <= stored < 10, "what was answered in time is kept"
    server.close()


def test_a_single_command_is_not_repeated() -> None:
    """Outside a flow run a person reads the message, and repeats the command."""
    asked = []

    def work() -> None:
        asked.append(1)
        raise UnansweredError("gone")

    with pytest.raises(UnansweredError):
        patiently("label", work, PATIENT)
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
    assert may_pass(nothing, nothing, failed) is stage
    assert is_nobodys_fault(nothing, nothing, failed) is shard
