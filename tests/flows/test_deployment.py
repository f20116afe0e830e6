"""The README's deployment, for real: a server, a worker, and advice in Parquet at the end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect_processes import (
    PREFECT,
    background,
    free_port,
    own_server,
    post,
    prefect,
    prefect_environment,
    wait_until_listening,
)
from random_episodes import write_random_episodes

from llm4teach.datasets import schema
from llm4teach.datasets.storage.parquet import read_parts
from llm4teach.flows.service.deployments import DEPLOYMENTS

pytestmark = pytest.mark.extended

RECORDED = {"teacher": "recorded/vicuna-33b"}
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Environment of a server with all deployments and one worker."""
    folder = tmp_path_factory.mktemp("prefect")
    port = free_port()
    env = prefect_environment(folder / "home", port) | {"LLM4TEACH_PATH": str(EXAMPLES)}
    serve = [PREFECT, "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    work = [PREFECT, "worker", "start", "--pool", "local"]
    server_log, worker_log = folder / "server.log", folder / "worker.log"
    try:
        with background(serve, env, server_log):
            wait_until_listening(port)
            pool = {"name": "local", "type": "process"}
            post(env, "work_pools", pool)
            with background(work, env, worker_log):
                output = prefect(env, "deploy", "--all")
                assert output.startswith("rc=0"), output
                yield env
    finally:  # pytest shows this with a test that failed
        for log in (server_log, worker_log):
            if log.exists():
                print(f"---- {log.name}\n{log.read_text()[-6000:]}")


def test_a_bare_name_labels_the_stored_states(deployed: dict[str, str], tmp_path: Path) -> None:
    keys = write_random_episodes(tmp_path)
    command = ["deployment", "run", "label-states", "--watch", "--watch-timeout", "120"]
    overrides = {"workspace": str(tmp_path), "teacher": RECORDED}
    parameters = ["--param", f"overrides={json.dumps(overrides)}"]
    output = prefect(deployed, *command, *parameters, timeout=150)
    assert output.startswith("rc=0"), output
    advice = read_parts(tmp_path / "advice", schema.ADVICE)
    assert set(advice.column("state_key").to_pylist()) == keys
    assert "ok" in advice.column("status").to_pylist()


@pytest.mark.slow
def test_a_task_of_the_users_is_taught(deployed: dict[str, str], tmp_path: Path) -> None:
    """The flow run is another process, which imports task and teacher by ``LLM4TEACH_PATH``."""
    overrides = {
        "task": "taxi:task",
        "workspace": str(tmp_path),
        "teacher": {"teacher": "rules_teacher:teacher"},
        "collect": {"steps": 640, "rounds": 1, "n_envs": 8},
        "pretrain": {"epochs": 2},
        "finetune": {"steps": 256, "n_envs": 8, "rollout_length": 32},
        "evaluate": {"episodes": 2},
    }
    command = ["deployment", "run", "teach/teach", "--watch", "--watch-timeout", "500"]
    parameters = ["--param", f"overrides={json.dumps(overrides)}"]
    output = prefect(deployed, *command, *parameters, timeout=550)
    assert output.startswith("rc=0"), output
    (manifest,) = (tmp_path / "runs").glob("teach-*/manifest.json")
    assert json.loads(manifest.read_text())["config"]["task"] == "taxi:task"
    assert (manifest.parent / "report.html").exists()
    advice = read_parts(tmp_path / "advice", schema.ADVICE).to_pylist()
    assert {"go to red"} in [{option["plan"] for option in row["options"]} for row in advice]


def test_an_unknown_name_is_refused_in_prefects_own_words(deployed: dict[str, str]) -> None:
    assert prefect(deployed, "deployment", "run", "nope").split("\n", 1) == [
        "rc=1",
        "Deployment 'nope' not found!\n",
    ]


def test_an_ambiguous_name_lists_the_candidates(deployed: dict[str, str]) -> None:
    flow = post(deployed, "flows", {"name": "other"}).json()
    post(deployed, "deployments", {"name": "teach", "flow_id": flow["id"]})
    output = prefect(deployed, "deployment", "run", "teach")
    assert output.startswith("rc=1") and "Traceback" not in output
    assert "other/teach, teach/teach" in output


def test_a_full_name_and_parameters_go_through(deployed: dict[str, str]) -> None:
    output = prefect(deployed, "deployment", "run", "label-states/label-states", "-p", "no=1")
    assert "were specified but not found on the deployment: 'no'" in output


RELABEL = """
import sys
from prefect.events import emit_event
from prefect.events.worker import EventsWorker
from llm4teach.flows.runtime.settings import ServiceConfig
from llm4teach.flows.service.automations import UNSEEN, ensure_automations

print(ensure_automations(ServiceConfig()))
payload = {"task": "LavaDoorKey", "workspace": sys.argv[1], "share": 0.5}
emit_event(event=UNSEEN, resource={"prefect.resource.id": "llm4teach.task.x"}, payload=payload)
EventsWorker.instance().drain()
"""


def test_states_that_are_unseen_start_a_labeling_of_their_task(
    deployed: dict[str, str], tmp_path: Path
) -> None:
    line = [sys.executable, "-c", RELABEL, str(tmp_path)]
    done = subprocess.run(line, env=deployed, capture_output=True, text=True, check=False)
    assert "label unseen states" in done.stdout, done.stderr
    wanted = {"overrides": {"task": "LavaDoorKey", "workspace": str(tmp_path)}}

    def is_ours(run: dict[str, Any]) -> bool:
        return wanted.items() <= run["parameters"].items()

    while not any(map(is_ours, post(deployed, "flow_runs/filter", {}).json())):
        time.sleep(0.2)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=lambda how: how.name)
def test_serve_runs_every_deployment_from_one_process(tmp_path: Path, how: signal.Signals) -> None:
    keys = write_random_episodes(tmp_path / "workspace")
    log = tmp_path / "serve.log"
    with own_server(tmp_path) as env, log.open("w") as output:
        line = [sys.executable, "-m", "llm4teach", "serve"]
        line += ["--teacher", "recorded/vicuna-33b", "--service.retrain-cron", "0 3 * * 0"]
        serving = subprocess.Popen(line, cwd=tmp_path, env=env, stdout=output, stderr=output)
        try:
            for _ in range(240):
                if "start one:" in log.read_text() or serving.poll() is not None:
                    break
                time.sleep(0.5)
            assert all(deployment.name in log.read_text() for deployment in DEPLOYMENTS)
            served = post(env, "deployments/filter", {}).json()
            assert {d["name"] for d in served} == {d.name for d in DEPLOYMENTS}
            [cron] = [s["schedule"]["cron"] for d in served for s in d["schedules"]]
            assert cron == "0 3 * * 0"
            told = prefect(env, "deployment", "run", "label-states", "--watch", timeout=150)
            assert told.startswith("rc=0"), told
            advice = read_parts(tmp_path / "workspace" / "advice", schema.ADVICE)
            assert set(advice.column("state_key").to_pylist()) == keys
        finally:
            serving.send_signal(how)
            status = serving.wait(timeout=300)
            print(log.read_text())
        lines = [line["message"] for line in post(env, "logs/filter", {}).json()]
        assert any(line.startswith("label: 4 distinct states") for line in lines), "in the UI"
        rests = post(env, "deployments/filter", {}).json()
        assert all(deployment["paused"] for deployment in rests), (
            "nothing is late at the next start"
        )
    assert status in (0, 128 + how)
    assert "Traceback" not in log.read_text() and "Warning" not in log.read_text()
